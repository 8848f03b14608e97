"""Which transaction each unfinished pipeline of a run grows in.

One of its own, which its commit ends. That is a pack, a lease and a buffer, and a process cannot
have thousands of them: where many pipelines are unfinished at once, as in a run that completes
none before it ends, the others share one. A pipeline that is to be committed alone is moved out of
it first; what is left of it there is dropped in the end. A run that commits once has one for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from n4a_store.artifacts.draft import PipelineDraft
from n4a_store.repo.transaction import Transaction

__all__ = ["MOST_OWN", "RunTransactions"]

MOST_OWN = 32
"""How many unfinished pipelines have a transaction of their own: some 100 files, 32 MiB."""


class _Run(Protocol):
    """What a run that asks must give. It is not kept: it holds these transactions."""

    @property
    def drafts(self) -> Mapping[str, PipelineDraft]: ...

    def own_transaction(self, pipeline_id: str) -> Transaction: ...

    def shared_transaction(self) -> Transaction: ...


class RunTransactions:
    """The transactions of one run.

    Args:
        one: Whether all pipelines share one.
    """

    def __init__(self, *, one: bool) -> None:
        self._one = one
        self._shared: Transaction | None = None

    def begin(self, run: _Run, pipeline_id: str) -> Transaction:
        """The transaction of a pipeline that begins."""
        if not self._one and len(run.drafts) < MOST_OWN:
            return run.own_transaction(pipeline_id)
        return self._among_others(run)

    def _among_others(self, run: _Run) -> Transaction:
        if self._shared is None or not self._shared.is_open:
            self._shared = run.shared_transaction()
        return self._shared

    def is_shared(self, txn: Transaction) -> bool:
        """Whether other pipelines may be in it."""
        return txn is self._shared

    def part(self, run: _Run, draft: PipelineDraft) -> None:
        """See to it that nothing else is in a draft's transaction, which is to be committed."""
        if not self.is_shared(draft.txn):
            return
        txn = run.own_transaction(draft.pipeline_id)
        try:
            draft.move_to(txn)
        except BaseException:
            txn.abort()
            raise

    def leave_behind(self, run: _Run) -> None:
        """Put all that is unfinished into another transaction; the shared one can be committed."""
        old, self._shared = self._shared, None
        assert old is not None
        try:
            for draft in run.drafts.values():
                draft.move_to(self._among_others(run))
        except BaseException:
            # All that was put is still in the old transaction.
            for draft in run.drafts.values():
                draft.txn = old
            self.end_shared()
            self._shared = old
            raise

    def end(self, txn: Transaction) -> None:
        """End a transaction that nothing else is in."""
        if not self.is_shared(txn):
            txn.abort()

    def end_shared(self) -> None:
        """End the one that several pipelines are in, and all that is unfinished there."""
        if self._shared is not None:
            self._shared.abort()

"""Which transaction each unfinished pipeline of a run grows in.

One of its own, which its commit ends. That is a pack, a lease and a buffer, and a process cannot
have thousands of them: where many pipelines are unfinished at once, as in a run that completes
none before it ends, the others share one. A pipeline that is to be committed alone is moved out of
it first; what is left of it there is dropped in the end. A run that commits once has one for all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from n4a_store.artifacts.draft import PipelineDraft
from n4a_store.repo.transaction import Transaction

__all__ = ["MOST_OWN", "RunTransactions"]

MOST_OWN = 32
"""How many unfinished pipelines have a transaction of their own: some 100 files, 32 MiB."""


class RunTransactions:
    """The transactions of one run.

    Args:
        own: Begins one for a pipeline.
        shared: Begins one for several.
        one: Whether all pipelines share it.
    """

    def __init__(
        self, own: Callable[[str], Transaction], shared: Callable[[], Transaction], *, one: bool
    ) -> None:
        self._own = own
        self._begin_shared = shared
        self._one = one
        self._shared: Transaction | None = None

    def begin(self, pipeline_id: str, unfinished: int) -> Transaction:
        """The transaction of a pipeline that begins, beside so many others."""
        if not self._one and unfinished < MOST_OWN:
            return self._own(pipeline_id)
        if self._shared is None or not self._shared.is_open:
            self._shared = self._begin_shared()
        return self._shared

    def is_shared(self, txn: Transaction) -> bool:
        """Whether other pipelines may be in it."""
        return txn is self._shared

    def part(self, draft: PipelineDraft) -> None:
        """See to it that nothing else is in a draft's transaction, which is to be committed."""
        if not self.is_shared(draft.txn):
            return
        txn = self._own(draft.pipeline_id)
        try:
            draft.move_to(txn)
        except BaseException:
            txn.abort()
            raise

    def leave_behind(self, drafts: Collection[PipelineDraft]) -> None:
        """Put what ``drafts`` hold into a new transaction; the shared one can be committed."""
        old, self._shared = self._shared, None
        try:
            for draft in drafts:
                draft.move_to(self.begin(draft.pipeline_id, MOST_OWN))
        except BaseException:
            # All that was put is still in the old transaction.
            for draft in drafts:
                if old is not None:
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

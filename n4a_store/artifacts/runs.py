"""Runs as transactions: nothing is visible before its pipeline completes.

``complete`` is one commit, which moves ``refs/pipelines/<id>`` and ``refs/runs/<run>``. What is
unfinished lives in transactions of its own and is dropped by dropping them. While a run is open
its process holds a lock; a run that is stored as running and whose lock is free was interrupted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from n4a_store.artifacts.draft import PipelineDraft
from n4a_store.artifacts.environment import environment, new_run_id, now
from n4a_store.artifacts.manifest_tree import ARTIFACTS, PIPELINES, RUNS, PipelineManifest
from n4a_store.errors import InvalidInputError, TransactionClosedError
from n4a_store.objects.model import Run, RunStatus, TreeEntry
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.repo.maintenance import maintain
from n4a_store.repo.seat import Seat
from n4a_store.repo.store import Store
from n4a_store.repo.transaction import ANY, CommitResult, Transaction
from n4a_store.storage.leases import Lease, LeaseRole, probe_lease

__all__ = ["OpenRun", "current_manifest", "read_manifest", "shown_status"]

log = logging.getLogger(__name__)

_LOCK = "lock"


def current_manifest(store: Store, pipeline_id: str) -> PipelineManifest | None:
    """The last completed manifest of a pipeline, or None."""
    ref = store.find_ref(PIPELINES + pipeline_id)
    return None if ref is None else PipelineManifest.read(store, pipeline_id, ref.oid)


def read_manifest(store: Store, run_id: str, pipeline_id: str) -> PipelineManifest | None:
    """The manifest of a pipeline in a run, or None."""
    ref = store.find_ref(RUNS + run_id)
    if ref is None or ref.kind is not Kind.RUN:
        return None
    entry = store.get_entry(store.get_run(ref.oid).pipelines, pipeline_id)
    return None if entry is None else PipelineManifest.read(store, pipeline_id, entry.oid)


def shown_status(store: Store, run: Run) -> RunStatus:
    """The status of a run as people are shown it: interrupted when its process is gone."""
    lock = run.details.get(_LOCK)
    if run.status is not RunStatus.RUNNING:
        return run.status
    if isinstance(lock, str) and lock.isalnum():
        info = probe_lease(store.layout.lease(lock))
        if info is not None and info.alive:
            return RunStatus.RUNNING
    return RunStatus.INTERRUPTED


class OpenRun:
    """A run that is going on in this process.

    Args:
        open_store: Gives the store, and creates it when needed: a run that registers nothing
            creates nothing.
        dataset: The dataset it runs on.
        message: Free text for its run object.
        details: What the runner wants to keep beside it.
        implicit: A run that nobody started: each registration commits by itself.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        dataset: str,
        *,
        message: str = "",
        details: Mapping[str, Any] | None = None,
        implicit: bool = False,
    ) -> None:
        self.id = new_run_id()
        self.dataset = dataset
        self.created_at = now()
        self.implicit = implicit
        self.drafts: dict[str, PipelineDraft] = {}
        self.completed: dict[str, ObjectId] = {}
        self.before: dict[str, ObjectId | None] = {}
        self.newest: PipelineManifest | None = None
        self._open_store = open_store
        self._message = message
        self._details = dict(details or {})
        self._store: Store | None = None
        self._lock: Lease | None = None
        self._seats: list[Seat] = []
        self._parents: tuple[ObjectId, ...] = ()
        self._environment: dict[str, str] = {}
        self._ended = False

    @property
    def ref(self) -> str:
        """The run's ref."""
        return RUNS + self.id

    @property
    def is_open(self) -> bool:
        """Whether it can still be registered into."""
        return not self._ended

    def check_open(self) -> None:
        """Raise :class:`TransactionClosedError` when the run has ended."""
        if self._ended:
            raise TransactionClosedError(
                f"run {self.id} has ended", hint="start a new one with registry.run()"
            )

    @property
    def store(self) -> Store:
        """The store; the run's lock is taken when it is first needed."""
        if self._store is None:
            store = self._open_store()
            if not self.implicit:
                self._lock = _take_lock(store)
                self._details[_LOCK] = self._lock.lease_id
            self._parents = _newest_run(store)
            self._environment = environment(store.settings)
            self._store = store
        return self._store

    # --- drafts -------------------------------------------------------------------------------

    def draft(self, pipeline_id: str) -> PipelineDraft:
        """The open draft of a pipeline, begun now when there is none.

        A pipeline that this run has completed already goes on from there.
        """
        self.check_open()
        draft = self.drafts.get(pipeline_id)
        if draft is None:
            draft = self.drafts[pipeline_id] = self.begin(pipeline_id)
        return draft

    def begin(self, pipeline_id: str) -> PipelineDraft:
        """A new draft with a transaction of its own."""
        store = self.store
        txn = store.transaction(
            f"pipeline {pipeline_id} of run {self.id}", action="register", seat=self._seat()
        )
        try:
            current = current_manifest(store, pipeline_id)
            kept = current if self.implicit else None
            if pipeline_id in self.completed and not self.implicit:
                kept = read_manifest(store, self.id, pipeline_id)
            if kept is not None:
                ref, names = PIPELINES + pipeline_id, [ARTIFACTS]
                if not self.implicit:
                    ref, names = self.ref, [pipeline_id, ARTIFACTS]
                txn.adopt_children(txn.adopt_path(ref, *names).oid)
            same_run = kept is not None and kept.run_id == self.id
            return PipelineDraft(
                txn,
                pipeline_id,
                self.id,
                kept.created_at if kept is not None and same_run else now(),
                current=current,
                kept=kept,
            )
        except BaseException:
            txn.abort()
            raise

    def _seat(self) -> Seat | None:
        """A seat that no unfinished pipeline uses; none for a run that nobody ends."""
        if self.implicit:
            return None
        used = {id(draft.txn.seat) for draft in self.drafts.values()}
        free = (seat for seat in self._seats if seat.held and id(seat) not in used)
        seat = next(free, None)
        if seat is None:
            seat = self.store.seat()
            self._seats.append(seat)
        return seat

    # --- the moments of a run -----------------------------------------------------------------

    def complete(self, pipeline_id: str) -> CommitResult | None:
        """Make a pipeline durable and visible; None when there was nothing new to commit.

        Raises:
            InvalidInputError: Nothing was registered for it in this run.
            ConflictError: What it relies on was taken away; the pipeline is dropped.
        """
        self.check_open()
        draft = self.drafts.get(pipeline_id)
        if draft is None:
            if pipeline_id in self.completed:
                return None
            raise InvalidInputError(
                f"nothing has been registered for pipeline {pipeline_id!r} in run {self.id}",
                hint="register its artifacts first; the id is the part before the first ':'",
            )
        try:
            current = current_manifest(self.store, pipeline_id)
            result = self.commit(draft, current, RunStatus.RUNNING)
        finally:
            # Committed or aborted, the transaction has ended.
            draft.txn.abort()
            del self.drafts[pipeline_id]
        return result

    def commit(
        self,
        draft: PipelineDraft,
        current: PipelineManifest | None,
        status: RunStatus,
        *,
        strict: bool = False,
    ) -> CommitResult:
        """Commit one draft: its manifest, its ref and the run's.

        Args:
            strict: Refuse when the pipeline's ref is no longer at ``current``.
        """
        manifest = draft.finish(current)
        made = {draft.pipeline_id: TreeEntry(Kind.TREE, manifest.oid)}
        pipelines = self.with_pipelines(draft.txn, made)
        expect = (None if current is None else current.oid) if strict else ANY
        draft.txn.set_ref(PIPELINES + draft.pipeline_id, manifest.oid, expect)
        self.set_run(draft.txn, pipelines, status)
        result = draft.txn.commit()
        self.completed[draft.pipeline_id] = manifest.oid
        self.newest = manifest
        self.before.setdefault(draft.pipeline_id, None if current is None else current.oid)
        return result

    def with_pipelines(self, txn: Transaction, more: Mapping[str, TreeEntry]) -> ObjectId:
        """The tree of the run's pipelines as stored, from which others may have deleted some,
        and ``more``."""
        if self.store.find_ref(self.ref) is None:
            return txn.put_tree(more)
        return txn.put_tree(more, onto=txn.adopt_path(self.ref).oid)

    def set_run(self, txn: Transaction, pipelines: ObjectId, status: RunStatus) -> None:
        """Plan to move the run's ref to a run object with these pipelines and this status."""
        run = Run(
            pipelines=pipelines,
            dataset=self.dataset,
            created_at=self.created_at,
            status=status,
            parents=self._parents,
            environment=self._environment,
            message=self._message,
            details=self._details,
        )
        txn.set_ref(self.ref, txn.put_run(run))

    def end(self, status: RunStatus) -> None:
        """End the run with a status. Unfinished pipelines are dropped.

        A run that never needed its store leaves no trace.
        """
        self.check_open()
        try:
            self.drop_drafts()
            if self._store is not None and not self.implicit:
                with self._store.transaction(f"run {self.id} is {status}", action="run") as txn:
                    self.set_run(txn, self.with_pipelines(txn, {}), status)
        finally:
            self.release()
        if self._store is not None and not self.implicit:
            maintain(self._store)

    def adopt(self, pipeline_ids: Iterable[str]) -> None:
        """Hold pipelines that are complete already, as they are, in one commit.

        Raises:
            RefNotFoundError: One of them is not complete.
        """
        self.check_open()
        with self.store.transaction(f"run {self.id} goes on", action="run") as txn:
            held = {one: txn.adopt_path(PIPELINES + one) for one in pipeline_ids}
            self.set_run(txn, self.with_pipelines(txn, held), RunStatus.RUNNING)

    def note(self, details: Mapping[str, Any]) -> None:
        """Add to the run object's details, from the next commit on."""
        self.check_open()
        self._details.update(details)

    def drop_drafts(self) -> int:
        """Drop what is unfinished; the number of artifacts that were in it."""
        return sum(self.drop_draft(pipeline_id) for pipeline_id in list(self.drafts))

    def drop_draft(self, pipeline_id: str) -> int:
        """Drop one unfinished pipeline; the number of artifacts that were in it."""
        draft = self.drafts.pop(pipeline_id, None)
        if draft is None:
            return 0
        draft.txn.abort()
        dropped = len(draft.artifacts)
        log.info(
            "run %s: dropped %d artifacts of unfinished pipeline %s", self.id, dropped, pipeline_id
        )
        return dropped

    def release(self) -> None:
        """Give the run's lock up; the run has ended."""
        self._ended = True
        for seat in self._seats:
            seat.leave()
        if self._lock is not None:
            self._lock.release()


def _take_lock(store: Store) -> Lease:
    lock = Lease(store.layout.leases, LeaseRole.RUN, shared_group=store.settings.shared_group)
    with store.catalog.read() as reader:
        lock.publish(reader.generation(), reader.epoch())
    return lock


def _newest_run(store: Store) -> tuple[ObjectId, ...]:
    """The run before this one: the youngest of the newest day."""
    refs = [ref for ref in store.refs(RUNS) if ref.kind is Kind.RUN]
    if not refs:
        return ()
    day = max(ref.name for ref in refs).partition("_")[0]
    of_day = [ref.oid for ref in refs if ref.name.startswith(day)]
    return (max(of_day, key=lambda oid: store.get_run(oid).created_at),)

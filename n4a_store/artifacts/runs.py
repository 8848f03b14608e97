"""Runs as transactions: nothing is visible before its pipeline completes.

``complete`` is one commit, which moves ``refs/pipelines/<id>`` and ``refs/runs/<run>``. What is
unfinished lives in transactions of its own and is dropped by dropping them. While a run is open
its process holds a lock; a run that is stored as running and whose lock is free was interrupted.

A run that commits only once (:class:`~n4a_store.settings.CommitEach`) grows all its pipelines in
one transaction. Those that are complete wait for its end, or for a checkpoint.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from n4a_store.artifacts.draft import PipelineDraft
from n4a_store.artifacts.environment import new_run_id, now
from n4a_store.artifacts.manifest_tree import ARTIFACTS, PIPELINES, RUNS, PipelineManifest
from n4a_store.artifacts.run_facts import RunFacts
from n4a_store.artifacts.run_seats import RunSeats
from n4a_store.artifacts.run_transactions import RunTransactions
from n4a_store.artifacts.stored_runs import (
    LOCK,
    current_manifest,
    manifest_at,
    read_manifest,
)
from n4a_store.artifacts.types import ArtifactRecord
from n4a_store.errors import InvalidInputError, RefNotFoundError, TransactionClosedError
from n4a_store.objects.model import RunStatus, TreeEntry
from n4a_store.objects.oid import ObjectId
from n4a_store.refs.refs import Expect
from n4a_store.repo.maintenance import maintain
from n4a_store.repo.seat import Seat
from n4a_store.repo.store import Store
from n4a_store.repo.transaction import ANY, Transaction
from n4a_store.settings import CommitEach
from n4a_store.storage.leases import Lease

__all__ = ["Committed", "OpenRun", "commit_planned"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Committed:
    """A pipeline that has just been committed.

    Args:
        manifest: As it was put.
        records: What it holds, in order of execution.
    """

    manifest: PipelineManifest
    records: list[ArtifactRecord]


def commit_planned(txn: Transaction, plan: Callable[[], None]) -> None:
    """Commit what ``plan`` plans. Where somebody moved a ref first, it plans again."""
    plan()
    txn.commit(plan)


class OpenRun:
    """A run that is going on in this process.

    Args:
        open_store: Gives the store, and creates it when needed: a run that registers nothing
            creates nothing.
        dataset: The dataset it runs on.
        message: Free text for its run object.
        details: What the runner wants to keep beside it.
        implicit: A run that nobody started: each registration commits by itself.
        commit_each: What it commits at a time.
        created_at: When it began, ISO 8601 in UTC; None: now.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        dataset: str,
        *,
        message: str = "",
        details: Mapping[str, Any] | None = None,
        implicit: bool = False,
        commit_each: CommitEach = CommitEach.PIPELINE,
        created_at: str | None = None,
    ) -> None:
        self.id = new_run_id()
        self.dataset = dataset
        self.created_at = created_at or now()
        self.implicit = implicit
        self.commit_each = commit_each
        self.drafts: dict[str, PipelineDraft] = {}
        self.waiting: dict[str, PipelineDraft] = {}
        """Complete pipelines that the next commit will hold."""
        self.completed: dict[str, ObjectId] = {}
        self.before: dict[str, ObjectId | None] = {}
        self.adopted: set[ObjectId] = set()
        """Manifests that workers handed over."""
        self._open_store = open_store
        self._facts = RunFacts(dataset, self.created_at, message, dict(details or {}))
        self._store: Store | None = None
        self._noted = False
        self._lock: Lease | None = None
        self._seats = RunSeats()
        self.transactions = RunTransactions(one=commit_each is CommitEach.RUN)
        self._planned: ObjectId | None = None
        self._last: ObjectId | None = None
        """The run object that this run has planned last, and the one that it has committed."""
        self._made: dict[str, Committed] = {}
        """What it has committed last, by its pipeline, which may go on from it."""
        self._ended = False
        self._pid = os.getpid()

    @property
    def ref(self) -> str:
        """The run's ref."""
        return RUNS + self.id

    @property
    def is_open(self) -> bool:
        """Whether it can still be registered into, in this process."""
        return not self._ended and self._pid == os.getpid()

    def check_open(self) -> None:
        """Raise :class:`TransactionClosedError` when the run has ended, or is the parent's."""
        if self._pid != os.getpid():
            raise TransactionClosedError(
                f"run {self.id} was begun before a fork, in the parent process",
                hint="hand a worker run.worker_ticket(); a run of its own needs another registry",
            )
        if self._ended:
            raise TransactionClosedError(
                f"run {self.id} has ended", hint="start a new one with registry.run()"
            )

    @property
    def store(self) -> Store:
        """The store; the run's lock is taken when it is first needed."""
        if self._store is None:
            store = self._open_store()
            self._facts.learn(store)  # it may fail, and then no lock is held
            if not self.implicit:
                self._lock = store.lock_run()
                self._facts.details[LOCK] = self._lock.lease_id
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
            waiting = self.waiting.get(pipeline_id)
            draft = self.begin(pipeline_id) if waiting is None else waiting.again()
            self.drafts[pipeline_id] = draft
        return draft

    def open_draft(self, pipeline_id: str) -> PipelineDraft | None:
        """A pipeline that only this process can see: unfinished, or waiting for a commit."""
        return self.drafts.get(pipeline_id) or self.waiting.get(pipeline_id)

    def own_transaction(self, pipeline_id: str) -> Transaction:
        """One for a pipeline alone."""
        return self.store.transaction(
            f"pipeline {pipeline_id} of run {self.id}",
            action="register",
            seat=self._seat(),
            look_at=(PIPELINES + pipeline_id, self.ref),
        )

    def shared_transaction(self) -> Transaction:
        """One for several pipelines."""
        message = f"pipelines of run {self.id}"
        return self.store.transaction(message, action="register", seat=self._seat())

    def begin(self, pipeline_id: str) -> PipelineDraft:
        """A new draft."""
        store, made = self.store, self._made.get(pipeline_id)
        seen = None if made is None else made.manifest
        txn = self.transactions.begin(self, pipeline_id)
        try:
            if self.transactions.is_shared(txn):
                current = current_manifest(store, pipeline_id, seen)
            else:
                now_at = txn.seen_ref(PIPELINES + pipeline_id)
                current = manifest_at(store, pipeline_id, now_at, seen)
            kept = current if self.implicit else None
            if pipeline_id in self.completed and not self.implicit:
                kept = read_manifest(store, self.id, pipeline_id, current)
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
                known=made.records if made is not None and kept is seen else (),
            )
        except BaseException:
            self.transactions.end(txn)
            raise

    def _seat(self) -> Seat | None:
        """A seat that no unfinished pipeline uses; none for a run that nobody ends."""
        if self.implicit:
            return None
        drafts = (*self.drafts.values(), *self.waiting.values())
        return self._seats.free(self.store, [draft.txn.seat for draft in drafts])

    # --- the moments of a run -----------------------------------------------------------------

    def complete(self, pipeline_id: str) -> list[Committed]:
        """Complete a pipeline; what has been committed by that.

        Raises:
            InvalidInputError: Nothing was registered for it in this run.
            ConflictError: What it relies on was taken away, or others completed it first again and
                again; the pipeline is dropped.
        """
        self.check_open()
        draft = self.drafts.get(pipeline_id)
        if draft is None or draft.adds_nothing:
            if pipeline_id in self.completed or pipeline_id in self.waiting:
                self.drop_draft(pipeline_id)
                return []
            raise InvalidInputError(
                f"nothing has been registered for pipeline {pipeline_id!r} in run {self.id}",
                hint="register its artifacts first; the id is the part before the first ':'",
            )
        if self.commit_each is CommitEach.RUN:
            self.waiting[pipeline_id] = self.drafts.pop(pipeline_id)
            return []
        try:
            self.transactions.part(self, draft)
            return self.commit([draft], RunStatus.RUNNING)
        finally:
            # Committed or aborted, the transaction has ended.
            self.transactions.end(draft.txn)
            del self.drafts[pipeline_id]

    def complete_all(self) -> Iterator[list[Committed]]:
        """Complete one unfinished pipeline after the other; what is committed by each.

        One that nothing was registered for, because that was refused, is dropped.
        """
        for pipeline_id, draft in list(self.drafts.items()):
            if draft.adds_nothing:
                self.drop_draft(pipeline_id)
            else:
                yield self.complete(pipeline_id)

    def checkpoint(self) -> list[Committed]:
        """Commit now the complete pipelines that wait for the run's end; what has been committed.

        What is unfinished is written again, into the transaction that the run goes on with.

        Raises:
            ConflictError: What they rely on was taken away; they are dropped.
        """
        self.check_open()
        if not self.waiting:
            return []
        self.transactions.leave_behind(self)
        waiting = dict(self.waiting)
        made = self._commit_waiting(RunStatus.RUNNING)
        for done in made:
            again = self.drafts.get(done.manifest.pipeline_id)
            if again is not None:
                again.go_on_from(waiting[again.pipeline_id], done.manifest)
        return made

    def _commit_waiting(self, status: RunStatus) -> list[Committed]:
        waiting, self.waiting = self.waiting, {}
        txn = next(iter(waiting.values())).txn
        try:
            return self.commit(list(waiting.values()), status)
        finally:
            txn.abort()

    def commit(self, drafts: Sequence[PipelineDraft], status: RunStatus) -> list[Committed]:
        """Commit drafts of one transaction: their manifests, their refs and the run's.

        Versions count on from what is completed when the refs move. A run that nobody started
        holds what its drafts began with, and nothing else can take the place of that.

        Raises:
            ConflictError: What they rely on was taken away; or, in a run that nobody started,
                another process has completed the pipeline.
        """
        txn = drafts[0].txn
        made: list[Committed] = []
        before: dict[str, ObjectId | None] = {}
        # What a pipeline's own transaction saw when it began is very likely still so: the commit
        # finds out, and plans again. What all of a run's stand in may have begun long ago.
        looks_again = self.transactions.is_shared(txn)

        def plan() -> None:
            nonlocal looks_again
            made.clear()
            for draft in drafts:
                name, current = draft.pipeline_id, draft.current
                if looks_again:
                    current = current_manifest(self.store, name, current)
                manifest = draft.finish(current)
                made.append(Committed(manifest, draft.records()))
                before[name] = None if current is None else current.oid
                txn.set_ref(PIPELINES + name, manifest.oid, before[name])
            self.plan_run(txn, {one.manifest.pipeline_id: one.manifest.oid for one in made}, status)
            looks_again = True

        if self.implicit:
            plan()
            txn.commit()
        else:
            commit_planned(txn, plan)
        self._last = self._planned
        self._made = {one.manifest.pipeline_id: one for one in made[-1:]}
        self.remember({one.manifest.pipeline_id: one.manifest.oid for one in made}, before)
        return made

    def remember(self, made: Mapping[str, ObjectId], before: Mapping[str, ObjectId | None]) -> None:
        """Remember what has been committed, and what others had left there last.

        Between two completions of one pipeline somebody else may have completed or deleted it.
        """
        for name, oid in made.items():
            if name not in self.completed or before[name] != self.completed[name]:
                self.before[name] = before[name]
            self.completed[name] = oid

    def plan_run(
        self, txn: Transaction, more: Mapping[str, ObjectId | TreeEntry], status: RunStatus
    ) -> None:
        """Plan to move the run's ref: its pipelines as stored, from which others may have
        deleted some, and ``more``."""
        before = self._last
        if before is None or not txn.adopt_seen(self.ref, before):
            # Others have deleted some, or another pipeline of this run was first.
            try:
                before = txn.adopt_path(self.ref).oid
            except RefNotFoundError:
                before = None
        self.set_run(txn, txn.put_tree(more, onto=before), status, before)

    def set_run(
        self, txn: Transaction, pipelines: ObjectId, status: RunStatus, expect: Expect = ANY
    ) -> None:
        """Plan to move the run's ref to a run object with these pipelines and this status."""
        self._planned = txn.put_run(self._facts.run(pipelines, status))
        txn.set_ref(self.ref, self._planned, expect)

    def end(self, status: RunStatus) -> list[Committed]:
        """End the run with a status; what has been committed by that.

        Unfinished pipelines are dropped. A run that never needed its store leaves no trace, unless
        something was noted: that all of it failed is a result, and newer than the run before.
        """
        self.check_open()
        made: list[Committed] = []
        try:
            self.drop_drafts()
            if self.waiting:
                made = self._commit_waiting(status)
            elif (self._store is not None or self._noted) and not self.implicit:
                with self.store.transaction(f"run {self.id} is {status}", action="run") as txn:
                    commit_planned(txn, partial(self.plan_run, txn, {}, status))
        finally:
            self.release()
        if self._store is not None and not self.implicit:
            maintain(self._store)
        return made

    def adopt(self, pipeline_ids: Iterable[str]) -> None:
        """Hold pipelines that are complete already, as they are, in one commit.

        Raises:
            RefNotFoundError: One of them is not complete.
        """
        self.check_open()
        with self.store.transaction(f"run {self.id} goes on", action="run") as txn:
            held = {one: txn.adopt_path(PIPELINES + one) for one in pipeline_ids}
            commit_planned(txn, partial(self.plan_run, txn, held, RunStatus.RUNNING))

    def note(self, details: Mapping[str, Any]) -> None:
        """Add to the run object's details, from the next commit on.

        Raises:
            InvalidInputError: They are no map, or something in them has no canonical form.
        """
        self.check_open()
        self._facts.note(details)
        self._noted = True

    def drop_drafts(self) -> int:
        """Drop what is unfinished; the number of artifacts that were in it."""
        return sum(self.drop_draft(pipeline_id) for pipeline_id in list(self.drafts))

    def drop_waiting(self) -> int:
        """Drop what is complete and waits for a commit; the number of artifacts in it."""
        waiting, self.waiting = self.waiting, {}
        return sum(len(draft.artifacts) for draft in waiting.values())

    def drop_draft(self, pipeline_id: str) -> int:
        """Drop one unfinished pipeline; the number of artifacts that were in it."""
        draft = self.drafts.pop(pipeline_id, None)
        if draft is None:
            return 0
        self.transactions.end(draft.txn)
        dropped = len(draft.artifacts)
        log.info("run %s: dropped %d artifacts of %s", self.id, dropped, pipeline_id)
        return dropped

    def release(self) -> None:
        """Give the run's lock up, whatever else fails; the run has ended."""
        self._ended = True
        with ExitStack() as ending:
            if self._lock is not None:
                ending.callback(self._lock.release)
            ending.callback(self._seats.leave)
            self.transactions.end_shared()

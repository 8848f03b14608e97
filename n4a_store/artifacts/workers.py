"""Workers of one run: other processes that fit, and the run that takes over what they made.

A worker gets a ticket, registers as usual and hands over manifests by id. What it commits is
held for the run and visible to nobody; the run adopts it in one commit, and when the run dies
first, all of it is garbage. Nothing is copied: a worker's packs become the store's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from n4a_store.artifacts.draft import PipelineDraft
from n4a_store.artifacts.environment import now
from n4a_store.artifacts.manifest_tree import PIPELINES
from n4a_store.artifacts.registry import ArtifactRegistry
from n4a_store.artifacts.runs import OpenRun, current_manifest
from n4a_store.artifacts.serializers.table import SerializerTable
from n4a_store.errors import InvalidInputError
from n4a_store.objects.model import RunStatus, TreeEntry
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.repo.store import Store
from n4a_store.repo.transaction import CommitResult

__all__ = ["Handover", "WorkerRegistry", "WorkerTicket", "adopt_handovers", "worker_ticket"]


@dataclass(frozen=True, slots=True)
class WorkerTicket:
    """What a worker needs to register for a run. Small, and made to be pickled."""

    workspace: str
    dataset: str
    run_id: str
    lock: str


@dataclass(frozen=True, slots=True)
class Handover:
    """A pipeline that a worker has finished: its id, and its manifest's."""

    pipeline_id: str
    manifest: ObjectId


def worker_ticket(registry: ArtifactRegistry) -> WorkerTicket:
    """A ticket for the registry's open run.

    Raises:
        InvalidInputError: No run is open.
    """
    run = registry._need_run("worker_ticket")
    return WorkerTicket(str(registry.workspace.path), registry.dataset, run.id, _lock(run))


def _lock(run: OpenRun) -> str:
    """The id of the run's lock, which is taken now if it was not."""
    store = run.store
    assert run._lock is not None, store
    return run._lock.lease_id


def adopt_handovers(registry: ArtifactRegistry, handovers: Iterable[Handover]) -> None:
    """Complete, in one commit, pipelines that workers of the open run have finished.

    Raises:
        InvalidInputError: No run is open.
        ObjectNotFoundError: A manifest was not made by a worker of this run.
    """
    run = registry._need_run("adopt_handovers")
    made = {handover.pipeline_id: handover.manifest for handover in handovers}
    if not made:
        return
    lock = _lock(run)
    with run.store.transaction(f"workers of run {run.id}", action="register") as txn:
        txn.adopt_held(lock)
        pipelines = run._pipelines(txn)
        for pipeline_id, manifest in made.items():
            pipelines[pipeline_id] = TreeEntry(Kind.TREE, manifest)
            txn.set_ref(PIPELINES + pipeline_id, manifest)
        run.set_run(txn, pipelines, RunStatus.RUNNING)
    run.completed.update(made)


class WorkerRegistry(ArtifactRegistry):
    """A registry in a worker. It is in the run from the start, and leaves by handing over.

    Args:
        ticket: From :func:`worker_ticket`, in the process of the run.
        table: The serializers; None for those of this process.
    """

    def __init__(self, ticket: WorkerTicket, *, table: SerializerTable | None = None) -> None:
        super().__init__(ticket.workspace, ticket.dataset, table=table)
        self._run = _WorkerRun(self._created_store, ticket)

    def hand_over(self) -> list[Handover]:
        """Commit what is unfinished, for the run to adopt; everything finished so far."""
        run = self._need_run("hand_over")
        for pipeline_id in list(run.drafts):
            run.complete(pipeline_id)
        return [Handover(name, manifest) for name, manifest in run.completed.items()]

    def end_run(self) -> None:
        """Not a worker's to do.

        Raises:
            InvalidInputError: Always.
        """
        raise InvalidInputError("a worker hands over; its run ends in the process that began it")


class _WorkerRun(OpenRun):
    """The run as a worker sees it: it may add to it and move no ref."""

    def __init__(self, open_store: Callable[[], Store], ticket: WorkerTicket) -> None:
        super().__init__(open_store, ticket.dataset)
        self.id = ticket.run_id
        self._held_for = ticket.lock
        self._opened = open_store

    @property
    def store(self) -> Store:
        """The store; the run's lock is its own process's."""
        return self._opened()

    def begin(self, pipeline_id: str) -> PipelineDraft:
        """A new draft, whose pack will be held for the run."""
        store = self.store
        txn = store.transaction(f"worker of run {self.id}", hold_for=self._held_for)
        try:
            current = current_manifest(store, pipeline_id)
            return PipelineDraft(txn, pipeline_id, self.id, now(), current=current)
        except BaseException:
            txn.abort()
            raise

    def complete(self, pipeline_id: str) -> CommitResult | None:
        """Commit a draft for the run to adopt."""
        draft = self.drafts.pop(pipeline_id)
        try:
            manifest = draft.finish(draft.current)
            result = draft.txn.commit()
        finally:
            draft.txn.abort()
        self.completed[pipeline_id] = manifest
        return result

    def end(self, status: RunStatus) -> None:  # noqa: ARG002 - the run's own process knows it
        """Drop what is unfinished. What was committed waits for the run."""
        self.drop_drafts()
        self.release()

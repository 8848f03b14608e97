"""Workers of one run: other processes that fit, and the run that takes over what they made.

A worker gets a ticket, registers as usual and hands over manifests by id. What it commits is
held for the run and visible to nobody; the run adopts it in one commit, and when the run dies
first, all of it is garbage. Nothing is copied: a worker's packs become the store's. Workers may
share a pipeline, a fold each: what they hand over comes together in the run.

Where what they made of a pipeline must not be seen before the rest of it is there, a worker keeps
a journal instead: it stores what it has fitted, and the process that trains the pipeline names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

from n4a_store.artifacts.draft import PipelineDraft
from n4a_store.artifacts.drafted import NewArtifact
from n4a_store.artifacts.environment import now
from n4a_store.artifacts.incoming import artifact_ids, prepare, with_sources
from n4a_store.artifacts.manifest_files import write_renditions
from n4a_store.artifacts.manifest_tree import ARTIFACTS, PIPELINES, PipelineManifest
from n4a_store.artifacts.numbering import Numbering
from n4a_store.artifacts.payload import payload_parts, put_payload
from n4a_store.artifacts.registry import ArtifactRegistry
from n4a_store.artifacts.runs import Committed, OpenRun, commit_planned
from n4a_store.artifacts.serializers.base import BufferView, Payload
from n4a_store.artifacts.serializers.table import SerializerTable, default_table
from n4a_store.artifacts.stored_runs import current_manifest, read_manifest
from n4a_store.artifacts.types import ArtifactType, MetaModelConfig
from n4a_store.errors import InvalidInputError
from n4a_store.objects.model import RunStatus, TreeEntry
from n4a_store.objects.oid import ObjectId
from n4a_store.repo.store import Store
from n4a_store.repo.transaction import Transaction

__all__ = [
    "Handover",
    "JournalEntry",
    "WorkerJournal",
    "WorkerRegistry",
    "WorkerTicket",
    "adopt_handovers",
    "adopt_journal",
    "worker_ticket",
]


@dataclass(frozen=True, slots=True)
class WorkerTicket:
    """What a worker needs to register for a run. Small, and made to be pickled."""

    workspace: str
    dataset: str
    run_id: str
    lock: str


@dataclass(frozen=True, slots=True)
class Handover:
    """A pipeline that a worker has finished.

    Args:
        pipeline_id: Its id.
        manifest: The id of its manifest.
        versions: How many versions the worker made of a key, where it is more than one.
    """

    pipeline_id: str
    manifest: ObjectId
    versions: Mapping[str, int] = field(default_factory=dict)


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

    What several workers made of one pipeline comes together, as if one process had registered it
    in that order, and so does what the run has of it already. One that was adopted before brings
    nothing new.

    Raises:
        InvalidInputError: No run is open; or they are not what workers of this run handed over.
        ObjectNotFoundError: A manifest was not made by a worker of this run.
    """
    run = registry._need_run("adopt_handovers")
    given: dict[str, list[Handover]] = {}
    for handover in _checked_handovers(handovers):
        if handover.manifest not in run.adopted:
            given.setdefault(handover.pipeline_id, []).append(handover)
    if not given:
        return
    lock = _lock(run)
    made: dict[str, ObjectId] = {}
    before: dict[str, ObjectId | None] = {}
    with run.store.transaction(f"workers of run {run.id}", action="register") as txn:
        txn.adopt_held(lock)

        def plan() -> None:
            for name, parts in given.items():
                made[name], before[name] = _plan_handovers(run, txn, name, parts)
            run.plan_run(txn, made, RunStatus.RUNNING)

        commit_planned(txn, plan)
    run.remember(made, before)
    run.adopted.update(handover.manifest for parts in given.values() for handover in parts)
    for name in made:
        for draft in (run.drafts.get(name), run.waiting.get(name)):
            if draft is not None:
                _go_on(run, draft)
    write_renditions(registry.workspace.layout, registry.dataset, run.store, run.id, made)


def _checked_handovers(handovers: Iterable[Handover]) -> list[Handover]:
    hint = "adopt what one hand_over() has returned, for each worker"
    try:
        given = list(handovers)
    except TypeError:
        raise InvalidInputError(
            f"a run adopts a list of handovers, not {handovers!r:.80}", hint=hint
        ) from None
    for handover in given:
        if not isinstance(handover, Handover):
            raise InvalidInputError(f"{handover!r:.80} is no handover", hint=hint)
    return given


def _plan_handovers(
    run: OpenRun, txn: Transaction, name: str, handovers: list[Handover]
) -> tuple[ObjectId, ObjectId | None]:
    """Plan to move a pipeline's ref.

    Returns:
        The id of its manifest, which counts on from what is there now; and the id of that.
    """
    current = current_manifest(run.store, name)
    before = None if current is None else current.oid
    parts = []
    for handover in handovers:
        txn.set_ref(PIPELINES + name, handover.manifest, before)
        part = PipelineManifest.read(txn, name, handover.manifest)
        if part.run_id != run.id:
            raise InvalidInputError(
                f"pipeline {name} was handed over by a worker of run {part.run_id}, not of {run.id}"
            )
        parts.append((part, handover.versions))
    kept = _kept(run, txn, name) if name in run.completed else None
    if kept is None and len(parts) == 1:
        manifest = Numbering(current).put_again(txn, *parts[0])
    else:
        first = parts[0][0] if kept is None or kept.run_id != run.id else kept
        draft = PipelineDraft(txn, name, run.id, first.created_at, current=current, kept=kept)
        for part, versions in parts:
            for path in part.paths():
                key, node = path.key, part.node(txn, path.key)
                record, links = part.record(txn, key), part.links.keys[key]
                draft.name_existing(path, record, node, links, versions.get(key, 1))
            draft.branches.update(part.links.branches)
        manifest = draft.finish(current)
    txn.set_ref(PIPELINES + name, manifest.oid, before)
    return manifest.oid, before


def _kept(run: OpenRun, txn: Transaction, name: str) -> PipelineManifest | None:
    """What the run holds of a pipeline, for ``txn`` to add to; None when others deleted it."""
    kept = read_manifest(run.store, run.id, name)
    if kept is not None:
        txn.adopt_children(txn.adopt_path(run.ref, name, ARTIFACTS).oid)
    return kept


def _go_on(run: OpenRun, draft: PipelineDraft) -> None:
    """Let an unfinished pipeline keep what workers have made of it meanwhile."""
    kept = _kept(run, draft.txn, draft.pipeline_id)
    if kept is not None:
        draft.keep(kept)
        draft.branches = {**kept.links.branches, **draft.branches}


class WorkerRegistry(ArtifactRegistry):
    """A registry in a worker. It is in the run from the start, and leaves by handing over.

    Args:
        ticket: From :func:`worker_ticket`, in the process of the run.
        table: The serializers; None for those of this process.

    Raises:
        InvalidInputError: That is no ticket.
    """

    _LOST_DEPENDENCY = (
        "a worker sees what it made and what is committed: complete_pipeline() in the run's own "
        "process first, and checkpoint() where it commits once"
    )

    def __init__(self, ticket: WorkerTicket, *, table: SerializerTable | None = None) -> None:
        if not isinstance(ticket, WorkerTicket):
            raise InvalidInputError(
                f"a worker is made with a ticket, not {ticket!r:.80}", hint="run.worker_ticket()"
            )
        super().__init__(ticket.workspace, ticket.dataset, table=table)
        self._run = _WorkerRun(self._store_giver(), ticket)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close. What was not handed over by then is garbage."""
        del kind
        self.close()

    def hand_over(self) -> list[Handover]:
        """Commit what is unfinished, for the run to adopt; everything finished so far."""
        run = self._need_run("hand_over")
        assert isinstance(run, _WorkerRun)
        for _ in run.complete_all():
            pass
        return [
            Handover(name, manifest, run.versions.get(name, {}))
            for name, manifest in run.completed.items()
        ]

    def __reduce__(self) -> tuple[Any, ...]:
        """A worker's registry does not leave its process, not even closed.

        Raises:
            InvalidInputError: Always.
        """
        raise InvalidInputError(
            "the registry of a worker cannot be sent to another process",
            hint="return registry.hand_over() from the worker; the run adopts that",
        )

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
        self.versions: dict[str, dict[str, int]] = {}
        self._held_for = ticket.lock
        self._opened = open_store

    @property
    def store(self) -> Store:
        """The store; the run's lock is its own process's."""
        return self._opened()

    def own_transaction(self, pipeline_id: str) -> Transaction:  # noqa: ARG002 - the run's to say
        """One whose packs will be held for the run."""
        return self.store.transaction(f"worker of run {self.id}", hold_for=self._held_for)

    def shared_transaction(self) -> Transaction:
        """One that will not be committed."""
        return self.store.transaction(f"worker of run {self.id}")

    def begin(self, pipeline_id: str) -> PipelineDraft:
        """A new draft."""
        txn = self.transactions.begin(self, pipeline_id)
        try:
            current = current_manifest(self.store, pipeline_id)
            return PipelineDraft(txn, pipeline_id, self.id, now(), current=current)
        except BaseException:
            self.transactions.end(txn)
            raise

    def complete(self, pipeline_id: str) -> list[Committed]:
        """Commit a draft for the run to adopt."""
        draft = self.drafts.pop(pipeline_id)
        try:
            self.transactions.part(self, draft)
            made = Committed(draft.finish(draft.current), draft.records())
            bumps = {key: one.bumps for key, one in draft.artifacts.items() if one.bumps > 1}
            self.versions[pipeline_id] = bumps
            draft.txn.commit()
        finally:
            self.transactions.end(draft.txn)
        self.completed[pipeline_id] = made.manifest.oid
        return [made]

    def end(self, status: RunStatus) -> list[Committed]:  # noqa: ARG002 - its process knows it
        """Drop what is unfinished. What was committed waits for the run."""
        self.drop_drafts()
        self.release()
        return []


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """An artifact that a worker has stored and nobody has named yet.

    Args:
        new: It, without its payload.
        payload: Where that stands.
        depends_on: What it depends on: earlier entries, or what its pipeline held before.
    """

    new: NewArtifact
    payload: TreeEntry
    depends_on: tuple[str, ...]


class WorkerJournal:
    """What a worker registers of a pipeline that another process is training.

    As a context manager it commits when the block ends, held for the run, and leaves nothing
    when it raises.

    Args:
        ticket: From :func:`worker_ticket`, in the process of the run.
        store: The store of the ticket's dataset, open in this process.
    """

    def __init__(self, ticket: WorkerTicket, store: Store) -> None:
        self.entries: list[JournalEntry] = []
        self.branches: list[tuple[str, tuple[int, ...], str]] = []
        self._threshold = store.settings.out_of_band_threshold
        self._txn = store.transaction(f"worker of run {ticket.run_id}", hold_for=ticket.lock)

    def __enter__(self) -> WorkerJournal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._txn.__exit__(kind, error, trace)

    def register(
        self,
        obj: Any,
        artifact_id: str,
        artifact_type: ArtifactType | str,
        depends_on: Iterable[str] | None = None,
        params: Mapping[str, Any] | None = None,
        meta_config: MetaModelConfig | Mapping[str, Any] | None = None,
    ) -> None:
        """As :meth:`ArtifactRegistry.register`; names are given when the journal is adopted.

        Raises:
            InvalidInputError: As there.
            SerializationError: The object cannot be serialised; names the attribute.
        """
        deps = artifact_ids(depends_on, "depends_on")
        new = prepare(
            obj,
            artifact_id,
            artifact_type,
            params=params,
            meta_config=meta_config,
            format_hint=None,
            table=default_table(),
            threshold=self._threshold,
        )
        deps = with_sources(deps, new.sources)
        payload = put_payload(self._txn, new.payload)
        bare = replace(new, payload=Payload(b"", (), new.payload.pickler))
        self.entries.append(JournalEntry(bare, payload, tuple(deps)))

    def name_branch(self, pipeline_id: str, branch_path: Iterable[int], name: str) -> None:
        """As :meth:`ArtifactRegistry.name_branch`."""
        self.branches.append((pipeline_id, tuple(branch_path), name))


def adopt_journal(
    registry: ArtifactRegistry,
    entries: Iterable[JournalEntry],
    branches: Iterable[tuple[str, tuple[int, ...], str]],
) -> None:
    """Name what workers have stored for an unfinished pipeline of the open run.

    Raises:
        InvalidInputError: No run is open.
        DependencyNotFoundError: An entry depends on what the pipeline does not hold.
        ObjectNotFoundError: A payload was not stored by a worker of this run.
    """
    run = registry._need_run("adopt_journal")
    lock = _lock(run)
    adopted: set[str] = set()
    with run.store.session():
        for entry in entries:
            path = entry.new.path
            draft = run.draft(path.pipeline_id)
            if path.pipeline_id not in adopted:
                draft.txn.adopt_held(lock)
                adopted.add(path.pipeline_id)
            skeleton, buffers = payload_parts(draft.txn, entry.payload)
            views = tuple(BufferView(memoryview(buffer)) for buffer in buffers)
            payload = Payload(bytes(skeleton), views, entry.new.payload.pickler)
            found = [registry._dependency(path.artifact_id, dep) for dep in entry.depends_on]
            draft.add(
                replace(entry.new, payload=payload),
                [registry._adopted(draft, dep) for dep in found],
            )
    for pipeline_id, branch_path, name in branches:
        registry.name_branch(pipeline_id, branch_path, name)

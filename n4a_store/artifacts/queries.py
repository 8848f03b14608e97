"""Looking artifacts up: in the open run first, then among what is completed.

A :class:`View` is the one place that knows this order. It reads manifests, remembers them by
object id, and never creates anything.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from n4a_store.artifacts.draft import PipelineDraft
from n4a_store.artifacts.execution_path import ExecutionPath, check_pipeline_id, parse_artifact_id
from n4a_store.artifacts.graph import ArtifactNode, closure
from n4a_store.artifacts.links import KeyLinks
from n4a_store.artifacts.manifest_tree import (
    PIPELINES,
    RUNS,
    PipelineManifest,
    StoredArtifact,
    make_record,
)
from n4a_store.artifacts.payload import ObjectReader
from n4a_store.artifacts.run_handle import RunName, run_id_of
from n4a_store.artifacts.runs import OpenRun
from n4a_store.artifacts.subject import all_manifests
from n4a_store.artifacts.types import HASH_PREFIX, ArtifactRecord
from n4a_store.errors import (
    ArtifactNotFoundError,
    CorruptionError,
    ObjectNotFoundError,
    RefNotFoundError,
)
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.packs.id_table import IdTable
from n4a_store.repo.store import Store

__all__ = ["Found", "StoredPipeline", "View", "unknown_artifact"]

log = logging.getLogger(__name__)

_MOST_KEYS = 65_536  # of manifests that are remembered: a key takes some 700 bytes
_PER_MANIFEST = 4  # what a manifest takes beside its keys, in keys


@dataclass(frozen=True, slots=True)
class StoredPipeline:
    """A pipeline as its manifest in the store says."""

    manifest: PipelineManifest
    reader: ObjectReader

    @property
    def pipeline_id(self) -> str:
        """Its id."""
        return self.manifest.pipeline_id

    def deps(self, key: str) -> tuple[str, ...]:
        """The ids that the artifact under ``key`` depends on."""
        return self.manifest.links.keys[key].deps

    @property
    def run_id(self) -> str:
        """The run that made it."""
        return self.manifest.run_id

    @property
    def created_at(self) -> str:
        """When it began in its run."""
        return self.manifest.created_at

    @property
    def oid(self) -> ObjectId:
        """The id of its manifest."""
        return self.manifest.oid

    @property
    def branches(self) -> Mapping[str, str]:
        """The names of its branches."""
        return self.manifest.links.branches

    def __contains__(self, key: str) -> bool:
        return key in self.manifest.artifacts

    def paths(self) -> list[ExecutionPath]:
        """Where its artifacts were made, in order of execution."""
        return self.manifest.paths()

    def record(self, key: str) -> ArtifactRecord:
        """The record under a key that it has."""
        return self.manifest.record(self.reader, key)

    def tree(self, key: str) -> ObjectId:
        """The id of the tree under a key that it has."""
        return self.manifest.artifacts[key].oid

    def node(self, key: str) -> ArtifactNode:
        """The artifact under a key that it has, with what it depends on."""
        return self.manifest.node(self.reader, key)

    def origin(self, key: str) -> str:
        """Where an artifact came from; empty when it was made here."""
        return self.manifest.links.origin(key)

    def foreign(self, key: str) -> Mapping[str, str]:
        """Where dependencies of an artifact came from, by tree; those made here are left out."""
        return self.manifest.links.keys[key].foreign

    def notes(self, key: str) -> Mapping[str, str]:
        """What the runner calls an artifact."""
        return self.manifest.links.keys[key].notes


@dataclass(frozen=True, slots=True)
class Found:
    """An artifact that has been found: which pipeline, under which key."""

    pipeline: PipelineDraft | StoredPipeline
    path: ExecutionPath
    key: str

    @classmethod
    def at(cls, pipeline: PipelineDraft | StoredPipeline, path: ExecutionPath) -> Found:
        """The artifact of ``pipeline`` that was made at ``path``."""
        return cls(pipeline, path, path.key)

    @property
    def reader(self) -> ObjectReader:
        """Where its objects are."""
        return self.pipeline.reader

    @property
    def record(self) -> ArtifactRecord:
        """Its record."""
        return self.pipeline.record(self.key)

    @property
    def tree(self) -> ObjectId:
        """The id of its tree."""
        return self.pipeline.tree(self.key)

    @property
    def node(self) -> ArtifactNode:
        """It, with what it depends on."""
        return self.pipeline.node(self.key)

    @property
    def origin(self) -> str:
        """Where it came from; empty when it was made here."""
        return self.pipeline.origin(self.key)

    def origin_of(self, tree: ObjectId) -> str:
        """Where it or one of its dependencies, known by its tree, came from."""
        origin = self.origin
        if origin or tree == self.tree:
            return origin
        return self.pipeline.foreign(self.key).get(tree.hex, "")

    @property
    def notes(self) -> Mapping[str, str]:
        """What its runner calls it; empty when it never said."""
        return self.pipeline.notes(self.key)


class View:
    """What can be seen of a dataset.

    Args:
        store: Gives the store; raises :class:`StoreNotFoundError` where there is none.
        open_run: Gives the open run, or None.
    """

    def __init__(self, store: Callable[[], Store], open_run: Callable[[], OpenRun | None]) -> None:
        self._store = store
        self._open_run = open_run
        self._manifests: OrderedDict[bytes, StoredPipeline] = OrderedDict()
        self._keys = 0  # of all manifests that are remembered
        self._last: dict[str, tuple[Store, StoredPipeline]] = {}  # of those completed last

    # --- pipelines ----------------------------------------------------------------------------

    def pipeline(
        self, pipeline_id: str, run: RunName | None = None
    ) -> PipelineDraft | StoredPipeline | None:
        """A pipeline in the open run, else the last completed one; or the one of run ``run``.

        Raises:
            StoreNotFoundError: There is no such dataset.
            RefNotFoundError: There is no such run.
        """
        if run is not None:
            return self._of_run(run, pipeline_id)
        going_on = self._open_run()
        if going_on is not None:
            draft = going_on.open_draft(pipeline_id)
            if draft is not None:
                return draft
            if self._still_holds(going_on, pipeline_id):
                return self._read(pipeline_id, going_on.completed[pipeline_id])
        return self._completed(pipeline_id)

    def _still_holds(self, run: OpenRun, pipeline_id: str) -> bool:
        """Whether the open run has completed a pipeline that nobody has deleted since."""
        oid = run.completed.get(pipeline_id)
        if oid is None:
            return False
        ref = self._store().find_ref(PIPELINES + pipeline_id)
        if ref is not None and ref.oid == oid:
            return True
        # Completed again elsewhere, or deleted: then the run's own object no longer holds it.
        if self._store().find_ref(run.ref) is not None:
            held = self._store().get_entry(self._run_tree(run.id), pipeline_id)
            if held is not None and held.oid == oid:
                return True
        del run.completed[pipeline_id]
        return False

    def _of_run(self, run: RunName, pipeline_id: str) -> PipelineDraft | StoredPipeline | None:
        run = run_id_of(run)
        going_on = self._open_run()
        if going_on is not None and run == going_on.id:
            draft = going_on.open_draft(pipeline_id)
            if draft is not None:
                return draft
        store = self._store()
        with store.session():  # what the ref leads to must not go before it is read
            entry = store.get_entry(self._run_tree(run), pipeline_id)
            return None if entry is None else self._read(pipeline_id, entry.oid)

    def _run_tree(self, run: RunName) -> ObjectId:
        store = self._store()
        ref = store.find_ref(RUNS + run_id_of(run))
        if ref is None or ref.kind is not Kind.RUN:
            raise RefNotFoundError(f"there is no run {run!r}", hint="n4a-store artifacts log")
        return store.get_run(ref.oid).pipelines

    def _read(self, pipeline_id: str, oid: ObjectId) -> StoredPipeline:
        found = self._manifests.get(oid.raw)
        if found is None or found.pipeline_id != pipeline_id:
            found = self.remember(PipelineManifest.read(self._store(), pipeline_id, oid))
        return found

    def remember(self, manifest: PipelineManifest) -> StoredPipeline:
        """Keep a manifest that has just been read or committed for the next question."""
        found = StoredPipeline(manifest, self._store())
        self._forget_one(self._manifests.pop(manifest.oid.raw, None))
        size = _size(found)  # before it counts: a signal handler may remember one meanwhile
        self._manifests[manifest.oid.raw] = found
        self._keys += size
        while self._keys > _MOST_KEYS and len(self._manifests) > 1:
            self._forget_one(self._manifests.popitem(last=False)[1])
        return found

    def _forget_one(self, gone: StoredPipeline | None) -> None:
        """Let go of a manifest that is no longer among those that are remembered."""
        if gone is not None:
            size = _size(gone)
            self._keys -= size
            last = self._last.get(gone.pipeline_id)
            if last is not None and last[1] is gone:
                self._last.pop(gone.pipeline_id, None)

    def forget(self) -> None:
        """Forget every manifest: its reader is being closed."""
        self._manifests.clear()
        self._last.clear()
        self._keys = 0

    def pipelines(
        self, pipeline_id: str | None = None, run: RunName | None = None
    ) -> list[PipelineDraft | StoredPipeline]:
        """All pipelines that can be seen, or the one called ``pipeline_id``, sorted by id.

        Raises:
            ArtifactNotFoundError: There is no pipeline of that name.
        """
        if pipeline_id is not None:
            found = self.pipeline(check_pipeline_id(pipeline_id), run)
            if found is None:
                raise ArtifactNotFoundError(
                    f"there is no pipeline {pipeline_id!r}",
                    hint="'n4a-store artifacts log' lists runs and their pipelines",
                )
            return [found]
        if run is not None:
            run = run_id_of(run)
            names = set(self._store().get_tree(self._run_tree(run)))
        else:
            names = {ref.name.removeprefix(PIPELINES) for ref in self._store().refs(PIPELINES)}
        going_on = self._open_run()
        if going_on is not None and run in (None, going_on.id):
            names.update(going_on.drafts, going_on.waiting, going_on.completed)
        return [found for name in sorted(names) if (found := self.pipeline(name, run)) is not None]

    # --- artifacts ----------------------------------------------------------------------------

    def find(self, artifact_id: str, run: RunName | None = None) -> Found | None:
        """An artifact, or None when no artifact has this id.

        Raises:
            InvalidInputError: The id is malformed.
            StoreNotFoundError: There is no such dataset.
        """
        path = parse_artifact_id(artifact_id)
        key = path.key
        pipeline = self.pipeline(path.pipeline_id, run)
        if pipeline is None or key not in pipeline:
            # A draft of the open run shadows only what it has.
            ref = None if run or pipeline is None else self._completed(path.pipeline_id)
            pipeline = ref if ref is not None and key in ref else None
        return None if pipeline is None else Found(pipeline, path, key)

    def _completed(self, pipeline_id: str) -> StoredPipeline | None:
        store = self._store()
        with store.session():  # as above
            ref = store.known_ref(PIPELINES + pipeline_id)
            if ref is None:
                return None
            found = self._read(pipeline_id, ref.oid)
        self._last[pipeline_id] = store, found
        return found

    def known(self, artifact_id: str) -> tuple[StoredPipeline, str] | None:
        """The pipeline completed last that holds an artifact, and its key there.

        None when it takes a :meth:`get` to tell. For whoever has no open run and asks for one
        artifact after the other: as long as the pipeline is the one that was found last, an id
        that it holds needs no second look, and what cannot be one is no key of a manifest.
        """
        if type(artifact_id) is not str:
            return None
        pipeline_id, _, key = artifact_id.partition(":")
        last = self._last.get(pipeline_id)
        if last is None:
            return None
        store, pipeline = last
        if key not in pipeline.manifest.artifacts.entries:
            return None
        ref = store.known_ref(PIPELINES + pipeline_id)
        return (pipeline, key) if ref is not None and ref.oid == pipeline.manifest.oid else None

    def get(self, artifact_id: str, run: RunName | None = None) -> Found:
        """An artifact that has to be there.

        Raises:
            ArtifactNotFoundError: It is not.
        """
        found = self.find(artifact_id, run)
        if found is None:
            raise unknown_artifact(artifact_id)
        return found

    def records(
        self, pipeline_id: str | None = None, run: RunName | None = None
    ) -> list[ArtifactRecord]:
        """All records, by pipeline and in order of execution."""
        return [
            pipeline.record(path.key)
            for pipeline in self.pipelines(pipeline_id, run)
            for path in pipeline.paths()
        ]

    def records_of(self, content_hash: str) -> list[ArtifactRecord]:
        """The record of each id that has a content, or else of its newest version that had it."""
        payload = content_hash.removeprefix(HASH_PREFIX)
        found: dict[str, ArtifactRecord] = {}
        has_it = IdTable()  # by artifact tree: most runs hold what another holds
        for pipeline in self.pipelines():
            _add_with(payload, pipeline, has_it, found)
        try:
            for pipeline_id, oid, ref in all_manifests(self._store()):
                if ref.startswith(RUNS):
                    _add_with(payload, self._read(pipeline_id, oid), has_it, found)
        except (CorruptionError, ObjectNotFoundError) as error:
            if not found:
                raise
            log.warning("not every run could be asked for %s: %s", content_hash, error)
        return [found[name] for name in sorted(found, key=_order)]

    def dependencies(self, found: Found) -> list[ArtifactRecord]:
        """The records of all that an artifact depends on, dependencies first.

        What they say is what the artifact was built on, even where a dependency has been
        registered again since, or its pipeline deleted.
        """
        return [self.record_of(node, found) for node in closure(found.node)]

    def record_of(self, node: ArtifactNode, found: Found) -> ArtifactRecord:
        """The record of a dependency of ``found``."""
        path = parse_artifact_id(node.artifact_id)
        for pipeline in self._candidates(path, found):
            if path.key in pipeline and pipeline.tree(path.key) == node.tree:
                return pipeline.record(path.key)
        stored = StoredArtifact.read(found.reader, node.tree, node.artifact_id)
        sources = stored.blob.meta.indexes if stored.blob.meta is not None else ()
        deps = tuple(child.artifact_id for child in node.children)
        links = KeyLinks(since=1, deps=deps, sources=deps[: len(sources)])
        return make_record(
            path, stored.blob, stored.payload, links, version=1, created_at=found.record.created_at
        )

    def _candidates(
        self, path: ExecutionPath, found: Found
    ) -> list[PipelineDraft | StoredPipeline]:
        if path.pipeline_id == found.path.pipeline_id:
            return [found.pipeline]
        other = self.pipeline(path.pipeline_id)
        return [] if other is None else [other]


def _add_with(
    payload: str,
    pipeline: PipelineDraft | StoredPipeline,
    has_it: IdTable,
    found: dict[str, ArtifactRecord],
) -> None:
    """Add the artifacts of a pipeline that have this payload, unless their id is there already."""
    for path in pipeline.paths():
        name = path.artifact_id
        if name in found:
            continue
        tree = pipeline.tree(path.key)
        known = has_it.get(tree.raw)
        if known is None:
            stored = StoredArtifact.read(pipeline.reader, tree, name)
            known = has_it[tree.raw] = int(stored.payload.oid.hex == payload)
        if known:
            found[name] = pipeline.record(path.key)


def _size(pipeline: StoredPipeline) -> int:
    return _PER_MANIFEST + len(pipeline.manifest.artifacts.entries)


def _order(artifact_id: str) -> tuple[object, ...]:
    return parse_artifact_id(artifact_id).order


def unknown_artifact(artifact_id: str) -> ArtifactNotFoundError:
    """The error for an id that no artifact has."""
    return ArtifactNotFoundError(
        f"there is no artifact {artifact_id}",
        hint="'n4a-store artifacts log' lists runs, and show what is in one",
    )

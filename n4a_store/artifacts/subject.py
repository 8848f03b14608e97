"""What a name is about: a run, a pipeline's manifest, an artifact, or some other object.

A store knows blobs, trees and runs; this module recognises what they mean. Trees do not know
their own names, so a manifest or an artifact that was reached by a tag or an id is looked for in
the pipelines and runs that hold it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from n4a_store.artifacts.manifest_tree import (
    ARTIFACTS,
    LINKS,
    PAYLOAD,
    PIPELINES,
    RECORD,
    PipelineManifest,
    StoredArtifact,
)
from n4a_store.artifacts.types import ArtifactRecord
from n4a_store.errors import ArtifactNotFoundError
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.repo.history import RUN_REFS, RunEntry, list_runs
from n4a_store.repo.store import Store

__all__ = [
    "ArtifactSubject",
    "ObjectSubject",
    "PipelineSubject",
    "RunSubject",
    "Subject",
    "all_manifests",
    "identify",
    "in_run",
    "pipeline_named",
]


@dataclass(frozen=True, slots=True)
class RunSubject:
    """A run; `entry.run_id` is its object's short id when no ref names it."""

    entry: RunEntry


@dataclass(frozen=True, slots=True)
class PipelineSubject:
    """A pipeline's manifest."""

    manifest: PipelineManifest


@dataclass(frozen=True, slots=True)
class ArtifactSubject:
    """An artifact.

    Args:
        tree: The id of its tree.
        stored: What is true of it wherever it is.
        manifest, key: Where it was found; None when nothing names it any more.
    """

    tree: ObjectId
    stored: StoredArtifact
    manifest: PipelineManifest | None = None
    key: str | None = None

    def record(self, store: Store) -> ArtifactRecord | None:
        """Its record, when there is a place that names it."""
        if self.manifest is None or self.key is None:
            return None
        return self.manifest.record(store, self.key)

    @property
    def name(self) -> str:
        """Its id, or the short id of its tree."""
        if self.manifest is None or self.key is None:
            return self.tree.short()
        return f"{self.manifest.pipeline_id}:{self.key}"


@dataclass(frozen=True, slots=True)
class ObjectSubject:
    """Any other object."""

    entry: TreeEntry


Subject = RunSubject | PipelineSubject | ArtifactSubject | ObjectSubject


def identify(store: Store, entry: TreeEntry, name: str = "") -> Subject:
    """What the object `entry` is, and where it stands; `name` is what led to it.

    Raises:
        CorruptionError: It, or what it stands in, is damaged.
    """
    with store.session():
        if entry.kind is Kind.RUN:
            return RunSubject(_run_entry(store, entry.oid))
        if entry.kind is Kind.TREE:
            tree = store.get_tree(entry.oid)
            if set(tree) == {ARTIFACTS, LINKS} and "serial" in tree.attrs:
                pipeline = pipeline_named(store, entry.oid, name)
                return PipelineSubject(PipelineManifest.read(store, pipeline, entry.oid))
            if RECORD in tree and PAYLOAD in tree:
                return _artifact(store, entry.oid, name)
        return ObjectSubject(entry)


def in_run(store: Store, run: RunEntry, artifact_or_pipeline: str) -> Subject:
    """A pipeline or an artifact as it was in a run.

    Raises:
        ArtifactNotFoundError: The run does not hold it.
    """
    pipeline, _, key = artifact_or_pipeline.partition(":")
    with store.session():
        entry = store.get_entry(run.run.pipelines, pipeline)
        if entry is None:
            held = ", ".join(list(store.get_tree(run.run.pipelines))[:8])
            raise ArtifactNotFoundError(
                f"run {run.run_id} holds no pipeline {pipeline!r}", hint=f"it holds: {held}"
            )
        manifest = PipelineManifest.read(store, pipeline, entry.oid)
        if not key:
            return PipelineSubject(manifest)
        if key not in manifest.artifacts:
            held = ", ".join(path.key for path in manifest.paths()[:8])
            raise ArtifactNotFoundError(
                f"run {run.run_id} holds no artifact {artifact_or_pipeline!r}",
                hint=f"pipeline {pipeline} holds: {held}",
            )
        return _found(store, manifest, key)


def all_manifests(store: Store) -> Iterator[tuple[str, ObjectId, str]]:
    """Every manifest that a ref leads to: pipeline id, manifest, and the ref.

    Current pipelines come first, then those of the runs, newest run first; a manifest that
    several refs lead to comes once for each.
    """
    for ref in store.refs(PIPELINES):
        yield ref.name.removeprefix(PIPELINES), ref.oid, ref.name
    for entry in list_runs(store):
        for name, child in store.get_tree(entry.run.pipelines).entries.items():
            yield name, child.oid, entry.ref


def _run_entry(store: Store, oid: ObjectId) -> RunEntry:
    for entry in list_runs(store):
        if entry.oid == oid:
            return entry
    run = store.get_run(oid)
    gone = tuple(parent for parent in run.parents if not store.has(parent))
    return RunEntry(oid.short(), "", oid, run, gone)


def pipeline_named(store: Store, oid: ObjectId, name: str = "") -> str:
    """The pipeline whose manifest this is: by the name used, then wherever it stands or stood.

    When even the reflog has forgotten it, and only a tag or an id leads to it, it is called after
    its object.
    """
    for candidate in (name.removeprefix(PIPELINES), name.rpartition(":")[2]):
        if not candidate or "/" in candidate or ":" in candidate or "@" in candidate:
            continue
        if any(pipeline == candidate and at == oid for pipeline, at, _ in all_manifests(store)):
            return candidate
    for pipeline, at, _ in all_manifests(store):
        if at == oid:
            return pipeline
    for change in store.reflog():
        sides = (change.new, change.old)
        if change.name.startswith(PIPELINES) and any(side and side.oid == oid for side in sides):
            return change.name.removeprefix(PIPELINES)
    return f"unnamed-{oid.short()}"


def _artifact(store: Store, tree: ObjectId, name: str) -> ArtifactSubject:
    base, colon, key = name.partition(":")
    if colon and base and not base.startswith(RUN_REFS):
        try:
            manifest = identify(store, store.resolve_entry(base), base)
        except KeyError:  # every NotFoundError: the name was of another form
            manifest = None
        if isinstance(manifest, PipelineSubject):
            found = manifest.manifest.artifacts.entries.get(key)
            if found is not None and found.oid == tree:
                return _found(store, manifest.manifest, key)
    for pipeline, oid, _ in all_manifests(store):
        artifacts = store.get_entry(oid, ARTIFACTS)
        if artifacts is None:
            continue
        for place, child in store.get_tree(artifacts.oid).entries.items():
            if child.oid == tree:
                return _found(store, PipelineManifest.read(store, pipeline, oid), place)
    return ArtifactSubject(tree, StoredArtifact.read(store, tree, tree.short()))


def _found(store: Store, manifest: PipelineManifest, key: str) -> ArtifactSubject:
    tree = manifest.artifacts[key].oid
    name = f"{manifest.pipeline_id}:{key}"
    return ArtifactSubject(tree, StoredArtifact.read(store, tree, name), manifest, key)

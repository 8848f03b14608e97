"""Which manifests a name means: a ref, a run, a pipeline, an artifact, what a training gave back.

Only what a name leads to is read, never a payload.
"""

from __future__ import annotations

from n4a_store.artifacts.manifest_tree import (
    ARTIFACTS,
    PAYLOAD,
    PIPELINES,
    RECORD,
    PipelineManifest,
)
from n4a_store.artifacts.subject import ArtifactSubject, identify, pipeline_named
from n4a_store.errors import InvalidInputError, NotFoundError
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.pipeline.results import ModelScore
from n4a_store.pipeline.run_result import RunResult
from n4a_store.repo.history import RUN_REFS, RunEntry, list_runs
from n4a_store.repo.revision import expand_ref, split_name
from n4a_store.repo.store import Store

__all__ = ["artifact_named", "manifest_of_score", "manifests_of", "spelled"]

_ARTIFACT = {RECORD, PAYLOAD}


def spelled(ref: str | RunResult | None) -> str | None:
    """What a training gave back, as the name that means the same."""
    if isinstance(ref, RunResult):
        return RUN_REFS + ref.run_id
    if ref is None or isinstance(ref, str):
        return ref
    raise InvalidInputError(
        f"a model is named by text, not {type(ref).__name__}",
        hint="a tag, a run, a pipeline, an artifact id, or what PipelineRunner.run gave back",
    )


def manifest_of_score(store: Store, score: ModelScore) -> PipelineManifest:
    """The manifest of the pipeline that was scored, never another training of it.

    Raises:
        NotFoundError: It is not in this store, or gone.
    """
    run = store.find_ref(RUN_REFS + score.run_id)
    if run is not None and run.kind is Kind.RUN:
        held = store.get_entry(store.get_run(run.oid).pipelines, score.pipeline_id)
        if held is not None:
            return PipelineManifest.read(store, score.pipeline_id, held.oid)
    last = store.find_ref(PIPELINES + score.pipeline_id)
    if last is not None:
        manifest = PipelineManifest.read(store, score.pipeline_id, last.oid)
        if manifest.run_id == score.run_id:
            return manifest
    raise NotFoundError(
        f"{store.path.name} has no pipeline {score.pipeline_id} of run {score.run_id}",
        hint="a score names the model that got it: was it deleted, or trained in another dataset?",
    )


def artifact_named(store: Store, ref: str) -> tuple[PipelineManifest, str, str] | None:
    """The artifact that a name means: its manifest, its key, and the name of the manifest.

    Returns:
        None where it means something else.

    Raises:
        NotFoundError: It means nothing; or a tag keeps the artifact, and no pipeline holds it.
    """
    base, path = split_name(ref)
    if path:
        if _names_a_pipeline(store, base, path) or path.startswith(f"{ARTIFACTS}/"):
            return None
        return _manifest(store, base, store.resolve_entry(base)), path, base
    entry = store.resolve_entry(ref)
    if entry.kind is not Kind.TREE or not set(store.get_tree(entry.oid)) >= _ARTIFACT:
        return None
    subject = identify(store, entry, ref)
    assert isinstance(subject, ArtifactSubject), subject
    if subject.manifest is None or subject.key is None:
        raise NotFoundError(
            f"{ref} is an artifact that no pipeline of this dataset holds any more",
            hint="a tag on a pipeline or a run keeps what predicts with it, by name",
        )
    return subject.manifest, subject.key, ref


def _names_a_pipeline(store: Store, base: str, path: str) -> bool:
    """Whether ``base:path`` leads from a run to one of its pipelines."""
    full = expand_ref(store, base)
    if full is None:
        return False
    entry = store.ref(full).entry
    if entry.kind is not Kind.RUN:
        return False
    return store.get_entry(store.get_run(entry.oid).pipelines, path) is not None


def manifests_of(store: Store, ref: str | None) -> list[PipelineManifest]:
    """The manifests of a run, sorted by id, or the one that a name means.

    No name means the newest run and never an older one: who predicts would not be told that it
    is not the training of last night. What was imported is meant where there is nothing else.

    Raises:
        NotFoundError: There is no run at all, no pipeline in the newest, or nothing of this name.
        InvalidInputError: The name means something else.
    """
    if ref is None:
        runs = list_runs(store)
        if not runs:
            raise NotFoundError(f"{store.path.name} has no run", hint="train one first")
        newest = next((at for at in runs if not _is_imported(store, at)), runs[0])
        held = _of_run(store, newest.run.pipelines)
        if not held:
            raise NotFoundError(
                f"{newest.run_id}, the newest run of {store.path.name}, has no complete pipeline",
                hint=f"'n4a-store artifacts show {newest.run_id}' says why; to predict with "
                "another run, name it",
            )
        return held
    entry_of_ref = store.resolve_entry(ref)
    if entry_of_ref.kind is Kind.RUN:
        return _of_run(store, store.get_run(entry_of_ref.oid).pipelines)
    return [_manifest(store, ref, entry_of_ref)]


def _is_imported(store: Store, at: RunEntry) -> bool:
    held = _of_run(store, at.run.pipelines)
    return bool(held) and all(
        manifest.links.origin(key) for manifest in held for key in manifest.artifacts
    )


def _of_run(store: Store, pipelines: ObjectId) -> list[PipelineManifest]:
    tree = store.get_tree(pipelines)
    return [PipelineManifest.read(store, name, tree[name].oid) for name in tree]


def _manifest(store: Store, ref: str, entry: TreeEntry) -> PipelineManifest:
    if entry.kind is not Kind.TREE or "run" not in store.get_tree(entry.oid).attrs:
        raise InvalidInputError(
            f"{ref} is a {entry.kind.label} that cannot predict",
            hint="name a run, a pipeline, an artifact, or a tag on one of them",
        )
    return PipelineManifest.read(store, pipeline_named(store, entry.oid, ref), entry.oid)

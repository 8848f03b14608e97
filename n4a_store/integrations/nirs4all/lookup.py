"""From nirs4all's ids to ours and back, by what the manifests note."""

from __future__ import annotations

from collections.abc import Iterator

from n4a_store.artifacts.execution_path import parse_key
from n4a_store.artifacts.manifest_tree import PIPELINES, PipelineManifest
from n4a_store.errors import ArtifactNotFoundError
from n4a_store.integrations.nirs4all.chains import (
    CHAIN,
    ID,
    chain_id,
    component,
    parse_foreign_id,
)
from n4a_store.repo.store import Store

__all__ = ["find_foreign", "foreign_id"]


def find_foreign(store: Store, artifact_id: str) -> list[str]:
    """The ids here of what nirs4all calls ``artifact_id``.

    An imported artifact that several pipelines share has one id in each of them.

    Raises:
        ArtifactNotFoundError: There is none.
        InvalidInputError: It is no id of nirs4all's.
    """
    own = ""
    if "$" in artifact_id:
        own = PIPELINES + component(parse_foreign_id(artifact_id).pipeline, "pipeline")
    with store.session():
        found = [name for name, called in _named(store, own) if called == artifact_id]
        if not found:
            found = [name for name, called in _named(store, PIPELINES) if called == artifact_id]
    if not found:
        raise ArtifactNotFoundError(
            f"nothing here is called {artifact_id} by nirs4all",
            hint="was it trained with the integration installed, or imported?",
        )
    return found


def foreign_id(pipeline_id: str, key: str, notes: dict[str, str]) -> str | None:
    """What nirs4all calls the artifact under a key with these notes; None for what it never saw."""
    if ID in notes:
        return notes[ID]
    if CHAIN not in notes:
        return None
    return chain_id(pipeline_id, notes[CHAIN], parse_key(pipeline_id, key).fold_id)


def _named(store: Store, prefix: str) -> Iterator[tuple[str, str]]:
    """Our id and nirs4all's, of every artifact of the pipelines whose ref begins so."""
    for ref in store.refs(prefix) if prefix else ():
        pipeline_id = ref.name.removeprefix(PIPELINES)
        manifest = PipelineManifest.read(store, pipeline_id, ref.oid)
        for key, links in manifest.links.keys.items():
            called = foreign_id(pipeline_id, key, dict(links.notes))
            if called is not None:
                yield f"{pipeline_id}:{key}", called

"""Taking a model with its whole chain from one dataset's store into another's.

What predicts goes over: the models of one step, the transformers and the y-processing that they
depend on, and for a meta-model all that feeds it. Scores and stored predictions stay behind,
since they speak of the other data. The objects are loaded and stored again, so the source must
be trusted.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing

from n4a_store.artifacts.execution_path import parse_artifact_id
from n4a_store.artifacts.graph import ArtifactNode, closure
from n4a_store.artifacts.loading import load_payload
from n4a_store.artifacts.manifest_tree import StoredArtifact
from n4a_store.artifacts.registry import ArtifactRegistry
from n4a_store.artifacts.serializers.table import default_table
from n4a_store.artifacts.types import MetaModelConfig, SourceModelRef
from n4a_store.artifacts.workspace import Workspace
from n4a_store.errors import InvalidInputError
from n4a_store.objects.oid import ObjectId
from n4a_store.pipeline.selection import Choice, Wish, choose
from n4a_store.repo.store import Store

__all__ = ["transfer_model"]


def transfer_model(
    workspace: str | os.PathLike[str] | Workspace,
    source: str,
    ref: str | None,
    target: str,
    *,
    pipeline_id: str | None = None,
    branch: Sequence[int | str] | None = None,
    model: str | None = None,
    trust: bool = False,
) -> str:
    """Take a model of dataset ``source`` into the store of dataset ``target``.

    Args:
        ref, branch, model: Which model, as for :meth:`Predictor.predict`.
        target: Created when there is no such dataset.
        pipeline_id: Its name there; None keeps the one that it has.
        trust: Take what was imported from elsewhere, although loading it may do harm.

    Returns:
        The pipeline's id in the target.

    Raises:
        NotFoundError: There is no such model.
        UntrustedError: It was imported from elsewhere, and ``trust`` was not given.
    """
    place = Workspace(workspace)
    with place.store(source) as store, store.session():
        choice = choose(store, ref, Wish(branch=branch, model=model))
        name = choice.manifest.pipeline_id if pipeline_id is None else pipeline_id
        nodes = _in_order(choice, store)
        new_ids = _new_ids(nodes, name)
        with (
            closing(ArtifactRegistry(place, target)) as registry,
            registry.run(message=f"taken from {source}") as run,
        ):
            for node in nodes:
                _take(store, choice, node, new_ids, registry, trust=trust)
            run.complete_pipeline(name)
    return name


def _in_order(choice: Choice, store: Store) -> list[ArtifactNode]:
    """What predicts and all that it needs, dependencies first, each once."""
    found: dict[ObjectId | str, ArtifactNode] = {}
    for key in choice.keys:
        root = choice.manifest.node(store, key)
        for node in (*closure(root), root):
            found.setdefault(node.artifact_id, node)
    return list(found.values())


def _new_ids(nodes: list[ArtifactNode], pipeline_id: str) -> dict[str, str]:
    """The id of each artifact in the target: the same place, in one pipeline."""
    new: dict[str, str] = {}
    for node in nodes:
        taken = parse_artifact_id(node.artifact_id)._replace(pipeline_id=pipeline_id)
        if taken.artifact_id in new.values():
            raise InvalidInputError(
                f"{node.artifact_id} and another pipeline's artifact would have one id",
                hint="the model depends on several pipelines; take them one by one",
            )
        new[node.artifact_id] = taken.artifact_id
    return new


def _take(
    store: Store,
    choice: Choice,
    node: ArtifactNode,
    new_ids: dict[str, str],
    registry: ArtifactRegistry,
    *,
    trust: bool,
) -> None:
    stored = StoredArtifact.read(store, node.tree, node.artifact_id)
    obj = load_payload(
        store,
        stored.payload,
        node.artifact_id,
        stored.blob.format,
        default_table(),
        library=stored.blob.library,
        origin=choice.origin_of(node.artifact_id, node.tree),
        trust=trust,
    )
    needed = [new_ids[child.artifact_id] for child in node.children]
    registry.register(
        obj,
        new_ids[node.artifact_id],
        stored.blob.type,
        depends_on=needed,
        params=stored.blob.params,
        meta_config=_meta_config(stored, needed),
    )


def _meta_config(stored: StoredArtifact, sources: list[str]) -> MetaModelConfig | None:
    meta = stored.blob.meta
    if meta is None:
        return None
    refs = tuple(
        SourceModelRef(name, index)
        # A meta-model depends on its sources first, in their order.
        for name, index in zip(sources, meta.indexes, strict=False)
    )
    return MetaModelConfig(refs, meta.columns, meta.extra)

"""Pipeline manifests in a store: what they hold, and the records they add up to.

A manifest is a tree ``{"artifacts": key -> artifact tree, "links": blob}`` with the attributes
``serial``, ``created_at``, ``run`` and ``measures``. Opening one reads that tree and the links; the
artifacts' own trees and records are read when asked for, their payloads never.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from n4a_store.artifacts.execution_path import ExecutionPath, parse_key
from n4a_store.artifacts.graph import ArtifactNode, build_node
from n4a_store.artifacts.links import KeyLinks, Links, decode_links
from n4a_store.artifacts.measures import Measures, decode_measures
from n4a_store.artifacts.payload import ObjectReader
from n4a_store.artifacts.record_blob import RecordBlob, decode_record
from n4a_store.artifacts.serializers.extensions import extension_of
from n4a_store.artifacts.types import (
    HASH_PREFIX,
    ArtifactRecord,
    Ids,
    MetaModelConfig,
    SourceModelRef,
    export_name,
    register_artifact_type,
)
from n4a_store.errors import (
    CorruptionError,
    InvalidInputError,
    ObjectNotFoundError,
    UnsupportedFormatError,
)
from n4a_store.objects.frozen import FrozenMap
from n4a_store.objects.model import Tree, TreeEntry, Value
from n4a_store.objects.oid import ObjectId

__all__ = ["PIPELINES", "RUNS", "PipelineManifest", "StoredArtifact", "make_record"]

PIPELINES = "refs/pipelines/"
RUNS = "refs/runs/"
ARTIFACTS, LINKS = "artifacts", "links"
RECORD, PAYLOAD, DEPS = "record", "payload", "deps"
MEASURES = "measures"
_CONTAINERS = frozenset((list, dict))


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """An artifact's own tree, read: what is true of it wherever it is."""

    tree: ObjectId
    blob: RecordBlob
    payload: TreeEntry
    deps: tuple[ObjectId, ...]

    @classmethod
    def read(cls, reader: ObjectReader, tree: ObjectId, name: str) -> StoredArtifact:
        """Read it; ``name`` is what errors call it.

        Raises:
            CorruptionError: Something of it is missing or damaged.
        """
        try:
            return reader.recall(_read_artifact, tree)
        except KeyError as error:  # NotFoundError is one as well
            raise CorruptionError(f"artifact {name}: part of it is missing: {error}") from error
        except CorruptionError as error:
            raise CorruptionError(f"artifact {name}: {error}", hint=error.hint) from error


def _read_artifact(reader: ObjectReader, tree: ObjectId) -> StoredArtifact:
    node = reader.node(tree)
    entries = node.entries if node.depth is None else reader.entries(tree)
    deps = reader.entries(entries[DEPS].oid).values() if DEPS in entries else ()
    # Folds that were fitted alike have one record.
    blob = reader.recall(_read_record, entries[RECORD].oid)
    return StoredArtifact(tree, blob, entries[PAYLOAD], tuple(child.oid for child in deps))


def _read_record(reader: ObjectReader, oid: ObjectId) -> RecordBlob:
    return decode_record(reader.view(oid))


@dataclass(frozen=True, slots=True)
class PipelineManifest:
    """One manifest.

    Args:
        pipeline_id: The pipeline.
        oid: The id of its tree.
        serial: How many manifests of this pipeline there have been, this one included.
        created_at: When the pipeline began in its run.
        run_id: The run that made it.
        artifacts: From keys to artifact trees.
        links: What is true of them only here.
        measured: Of what type and how large each is, as it is stored; see `measures`.
    """

    pipeline_id: str
    oid: ObjectId
    serial: int
    created_at: str
    run_id: str
    artifacts: Tree
    links: Links
    measured: Value

    @classmethod
    def read(cls, reader: ObjectReader, pipeline_id: str, oid: ObjectId) -> PipelineManifest:
        """Read the manifest of a pipeline.

        Raises:
            CorruptionError: It is missing, damaged, or no manifest.
            UnsupportedFormatError: It is of a later version.
        """
        try:
            tree = reader.get_tree(oid)
            serial, created_at, run_id = (
                tree.attrs.get(name) for name in ("serial", "created_at", "run")
            )
            if not (
                set(tree) == {ARTIFACTS, LINKS}
                and isinstance(serial, int)
                and isinstance(created_at, str)
                and isinstance(run_id, str)
            ):
                raise CorruptionError("it is not a pipeline's manifest")
            links = decode_links(reader.view(tree[LINKS].oid))
            artifacts = reader.get_tree(tree[ARTIFACTS].oid)
            if set(artifacts) != set(links.keys):
                raise CorruptionError("its links are not those of its artifacts")
        except ObjectNotFoundError as error:
            raise CorruptionError(f"manifest of pipeline {pipeline_id}: {error}") from error
        except (CorruptionError, InvalidInputError) as error:  # the latter: of another kind
            raise CorruptionError(
                f"manifest of pipeline {pipeline_id}: {error}", hint=error.hint
            ) from error
        except UnsupportedFormatError as error:
            raise UnsupportedFormatError(
                f"pipeline {pipeline_id}: {error}", hint=error.hint
            ) from error
        return cls(
            pipeline_id, oid, serial, created_at, run_id, artifacts, links, tree.attrs.get(MEASURES)
        )

    def measures(self) -> Measures:
        """Of what type and how large each artifact is.

        Raises:
            CorruptionError: It does not say.
        """
        return measures_of(self.pipeline_id, self.measured, self.artifacts)

    def path(self, key: str) -> ExecutionPath:
        """The execution path of a key."""
        return parse_key(self.pipeline_id, key)

    def paths(self) -> list[ExecutionPath]:
        """The execution paths of all artifacts, in order of execution."""
        return sorted((self.path(key) for key in self.artifacts), key=lambda path: path.order)

    def version(self, key: str) -> int:
        """The version of a key."""
        return self.links.version(key, self.serial)

    def last_version(self, key: str) -> int:
        """The last version of a key in this manifest or an earlier one; 0 if it never existed."""
        return self.links.last_version(key, self.serial)

    def record(self, reader: ObjectReader, key: str) -> ArtifactRecord:
        """The record of the artifact under ``key``.

        Raises:
            CorruptionError: It is missing or damaged.
        """
        path = self.path(key)
        stored = StoredArtifact.read(reader, self.artifacts[key].oid, path.artifact_id)
        return make_record(
            path,
            stored.blob,
            stored.payload,
            self.links.keys[key],
            version=self.version(key),
            created_at=self.created_at,
        )

    def node(self, reader: ObjectReader, key: str) -> ArtifactNode:
        """The artifact under ``key`` with all that it depends on.

        Raises:
            CorruptionError: Something of it is missing or damaged, or has lost its name.
        """
        links = self.links.keys[key]
        inner = links.inner

        def children_of(artifact_id: str, tree: ObjectId) -> list[tuple[str, ObjectId]]:
            deps = StoredArtifact.read(reader, tree, artifact_id).deps
            if not deps:
                return []
            names = inner.get(tree.hex)
            if names is None:
                names = self._own_names(artifact_id, tree)
            if len(names) != len(deps):
                raise CorruptionError(
                    f"artifact {artifact_id}: {len(deps)} dependencies with {len(names)} names"
                )
            return list(zip(names, deps, strict=True))

        node = build_node(self.path(key).artifact_id, self.artifacts[key].oid, children_of)
        return node.came_from(links.origin, links.foreign)

    def _own_names(self, artifact_id: str, tree: ObjectId) -> tuple[str, ...]:
        pipeline_id, _, key = artifact_id.partition(":")
        entry = self.artifacts.entries.get(key) if pipeline_id == self.pipeline_id else None
        return self.links.keys[key].deps if entry is not None and entry.oid == tree else ()


def measures_of(pipeline_id: str, measured: object, keys: Collection[str]) -> Measures:
    """Of what type and how large each artifact of a manifest is.

    Raises:
        CorruptionError: The manifest does not say.
    """
    try:
        return decode_measures(measured, keys)
    except CorruptionError as error:
        raise CorruptionError(f"manifest of pipeline {pipeline_id}: {error}") from error


def make_record(
    path: ExecutionPath,
    blob: RecordBlob,
    payload: TreeEntry,
    links: KeyLinks,
    *,
    version: int,
    created_at: str,
) -> ArtifactRecord:
    """A record, put together from the three places that know its parts."""
    content_hash = HASH_PREFIX + payload.oid.hex
    artifact_type = register_artifact_type(blob.type)
    class_name, extension = blob.class_name, extension_of(blob.format)
    return ArtifactRecord(
        artifact_id=path.artifact_id,
        content_hash=content_hash,
        path=export_name(artifact_type, class_name, content_hash, extension),
        pipeline_id=path.pipeline_id,
        branch_path=path.branch_path,
        step_index=path.step_index,
        fold_id=path.fold_id,
        sub_index=path.sub_index,
        artifact_type=artifact_type,
        class_name=class_name,
        depends_on=Ids(links.deps),
        format=blob.format,
        format_version=blob.library,
        producer_version=links.producer,
        size_bytes=blob.size,
        created_at=created_at,
        params=_own(blob.params),
        meta_config=_meta_config(blob, links),
        version=version,
    )


def _meta_config(blob: RecordBlob, links: KeyLinks) -> MetaModelConfig | None:
    if blob.meta is None:
        return None
    indexes = blob.meta.indexes
    if len(indexes) != len(links.sources):
        raise CorruptionError(
            f"a meta-model with {len(indexes)} columns of sources and {len(links.sources)} names"
        )
    sources = (
        SourceModelRef(name, index) for name, index in zip(links.sources, indexes, strict=True)
    )
    try:
        return MetaModelConfig(tuple(sources), blob.meta.columns, _own(blob.meta.extra))
    except InvalidInputError as error:
        raise CorruptionError(f"not an artifact's record: {error}") from error


def _own(values: Mapping[str, Any]) -> FrozenMap[str, Any]:
    """A copy for the reader of one record: what it was made of is remembered for others."""
    return FrozenMap(_copied(values))


def _copied(value: Any) -> Any:
    """A canonical list or map that shares nothing that can be changed."""
    if isinstance(value, list):
        return [_copied(item) if type(item) in _CONTAINERS else item for item in value]
    return {k: _copied(item) if type(item) in _CONTAINERS else item for k, item in value.items()}

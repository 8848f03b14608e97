"""From what a caller passes to ``register`` to an artifact ready to be stored.

Pure but for the caller's own object: nothing is looked up and nothing written, so a bad call
fails before any file is touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from n4a_store.artifacts.drafted import NewArtifact
from n4a_store.artifacts.environment import PRODUCER
from n4a_store.artifacts.execution_path import parse_artifact_id
from n4a_store.artifacts.params import canonical_params
from n4a_store.artifacts.record_blob import MetaPart, RecordBlob
from n4a_store.artifacts.serializers.libraries import library_of, qualified_name
from n4a_store.artifacts.serializers.table import SerializerTable
from n4a_store.artifacts.types import (
    ArtifactRecord,
    ArtifactType,
    MetaModelConfig,
    SourceModelRef,
    as_artifact_type,
)
from n4a_store.errors import InvalidInputError

__all__ = ["artifact_ids", "meta_model_config", "meta_part", "prepare", "with_sources"]


def prepare(
    obj: Any,
    artifact_id: str,
    artifact_type: ArtifactType | str,
    *,
    params: Mapping[str, Any] | None,
    meta_config: MetaModelConfig | Mapping[str, Any] | None,
    format_hint: str | None,
    table: SerializerTable,
    threshold: int,
) -> NewArtifact:
    """Check everything, and serialise.

    Raises:
        InvalidInputError: The id, the type, the parameters, the meta_config or the hint is wrong.
        SerializationError: The object cannot be serialised; the message names the attribute.
    """
    path = parse_artifact_id(artifact_id)
    kind = as_artifact_type(artifact_type)
    config = _config(meta_config)
    serializer = table.for_object(obj, format_hint)
    cls = type(obj)
    kept = canonical_params(params, obj)
    payload = serializer.dumps(obj, threshold=threshold)
    blob = RecordBlob(
        class_path=qualified_name(cls),
        type=str(kind),
        format=serializer.format,
        library=library_of(cls),
        size=payload.size,
        params=kept,
        pickler=payload.pickler,
        meta=meta_part(config),
    )
    sources = () if config is None else tuple(config.source_ids)
    return NewArtifact(path, payload, blob, sources, PRODUCER)


def artifact_ids(value: object, what: str) -> list[str]:
    """Checked ids, each once, in the order given. Records stand for their ids.

    Raises:
        InvalidInputError: Not a list, or an id in it is malformed.
    """
    if value is None:
        return []
    if not isinstance(value, list | tuple) and (
        isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable)
    ):
        raise InvalidInputError(
            f"{what} is a list of artifact ids, not {value!r:.80}",
            hint="put a single id into a list",
        )
    ids: dict[str, None] = {}
    for item in value:
        name = item.artifact_id if isinstance(item, ArtifactRecord) else item
        path = parse_artifact_id(name)
        # Text that parses is what its parts give, except for its Unicode form.
        ids[name if type(name) is str and name.isascii() else path.artifact_id] = None
    return list(ids)


def with_sources(deps: Iterable[str], sources: Iterable[str]) -> list[str]:
    """What an artifact depends on: a meta-model's sources in order, then the rest.

    The artifact's tree keeps its dependencies without their names, and the order is all that
    tells the sources among them once the pipeline that named them is gone.
    """
    return list(dict.fromkeys((*sources, *deps)))


def meta_model_config(
    source_model_ids: object, feature_columns: Iterable[str] | None
) -> MetaModelConfig:
    """The configuration of a meta-model over ordered sources.

    Raises:
        InvalidInputError: No sources, one of them twice, or columns that are not names.
    """
    if isinstance(source_model_ids, Iterable) and not isinstance(source_model_ids, str | bytes):
        source_model_ids = list(source_model_ids)
    ids = artifact_ids(source_model_ids, "source_model_ids")
    if not ids:
        raise InvalidInputError("a meta-model without source models")
    if isinstance(source_model_ids, list) and len(ids) != len(source_model_ids):
        raise InvalidInputError(
            f"source_model_ids names a source twice: {source_model_ids!r:.200}",
            hint="every source is a model of its own, also when classes repeat",
        )
    sources = tuple(SourceModelRef(name, place) for place, name in enumerate(ids))
    return MetaModelConfig.from_dict(
        {"source_models": sources, "feature_columns": feature_columns or ()}
    )


def _config(value: MetaModelConfig | Mapping[str, Any] | None) -> MetaModelConfig | None:
    if value is None or isinstance(value, MetaModelConfig):
        return value
    return MetaModelConfig.from_dict(value)


def meta_part(config: MetaModelConfig | None) -> MetaPart | None:
    """The part of a configuration that is true in every run: without the sources' ids."""
    if config is None:
        return None
    return MetaPart(
        tuple(source.feature_index for source in config.source_models),
        tuple(config.feature_columns),
        canonical_params(config.extra, None),
    )

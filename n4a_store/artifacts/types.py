"""What an artifact is: its type, and the record that describes one.

An :class:`ArtifactRecord` is a frozen view put together from three places, and valid once
constructed: the artifact's own record blob (class, format, parameters: true in every run), its
name in the pipeline's manifest (the execution path), and the manifest's links (version, clock,
dependencies as ids: true only here).

``ArtifactType`` is open: :func:`register_artifact_type` adds a member, and a record of a type
that this process has never heard of still reads, as an artifact of that name.
"""

from __future__ import annotations

import functools
import os
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from operator import attrgetter
from typing import Any

from n4a_store.artifacts.execution_path import BranchPath, make_branch_path, parse_artifact_id
from n4a_store.artifacts.keyed import Keyed
from n4a_store.errors import InvalidInputError
from n4a_store.objects.frozen import FrozenMap

__all__ = [
    "ArtifactRecord",
    "ArtifactType",
    "Ids",
    "MetaModelConfig",
    "SourceModelRef",
    "artifact_types",
    "register_artifact_type",
]

HASH_PREFIX = "blake3:"
_UNSAFE = re.compile(r"[^\w.+-]|^\.")
_TYPE_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_SHORT_HASH = 8
_PARTS = frozenset({"source_models", "source_model_ids", "feature_columns"})
_added: dict[str, ArtifactType] = {}
_added_lock = threading.RLock()


def _forget_parents_threads() -> None:
    global _added_lock  # noqa: PLW0603 - one table, one lock
    _added_lock = threading.RLock()


os.register_at_fork(after_in_child=_forget_parents_threads)


class ArtifactType(StrEnum):
    """What an artifact is for. It never decides how the object is serialised."""

    MODEL = "model"
    TRANSFORMER = "transformer"
    SPLITTER = "splitter"
    ENCODER = "encoder"
    META_MODEL = "meta_model"

    @classmethod
    def _missing_(cls, value: object) -> ArtifactType | None:
        # The door that enum itself offers for values beyond its listing.
        return _added.get(value) if isinstance(value, str) else None


def register_artifact_type(name: str) -> ArtifactType:
    """Add an artifact type; adding one that exists returns it.

    ``ArtifactType(name)`` gives the same member from then on, in this process. Iterating over
    ``ArtifactType`` shows the built-in ones; :func:`artifact_types` shows all.

    Args:
        name: Lower-case ASCII letters, digits and "_", beginning with a letter, at most 40.

    Raises:
        InvalidInputError: The name breaks that rule.
    """
    if type(name) is str and name in ArtifactType._value2member_map_:
        return ArtifactType._value2member_map_[name]  # type: ignore[return-value]
    if not isinstance(name, str) or not _TYPE_NAME.fullmatch(name):
        raise InvalidInputError(
            f"{name!r:.80} cannot name an artifact type",
            hint="lower-case letters, digits and '_', beginning with a letter, at most 40",
        )
    with _added_lock:
        known = ArtifactType._value2member_map_.get(name) or _added.get(name)
        if known is None:
            known = str.__new__(ArtifactType, name)
            known._name_ = name.upper()
            known._value_ = name
            _added[name] = known
    return known  # type: ignore[return-value]


def artifact_types() -> tuple[ArtifactType, ...]:
    """Every type known to this process, the added ones after the built-in ones."""
    return (*ArtifactType, *_added.values())


def as_artifact_type(value: ArtifactType | str) -> ArtifactType:
    """The type that a caller means.

    Raises:
        InvalidInputError: No such type.
    """
    if type(value) is ArtifactType:
        return value
    if type(value) is str and value in ArtifactType._value2member_map_:
        return ArtifactType._value2member_map_[value]  # type: ignore[return-value]
    try:
        return ArtifactType(value)
    except ValueError:
        known = ", ".join(artifact_types())
        raise InvalidInputError(
            f"unknown artifact type {value!r:.80}",
            hint=f"one of {known}; register_artifact_type() adds another",
        ) from None


def as_artifact_types(values: Iterable[ArtifactType | str]) -> set[ArtifactType]:
    """The types that a caller means.

    Raises:
        InvalidInputError: Not a list, or one is no type.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise InvalidInputError(
            f"types is a list of artifact types, not {values!r:.80}",
            hint="put a single type into a list",
        )
    return {as_artifact_type(value) for value in values}


class Ids(tuple[str, ...]):
    """Artifact ids in an order that means something. Equal to a list with the same ids."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return tuple.__eq__(self, tuple(other) if isinstance(other, list) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__


@dataclass(frozen=True, slots=True)
class SourceModelRef(Keyed):
    """A source of a meta-model: which artifact, and which column of the features it fills."""

    artifact_id: str
    feature_index: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {"artifact_id": self.artifact_id, "feature_index": self.feature_index}


@dataclass(frozen=True, slots=True)
class MetaModelConfig(Keyed):
    """What a stacking meta-model was fitted on.

    Args:
        source_models: The sources, each as a :class:`SourceModelRef`, a map of its two fields or
            an id, whose place is its column then. Kept in the order of their columns.
        feature_columns: The names of the columns, in order; empty when nobody named them.
        extra: Whatever else the runner keeps with it, as canonical values.

    Raises:
        InvalidInputError: A part has the wrong type, a source id is malformed, or ``extra`` has
            the name of another part.
    """

    source_models: tuple[SourceModelRef, ...] = ()
    feature_columns: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = _listed(self.source_models, "meta_config.source_models")
        sources = sorted(map(_source, given, range(len(given))), key=attrgetter("feature_index"))
        columns = _listed(self.feature_columns, "meta_config.feature_columns")
        if not all(isinstance(column, str) for column in columns):
            raise InvalidInputError("meta_config.feature_columns: a column's name is text")
        if not isinstance(self.extra, Mapping):
            raise InvalidInputError(f"meta_config.extra is a map, not {self.extra!r:.80}")
        if taken := _PARTS & self.extra.keys():
            raise InvalidInputError(f"meta_config.extra: {min(taken)!r} is a part of its own")
        object.__setattr__(self, "source_models", tuple(sources))
        object.__setattr__(self, "feature_columns", Ids(columns))
        object.__setattr__(self, "extra", FrozenMap.of(self.extra))

    def __hash__(self) -> int:
        return hash((self.source_models, self.feature_columns))

    def __reduce__(self) -> tuple[Any, ...]:
        return (
            MetaModelConfig,
            (self.source_models, tuple(self.feature_columns), dict(self.extra)),
        )

    @property
    def source_ids(self) -> Ids:
        """The sources' artifact ids, in the order of their columns."""
        return Ids(source.artifact_id for source in self.source_models)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for manifests."""
        return {
            "source_models": [source.to_dict() for source in self.source_models],
            "feature_columns": list(self.feature_columns),
            **self.extra,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MetaModelConfig:
        """The inverse of :meth:`to_dict`.

        Raises:
            InvalidInputError: A part has the wrong type or a source id is malformed.
        """
        if not isinstance(data, Mapping):
            raise InvalidInputError(f"meta_config is a map, not {type(data).__name__}")
        if "source_model_ids" in data:  # as register_meta_model calls them
            if "source_models" in data:
                raise InvalidInputError("meta_config: source_models and source_model_ids are one")
            data = {("source_models" if k == "source_model_ids" else k): v for k, v in data.items()}
        extra = {name: value for name, value in data.items() if name not in _PARTS}
        return cls(data.get("source_models", ()), data.get("feature_columns", ()), extra)


def _listed(value: object, what: str) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise InvalidInputError(f"{what} is a list, not {type(value).__name__}")
    return list(value)


def _source(value: object, place: int) -> SourceModelRef:
    if isinstance(value, SourceModelRef):
        name, index = value.artifact_id, value.feature_index
    elif isinstance(value, str):
        name, index = value, place
    elif isinstance(value, Mapping):
        name, index = value.get("artifact_id", ""), value.get("feature_index", place)
    else:
        raise InvalidInputError(f"meta_config: a source model is an id, not {value!r:.80}")
    if isinstance(index, bool) or not isinstance(index, int) or index < 0:
        raise InvalidInputError(f"meta_config: feature_index {index!r:.80} is no column")
    parse_artifact_id(name)
    return value if isinstance(value, SourceModelRef) else SourceModelRef(name, index)


@dataclass(frozen=True, slots=True)
class ArtifactRecord:
    """Everything known about one artifact, without loading it.

    Args:
        artifact_id: Where it was made, see :mod:`n4a_store.artifacts.execution_path`.
        content_hash: ``blake3:`` and the payload's object id: equal for equal content. ``b3sum``
            gives another value, because ids are hashed in derive-key mode.
        path: The name under which it would be exported: ``<type>_<class>_<short hash>.<ext>``.
        pipeline_id, branch_path, step_index, fold_id, sub_index: The parts of the id.
        artifact_type: What it is for.
        class_name: The object's class, without its module.
        depends_on: The ids it depends on, in the order given.
        format: The serializer that wrote it and reads it.
        format_version: The library whose object it is, ``scikit-learn==1.9.1``.
        producer_version: What wrote the record, ``n4a_store==0.1.0``.
        size_bytes: Bytes of the payload before compression.
        created_at: When its pipeline began in that run, ISO 8601 in UTC.
        params: The parameters, as canonical values.
        meta_config: For a meta-model, its sources and columns.
        version: How often this id has been registered, from 1.
    """

    artifact_id: str
    content_hash: str
    path: str
    pipeline_id: str
    branch_path: BranchPath
    step_index: int
    fold_id: int | None
    artifact_type: ArtifactType
    class_name: str
    depends_on: Ids = field(default_factory=Ids)
    format: str = "pickle5"
    format_version: str = ""
    producer_version: str = ""
    size_bytes: int = 0
    created_at: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    meta_config: MetaModelConfig | None = None
    version: int = 1
    sub_index: int | None = None

    def __post_init__(self) -> None:
        path = parse_artifact_id(self.artifact_id)
        branch_path = self.branch_path
        if branch_path is not path.branch_path and branch_path != path.branch_path:
            branch_path = make_branch_path(branch_path)
        stated = (self.pipeline_id, branch_path, self.step_index, self.fold_id, self.sub_index)
        if tuple(path) != stated:
            raise InvalidInputError(
                f"record of {self.artifact_id}: its parts {stated} are those of another id"
            )
        set_field = object.__setattr__
        if branch_path is not path.branch_path:
            set_field(self, "branch_path", path.branch_path)
        if type(self.artifact_type) is not ArtifactType:
            set_field(self, "artifact_type", as_artifact_type(self.artifact_type))
        if type(self.depends_on) is not Ids:
            set_field(self, "depends_on", Ids(self.depends_on))
        if type(self.params) is not FrozenMap:
            set_field(self, "params", FrozenMap.of(self.params))

    def __hash__(self) -> int:
        return hash((self.artifact_id, self.content_hash, self.version))

    def __reduce__(self) -> tuple[Any, ...]:
        # Workers send records to their parent: as plain values, checked on arrival.
        return (ArtifactRecord.from_dict, (self.to_dict(),))

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from n4a_store.objects.html import facts_html, size_text

        facts: list[tuple[str, object]] = [
            ("type", self.artifact_type),
            ("class", self.class_name),
            ("library", self.format_version),
            ("size", size_text(self.size_bytes)),
            ("version", self.version),
            ("created", self.created_at),
            ("content", self.content_hash),
            *(("needs", dependency) for dependency in self.depends_on),
            *((f"param {name}", value) for name, value in self.params.items()),
        ]
        return facts_html(f"Artifact {self.artifact_id}", facts)

    @property
    def is_branch_specific(self) -> bool:
        """Whether it was made inside a branch."""
        return bool(self.branch_path)

    @property
    def is_fold_specific(self) -> bool:
        """Whether it was fitted on one fold."""
        return self.fold_id is not None

    @property
    def is_meta_model(self) -> bool:
        """Whether it is a stacking meta-model."""
        return self.artifact_type is ArtifactType.META_MODEL

    @property
    def short_hash(self) -> str:
        """The first 8 hex digits of the content hash. Never an identity: for people's eyes."""
        return short_hash(self.content_hash)

    def to_dict(self) -> dict[str, Any]:
        """As plain values: what a manifest's item holds."""
        data = dict(zip(self.__slots__, _fields_of(self), strict=True))
        data["branch_path"] = list(self.branch_path)
        data["artifact_type"] = str(self.artifact_type)
        data["depends_on"] = list(self.depends_on)
        data["params"] = dict(self.params)
        data["meta_config"] = self.meta_config.to_dict() if self.meta_config else None
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ArtifactRecord:
        """The inverse of :meth:`to_dict`. The parts of the id may be left out.

        Raises:
            InvalidInputError: A field is missing, unknown, of the wrong type or contradicts
                another.
        """
        from n4a_store.artifacts.record_fields import check_fields

        return cls(**check_fields(data))


_fields_of = attrgetter(*ArtifactRecord.__slots__)


def export_name(artifact_type: str, class_name: str, content_hash: str, extension: str) -> str:
    """The name of the file that an artifact would be exported to.

    A class may have any name in Python; what a file's name should not hold is written as "_".
    """
    return f"{artifact_type}_{_safe(class_name)}_{short_hash(content_hash)}.{extension}"


@functools.lru_cache(maxsize=1024)
def _safe(class_name: str) -> str:
    return _UNSAFE.sub("_", class_name)


def short_hash(content_hash: str) -> str:
    """The first hex digits of a content hash, with or without its prefix."""
    return content_hash.rpartition(":")[2][:_SHORT_HASH]

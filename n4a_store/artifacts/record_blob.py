"""The record blob: what is true of an artifact in every run.

It is the first child of an artifact's tree and holds no id, no clock and no place, so that equal
artifacts are one object. Canonical msgpack of a map::

    "schema"   1
    "class"    qualified name of the object's class
    "type"     artifact type
    "format"   serializer that wrote the payload
    "library"  "scikit-learn==1.9.1"
    "size"     bytes of the payload before compression
    "params"   canonical parameters
    "pickler"  "pickle" or "cloudpickle"; left out when no pickle is involved
    "meta"     of a meta-model, the part without ids: {"indexes", "columns", "extra"}; else left out
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from n4a_store.errors import CorruptionError, UnsupportedFormatError
from n4a_store.objects.codec import decode_value, encode_value
from n4a_store.objects.oid import BytesLike

__all__ = ["MetaPart", "RecordBlob", "decode_record", "encode_record"]

SCHEMA = 1
_TEXTS = ("class", "type", "format", "library")
_KNOWN = frozenset((*_TEXTS, "schema", "size", "params", "pickler", "meta"))


@dataclass(frozen=True, slots=True)
class MetaPart:
    """What a meta-model was fitted on, without the ids of its sources.

    Args:
        indexes: The column of each source, in the order of the sources.
        columns: The names of the columns.
        extra: Whatever else the runner keeps.
    """

    indexes: tuple[int, ...] = ()
    columns: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


class RecordBlob(NamedTuple):
    """See the module. A tuple, because one is made for every artifact: half the time."""

    class_path: str
    type: str
    format: str
    library: str
    size: int
    params: Mapping[str, Any]
    pickler: str = ""
    meta: MetaPart | None = None

    @property
    def class_name(self) -> str:
        """The class without its module."""
        return self.class_path.rpartition(".")[2]


def encode_record(record: RecordBlob) -> bytes:
    """The canonical bytes.

    Raises:
        InvalidInputError: Parameters or extra values without a canonical form.
    """
    # In the order of the keys: what is in order is packed as it stands.
    value: dict[str, Any] = {
        "class": record.class_path,
        "format": record.format,
        "library": record.library,
    }
    if record.meta is not None:
        value["meta"] = {
            "columns": list(record.meta.columns),
            "extra": record.meta.extra,
            "indexes": list(record.meta.indexes),
        }
    value["params"] = record.params
    if record.pickler:
        value["pickler"] = record.pickler
    value["schema"] = SCHEMA
    value["size"] = record.size
    value["type"] = record.type
    return encode_value(value)


def decode_record(data: BytesLike) -> RecordBlob:
    """The record with these bytes.

    Raises:
        CorruptionError: They are not a record.
        UnsupportedFormatError: A record of a later version.
    """
    value = decode_value(data)
    if not isinstance(value, dict) or type(value.get("schema")) is not int:
        raise CorruptionError("not an artifact's record")
    if value["schema"] != SCHEMA:
        raise UnsupportedFormatError(
            f"an artifact's record of schema {value['schema']}", hint="upgrade n4a_store"
        )
    if not (
        value.keys() <= _KNOWN
        and all(isinstance(value.get(name), str) for name in _TEXTS)
        and type(value.get("size")) is int
        and isinstance(value.get("params"), dict)
        and isinstance(value.get("pickler", ""), str)
    ):
        raise CorruptionError("not an artifact's record: wrong fields")
    return RecordBlob(
        class_path=value["class"],
        type=value["type"],
        format=value["format"],
        library=value["library"],
        size=value["size"],
        params=value["params"],
        pickler=value.get("pickler", ""),
        meta=_decode_meta(value["meta"]) if "meta" in value else None,
    )


def _decode_meta(value: Any) -> MetaPart:
    if not (
        isinstance(value, dict)
        and value.keys() == {"indexes", "columns", "extra"}
        and isinstance(value["indexes"], list)
        and all(type(index) is int for index in value["indexes"])
        and isinstance(value["columns"], list)
        and all(isinstance(column, str) for column in value["columns"])
        and isinstance(value["extra"], dict)
    ):
        raise CorruptionError("not an artifact's record: wrong meta")
    return MetaPart(tuple(value["indexes"]), tuple(value["columns"]), value["extra"])

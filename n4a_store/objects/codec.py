"""Objects to canonical bytes and back.

One value has one encoding: a subset of msgpack with string keys only, sorted by their UTF-8
bytes and unique; the shortest integer form; every float as float64, one NaN pattern, −0.0 kept
apart from 0.0; no extension types; at most :data:`MAX_DEPTH` levels, :data:`MAX_BYTES` bytes and
``MAX_VALUES`` values (see :mod:`n4a_store.objects.weight`).
Decoding encodes again and compares, because msgpack itself accepts several spellings of one
value. Whatever differs raises :class:`CorruptionError`, and nothing else is ever raised by
``decode_*``.

Layouts, all msgpack maps (see docs/reference/formats/objects.md)::

    tree        {"entries": {name: kind byte + 32 id bytes}, ["attrs": {...}]}
    shard node  {"depth": d, "entries": {"0"…"f": kind byte + id}, "total": n, ["attrs": {...}]}
    run         {"created_at", "dataset", "details", "environment", "message", "parents",
                 "pipelines", "status"}
"""

from __future__ import annotations

import math
import threading
from collections.abc import Collection, Mapping
from typing import Any

import msgpack

from n4a_store.errors import CorruptionError, InvalidInputError, StoreError
from n4a_store.objects.model import Blob, Object, Run, RunStatus, Tree, TreeEntry, Value
from n4a_store.objects.oid import OID_BYTES, BytesLike, Kind, ObjectId
from n4a_store.objects.weight import MAX_VALUES, holds_too_many

__all__ = [
    "ENTRY_BYTES",
    "MAX_BYTES",
    "MAX_DEPTH",
    "decode_object",
    "decode_run",
    "decode_value",
    "encode_run",
    "encode_value",
    "normal_value",
    "pack_child",
    "pack_entry",
    "pack_normal",
    "unpack_entry",
]

MAX_DEPTH = 64
MAX_BYTES = 64 * 1024 * 1024
_NAN = float("nan")
_INT_MIN = -(2**63)
_INT_MAX = 2**64 - 1
ENTRY_BYTES = 1 + OID_BYTES
_KINDS = {int(kind): kind for kind in Kind}
_KIND_BYTES = {int(kind): bytes((kind,)) for kind in Kind}
_PLAIN = frozenset((bytes, bool, type(None)))
_LEAVES = _PLAIN | {str, int}
_TEXT = frozenset((str,))
_RUN_KEYS = frozenset(
    ("created_at", "dataset", "details", "environment", "message", "parents", "pipelines", "status")
)


def _normal(value: Any, depth: int, where: str) -> Any:
    """``value`` with sorted keys and one NaN, or a clear refusal naming ``where``."""
    kind = type(value)
    if kind is str:
        return value if value.isascii() else _normal_text(value, where)
    if kind in _PLAIN:
        return value
    if kind is int:
        if not _INT_MIN <= value <= _INT_MAX:
            raise InvalidInputError(
                f"{where}: {value} does not fit in 64 bits", hint="store it as text"
            )
        return value
    if kind is float:
        return _NAN if math.isnan(value) else value
    if depth >= MAX_DEPTH:
        raise InvalidInputError(f"{where}: nested deeper than {MAX_DEPTH} levels")
    if kind is list:
        return [_normal(item, depth + 1, where) for item in value]
    if kind is dict or isinstance(value, Mapping):
        return _normal_map(value, depth, where)
    raise InvalidInputError(
        f"{where}: a {kind.__module__}.{kind.__qualname__} has no canonical form",
        hint="convert it to None, bool, int, float, str, bytes, list or dict first",
    )


def _normal_text(value: str, where: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidInputError(f"{where}: text with lone surrogates: {value!r}") from None
    return value


_FEW_NAMES = 16  # so many are compared one by one sooner than sorted


def _are_sorted(names: Collection[object]) -> bool:
    """Whether all of them are text, in the order of their bytes."""
    if len(names) > _FEW_NAMES:
        some = list(names)
        return _TEXT.issuperset(map(type, some)) and some == sorted(some)  # type: ignore[type-var]
    before = ""
    for name in names:
        if type(name) is not str or name < before:
            return False
        before = name
    return True


def _is_normal(value: Any, depth: int) -> bool:
    """Whether ``value`` surely is what :func:`_normal` gives, or else cannot be packed at all.

    Says no when it is in doubt (a NaN has many spellings). A third of the time of making the
    normal form, because it makes nothing. Packing refuses what is not looked at here: text with
    lone surrogates and integers beyond 64 bits.
    """
    if depth >= MAX_DEPTH:
        return False
    kind = type(value)
    if kind is dict:
        if not _are_sorted(value):
            return False
        items = value.values()
    elif kind is list:
        items = value
    else:
        return kind in _LEAVES or (kind is float and value == value)  # noqa: PLR0124 - no NaN
    for item in items:
        kind = type(item)
        if kind is float:
            if item != item:  # noqa: PLR0124 - a NaN
                return False
        elif kind not in _LEAVES and not _is_normal(item, depth + 1):
            return False
    return True


def _normal_map(value: Mapping[Any, Any], depth: int, where: str) -> dict[str, Any]:
    for key in value:
        if type(key) is not str:
            raise InvalidInputError(f"{where}: key {key!r} is not text")
    normal = {}
    # Python orders text by code point, which is the order of its UTF-8 bytes.
    for name in sorted(value):
        item = value[name]
        if not name.isascii():
            _normal_text(name, where)
        normal[name] = item if type(item) in _PLAIN else _normal(item, depth + 1, name)
    return normal


class _PerThread(threading.local):
    """A packer holds a large buffer, which costs more to make than most values to pack."""

    def __init__(self) -> None:
        self.pack = msgpack.Packer(use_bin_type=True, strict_types=True).pack


_packers = _PerThread()


def pack_normal(value: object) -> bytes:
    """The bytes of a value that is in canonical form already: keys sorted, text valid.

    Raises:
        InvalidInputError: It is too large, or holds too many values.
    """
    data: bytes = _packers.pack(value)
    if len(data) > MAX_VALUES:  # the smaller of both bounds
        _refuse_too_large(data, InvalidInputError, "are stored")
    return data


def _refuse_too_large(data: bytes, error: type[StoreError], done: str) -> None:
    if len(data) > MAX_BYTES:
        raise error(f"a value of {len(data)} bytes; at most {MAX_BYTES} {done}")
    if holds_too_many(data):
        raise error(
            f"a value that holds more than {MAX_VALUES} others; no more {done}",
            hint="numbers by the million are an array's: store its bytes, or a blob of their own",
        )


def normal_value(value: Value | Mapping[str, Any]) -> Any:
    """``value`` in canonical form, ready for :func:`pack_normal`; errors as :func:`encode_value`.

    Whoever packs it inside a larger value keeps within :data:`MAX_DEPTH`.
    """
    return _normal(value, 1, "value")


def encode_value(value: Value | Mapping[str, Any]) -> bytes:
    """The canonical bytes of ``value``.

    Raises:
        InvalidInputError: It holds something without a canonical form: another type, a key that
            is not text, an integer beyond 64 bits, too deep, too large or too many values.
    """
    if _is_normal(value, 0):
        try:
            return pack_normal(value)
        except (OverflowError, UnicodeEncodeError):
            pass  # the normal form says which part of it and why
    return pack_normal(_normal(value, 0, "value"))


def decode_value(data: BytesLike) -> Any:
    """The value whose canonical bytes are ``data``.

    Raises:
        CorruptionError: ``data`` is not the canonical encoding of anything.
    """
    data = bytes(data)
    if len(data) > MAX_VALUES:
        _refuse_too_large(data, CorruptionError, "are read")
    try:
        value = msgpack.unpackb(data, raw=False, strict_map_key=True, use_list=True)
    except Exception as error:
        # msgpack answers damage with ValueError, its own classes, UnicodeDecodeError or
        # RecursionError, depending on where it stands: all of them mean the same here.
        raise CorruptionError(f"not canonical msgpack: {error}") from error
    if _is_normal(value, 0) and _packers.pack(value) == data:
        return value  # as nearly always; the rest finds out what is wrong
    try:
        again = encode_value(value)
    except (InvalidInputError, RecursionError) as error:
        raise CorruptionError(f"not canonical msgpack: {error}") from error
    if again != data:
        raise CorruptionError("not canonical msgpack: another encoding of the same value")
    return value


def pack_entry(entry: TreeEntry) -> bytes:
    """A tree entry as its 33 bytes."""
    return _KIND_BYTES[entry.kind] + entry.oid.raw


def pack_child(kind: int, oid: bytes) -> bytes:
    """A tree entry as its 33 bytes, from the bytes of its id."""
    return _KIND_BYTES[kind] + oid


def unpack_entry(data: object) -> TreeEntry:
    """The tree entry written as ``data``.

    Raises:
        CorruptionError: Not 33 bytes, or of an unknown kind.
    """
    if type(data) is not bytes or len(data) != ENTRY_BYTES:
        raise CorruptionError(f"not a tree entry: {data!r:.80}")
    kind = _KINDS.get(data[0])
    if kind is None:
        raise CorruptionError(f"a tree entry of unknown kind {data[0]}")
    return TreeEntry(kind, ObjectId(data[1:]))


def encode_run(run: Run) -> bytes:
    """The canonical bytes of ``run``.

    Raises:
        InvalidInputError: Its environment or details hold something without a canonical form.
    """
    return encode_value(
        {
            "created_at": run.created_at,
            "dataset": run.dataset,
            "details": dict(run.details),
            "environment": dict(run.environment),
            "message": run.message,
            "parents": [parent.raw for parent in run.parents],
            "pipelines": run.pipelines.raw,
            "status": run.status.value,
        }
    )


def decode_run(data: BytesLike) -> Run:
    """The run whose canonical bytes are ``data``.

    Raises:
        CorruptionError: ``data`` is not the encoding of a run.
    """
    value = decode_value(data)
    if type(value) is not dict or value.keys() != _RUN_KEYS:
        raise CorruptionError("not a run object: wrong fields")
    for name in ("created_at", "dataset", "message", "status"):
        if type(value[name]) is not str:
            raise CorruptionError(f"not a run object: {name} is not text")
    for name in ("details", "environment"):
        if type(value[name]) is not dict:
            raise CorruptionError(f"not a run object: {name} is not a map")
    if type(value["parents"]) is not list:
        raise CorruptionError("not a run object: parents is not a list")
    try:
        return Run(
            pipelines=ObjectId(value["pipelines"]),
            dataset=value["dataset"],
            created_at=value["created_at"],
            status=RunStatus(value["status"]),
            parents=tuple(ObjectId(parent) for parent in value["parents"]),
            environment=value["environment"],
            message=value["message"],
            details=value["details"],
        )
    except ValueError as error:
        raise CorruptionError(f"not a run object: {error}") from error


def decode_object(kind: Kind, data: BytesLike) -> Object:
    """The object of ``kind`` whose canonical bytes are ``data``; a shard node as a plain tree.

    Raises:
        CorruptionError: ``data`` is not the encoding of such an object.
    """
    if kind is Kind.BLOB:
        return Blob(bytes(data))
    if kind is Kind.RUN:
        return decode_run(data)
    from n4a_store.objects.trees import decode_node  # trees builds on the codec of values

    node = decode_node(data)
    return Tree(node.entries, node.attrs)

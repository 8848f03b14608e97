"""What a tree or a run names, for walks over millions: no more is decoded than is asked for.

The bytes are taken as verified against their id. That their encoding is canonical is not checked:
that is fsck's work. But what holds more values than are ever stored is refused before any is built:
whoever wrote it meant to fill the memory.
"""

from __future__ import annotations

import msgpack

from n4a_store.errors import CorruptionError
from n4a_store.objects.codec import ENTRY_BYTES, MAX_BYTES
from n4a_store.objects.oid import BytesLike, Kind
from n4a_store.objects.weight import MAX_VALUES, holds_too_many

__all__ = ["named_children", "packed_children", "raw_children"]

_KINDS = frozenset(int(kind) for kind in Kind)


def _refuse_too_many(kind: int, data: BytesLike) -> None:
    if len(data) > MAX_BYTES or holds_too_many(data):
        raise CorruptionError(f"not a {Kind(kind).label} object: too large, or too many values")


def _decode_light(kind: int, data: BytesLike) -> tuple[list[tuple[str, bytes]], bool]:
    """The packed children by name, and whether the names are part of a path."""
    if len(data) > MAX_VALUES:
        _refuse_too_many(kind, data)
    try:
        value = msgpack.unpackb(data, raw=False, strict_map_key=True)
        if kind == Kind.RUN:
            return [("", bytes((Kind.TREE,)) + value["pipelines"])], False
        return list(value["entries"].items()), "depth" not in value
    except Exception as error:  # as in codec.decode_value: every failure means the same
        raise CorruptionError(f"not a {Kind(kind).label} object: {error!r}") from error


def packed_children(kind: int, data: BytesLike) -> bytes:
    """The children of a tree or run one after the other, 33 bytes each; for walks.

    Raises:
        CorruptionError: ``data`` is not the encoding of such an object.
    """
    if len(data) > MAX_VALUES:
        _refuse_too_many(kind, data)
    try:
        # Names as they are: nobody asks for them, and to decode them takes longest.
        value = msgpack.unpackb(data, raw=True, strict_map_key=True)
        if kind == Kind.RUN:
            packed = [bytes((Kind.TREE,)) + value[b"pipelines"]]
        else:
            packed = list(value[b"entries"].values())
        joined = b"".join(packed)
    except Exception as error:  # as in codec.decode_value: every failure means the same
        raise CorruptionError(f"not a {Kind(kind).label} object: {error!r}") from error
    if not set(map(len, packed)) <= {ENTRY_BYTES}:
        raise CorruptionError(f"not a {Kind(kind).label} object: a malformed child")
    return joined


def named_children(kind: int, data: BytesLike) -> list[tuple[str, int, bytes]]:
    """Name, kind and id of each child of a tree or run; a blob has none.

    A run's tree, and the shards of a large tree, are no part of a path: their names are empty.

    Raises:
        CorruptionError: ``data`` is not the encoding of such an object.
    """
    if kind == Kind.BLOB:
        return []
    entries, named = _decode_light(kind, data)
    children = []
    for name, entry in entries:
        if type(entry) is not bytes or len(entry) != ENTRY_BYTES or entry[0] not in _KINDS:
            raise CorruptionError(f"not a {Kind(kind).label} object: a malformed child")
        children.append((name if named else "", entry[0], entry[1:]))
    return children


def raw_children(kind: int, data: BytesLike) -> list[tuple[int, bytes]]:
    """The children of a tree or run as ``(kind, id bytes)``, for walks; a blob has none.

    Raises:
        CorruptionError: ``data`` is not the encoding of such an object.
    """
    return [(child, oid) for _, child, oid in named_children(kind, data)]

"""Payloads in a store: from a serializer's bytes to objects and back.

An artifact's payload is one blob, or a tree of its ``skeleton`` and its buffers, which are numbered
in the order in which the skeleton asks for them. Reading verifies every byte before any
of it is deserialised; what is missing or damaged is a :class:`CorruptionError`, because an
artifact's tree promises its payload.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from n4a_store.artifacts.repeated_trees import put_again
from n4a_store.artifacts.serializers.base import Payload, Serializer
from n4a_store.errors import CorruptionError, ObjectNotFoundError
from n4a_store.objects.codec import pack_child
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import BytesLike, Kind, ObjectId
from n4a_store.repo.reading import ObjectReader
from n4a_store.repo.transaction import Transaction

__all__ = ["ObjectReader", "ordered_key", "payload_parts", "put_payload", "read_payload"]

_SKELETON = "skeleton"  # sorts after every number
_BLOBS = {int(Kind.BLOB)}
_Parts = tuple[ObjectId, tuple[ObjectId, ...]]  # the skeleton and the buffers, in order


def ordered_key(place: int) -> str:
    """The name of the child at ``place``: names sort like numbers."""
    return f"{place:08d}"


def put_payload(txn: Transaction, payload: Payload) -> TreeEntry:
    """Put a payload; the entry is its content hash."""
    if not payload.buffers:
        return TreeEntry(Kind.BLOB, txn.put_blob(payload.skeleton))
    parts: list[tuple[BytesLike, int]] = [(payload.skeleton, 1)]
    parts += [(buffer.data, buffer.item_size) for buffer in payload.buffers]
    skeleton, *buffers = [pack_child(Kind.BLOB, oid) for oid in txn.put_blobs(parts)]
    names = _names(len(buffers))
    return TreeEntry(Kind.TREE, put_again(txn, dict(zip(names, (*buffers, skeleton), strict=True))))


def read_payload(
    reader: ObjectReader, entry: TreeEntry, serializer: Serializer, *, mmap: bool = False
) -> Any:
    """The object of a payload.

    Args:
        reader: Where its objects are.
        entry: The payload.
        serializer: The one of the record's format.
        mmap: Give read-only arrays over the store's own memory instead of writable copies.

    Raises:
        CorruptionError: Something of it is missing, damaged or of the wrong shape.
        SerializationError: It is sound and cannot be deserialised here.
    """
    try:
        head, tail = _parts_of(reader, entry)
        buffers: Sequence[BytesLike]
        if mmap:
            (skeleton, *buffers), _ = reader.blobs((head, *tail), ())
        else:
            (skeleton,), buffers = reader.blobs((head,), tail)
    except ObjectNotFoundError as error:
        raise CorruptionError(f"part of the payload is missing: {error}") from error
    # Everything has been verified by now; only then is any of it interpreted.
    return serializer.loads(skeleton, buffers)


def payload_parts(reader: ObjectReader, entry: TreeEntry) -> tuple[BytesLike, list[BytesLike]]:
    """The skeleton and the buffers of a payload, verified and not deserialised.

    Raises:
        CorruptionError: Something of it is missing, damaged or of the wrong shape.
    """
    try:
        skeleton, buffers = _parts_of(reader, entry)
        found: list[BytesLike] = [reader.view(oid) for oid in buffers]
        return reader.view(skeleton), found
    except ObjectNotFoundError as error:
        raise CorruptionError(f"part of the payload is missing: {error}") from error


def _parts_of(reader: ObjectReader, entry: TreeEntry) -> _Parts:
    return (entry.oid, ()) if entry.kind is Kind.BLOB else reader.recall(_parts_of_tree, entry.oid)


def _parts_of_tree(reader: ObjectReader, payload: ObjectId) -> _Parts:
    entries = reader.packed_entries(payload)
    buffers = len(entries) - 1
    # The names are in order: those of the buffers, and after every number the skeleton.
    if buffers < 1 or tuple(entries) != _names(buffers):
        raise CorruptionError(f"payload {payload.short(12)} is not a skeleton and its buffers")
    if {packed[0] for packed in entries.values()} != _BLOBS:
        raise CorruptionError(f"payload {payload.short(12)} is not a skeleton and its buffers")
    *tail, head = [ObjectId(packed[1:]) for packed in entries.values()]
    return head, tuple(tail)


@functools.lru_cache(maxsize=64)
def _names(buffers: int) -> tuple[str, ...]:
    """The names in the tree of a payload with so many buffers."""
    return (*map(ordered_key, range(buffers)), _SKELETON)

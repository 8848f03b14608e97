"""Payloads in a store: from a serializer's bytes to objects and back.

An artifact's payload is one blob, or a tree of ``skeleton`` and ``buffers``, whose children are
numbered in the order in which the skeleton asks for them. Reading verifies every byte before any
of it is deserialised; what is missing or damaged is a :class:`CorruptionError`, because an
artifact's tree promises its payload.
"""

from __future__ import annotations

from typing import Any, Protocol

from n4a_store.artifacts.serializers.base import Payload, Serializer
from n4a_store.errors import CorruptionError, ObjectNotFoundError
from n4a_store.objects.model import Tree, TreeEntry
from n4a_store.objects.oid import BytesLike, Kind, ObjectId
from n4a_store.repo.transaction import Transaction

__all__ = ["ObjectReader", "ordered_key", "payload_parts", "put_payload", "read_payload"]

_SKELETON, _BUFFERS = "skeleton", "buffers"


class ObjectReader(Protocol):
    """What can be read from: a store, or a transaction that sees its own writes as well."""

    def get(self, oid: ObjectId) -> bytes:
        """The verified bytes of an object."""
        ...

    def view(self, oid: ObjectId) -> memoryview:
        """The verified bytes of an object, without a copy where possible."""
        ...

    def kind(self, oid: ObjectId) -> Kind:
        """The kind of an object."""
        ...

    def get_tree(self, oid: ObjectId) -> Tree:
        """A whole tree."""
        ...


def ordered_key(place: int) -> str:
    """The name of the child at ``place``: names sort like numbers."""
    return f"{place:08d}"


def put_payload(txn: Transaction, payload: Payload) -> TreeEntry:
    """Put a payload; the entry is its content hash."""
    skeleton = txn.put_blob(payload.skeleton)
    if not payload.buffers:
        return TreeEntry(Kind.BLOB, skeleton)
    buffers = {
        ordered_key(place): TreeEntry(
            Kind.BLOB, txn.put_blob(buffer.data, item_size=buffer.item_size)
        )
        for place, buffer in enumerate(payload.buffers)
    }
    tree = txn.put_tree(
        {
            _SKELETON: TreeEntry(Kind.BLOB, skeleton),
            _BUFFERS: TreeEntry(Kind.TREE, txn.put_tree(buffers)),
        }
    )
    return TreeEntry(Kind.TREE, tree)


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
    skeleton, buffers = payload_parts(reader, entry)
    # Everything has been verified by now; only then is any of it interpreted.
    if not mmap:
        buffers = [bytearray(buffer) for buffer in buffers]
    return serializer.loads(skeleton, buffers)


def payload_parts(reader: ObjectReader, entry: TreeEntry) -> tuple[BytesLike, list[BytesLike]]:
    """The skeleton and the buffers of a payload, verified and not deserialised.

    Raises:
        CorruptionError: Something of it is missing, damaged or of the wrong shape.
    """
    try:
        if entry.kind is Kind.BLOB:
            return reader.view(entry.oid), []
        tree = reader.get_tree(entry.oid)
        if set(tree) != {_SKELETON, _BUFFERS}:
            raise CorruptionError(f"payload {entry.oid.short(12)} is not skeleton and buffers")
        numbered = reader.get_tree(tree[_BUFFERS].oid)
        buffers: list[BytesLike] = [reader.view(numbered[name].oid) for name in numbered]
        return reader.view(tree[_SKELETON].oid), buffers
    except ObjectNotFoundError as error:
        raise CorruptionError(f"part of the payload is missing: {error}") from error

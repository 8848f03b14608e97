"""Reading objects by id, whatever they are read from.

A store and a transaction both can return the verified bytes of an object; everything that is
made of those (whole trees, runs, values) is written here once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from n4a_store.errors import InvalidInputError
from n4a_store.objects.codec import decode_run, decode_value, pack_entry
from n4a_store.objects.model import Run, Tree, TreeEntry
from n4a_store.objects.oid import BytesLike, Kind, ObjectId
from n4a_store.objects.trees import TreeNode, decode_node, decode_packed, iter_entries, lookup

__all__ = ["ObjectReader", "need_id"]


Made = TypeVar("Made")


def need_id(oid: object) -> ObjectId:
    """``oid``, when it is the id of an object.

    Raises:
        InvalidInputError: It is anything else, such as the text of an id.
    """
    if not isinstance(oid, ObjectId):
        raise InvalidInputError(
            f"an ObjectId is needed, not {oid!r:.80}", hint="store.resolve(name) gives one"
        )
    return oid


def check_kind(oid: ObjectId, found: int, kind: Kind) -> None:
    """Refuse an object of another kind.

    Raises:
        InvalidInputError: It is one.
    """
    if found != kind:
        raise InvalidInputError(
            f"object {oid.short(12)} is a {Kind(found).label}, not a {kind.label}"
        )


class ObjectReader(ABC):
    """Something that objects can be read from."""

    @abstractmethod
    def read(self, oid: bytes) -> tuple[int, BytesLike]:
        """The kind and the verified bytes of the object whose id has the bytes ``oid``.

        Raises:
            ObjectNotFoundError: There is no such object.
            CorruptionError: It is damaged.
        """

    def session(self) -> AbstractContextManager[None]:
        """A block within which several reads see one state."""
        return nullcontext()

    def get(self, oid: ObjectId) -> bytes:
        """The bytes of an object of any kind.

        Raises:
            ObjectNotFoundError: There is no such object.
            CorruptionError: It is damaged.
        """
        return bytes(self.read(need_id(oid).raw)[1])

    def view(self, oid: ObjectId) -> memoryview:
        """The bytes of an object as a read-only view, without a copy when it is stored raw.

        Raises:
            ObjectNotFoundError: There is no such object.
            CorruptionError: It is damaged.
        """
        return memoryview(self.read(need_id(oid).raw)[1]).toreadonly()

    def payload(self, oid: ObjectId, kind: Kind) -> BytesLike:
        """The bytes of an object that must be of ``kind``.

        Raises:
            ObjectNotFoundError: There is no such object.
            InvalidInputError: It is of another kind.
            CorruptionError: It is damaged.
        """
        found, data = self.read(need_id(oid).raw)
        check_kind(oid, found, kind)
        return data

    def blob(self, oid: ObjectId) -> BytesLike:
        """The bytes of a blob, to be read only.

        As :meth:`payload`, for what is read again soon: a store keeps what it had to inflate.
        """
        return self.payload(oid, Kind.BLOB)

    def own_blob(self, oid: ObjectId) -> bytearray:
        """The bytes of a blob in memory that is the caller's own, to be written to.

        Raises:
            As :meth:`payload`.
        """
        return bytearray(self.payload(oid, Kind.BLOB))

    def blobs(
        self, shared: Sequence[ObjectId], own: Sequence[ObjectId]
    ) -> tuple[list[BytesLike], list[bytearray]]:
        """Several blobs: those ``shared`` as :meth:`blob`, the others as :meth:`own_blob`.

        Raises:
            As :meth:`payload`.
        """
        return [self.blob(oid) for oid in shared], [self.own_blob(oid) for oid in own]

    def recall(self, make: Callable[[ObjectReader, ObjectId], Made], oid: ObjectId) -> Made:
        """What ``make`` makes of an object and of those below it.

        An id always stands for the same bytes, so a store remembers it for a while. ``make``
        gives a value that cannot be changed.
        """
        return make(self, oid)

    def kind(self, oid: ObjectId) -> Kind:
        """The kind of an object.

        Raises:
            ObjectNotFoundError: There is no such object.
            CorruptionError: It is damaged.
        """
        return Kind(self.read(need_id(oid).raw)[0])

    def node(self, oid: ObjectId) -> TreeNode:
        """One tree object as it is stored.

        Raises:
            ObjectNotFoundError: There is no such object.
            InvalidInputError: It is not a tree.
            CorruptionError: It is damaged.
        """
        return decode_node(self.payload(oid, Kind.TREE))

    def get_tree(self, oid: ObjectId) -> Tree:
        """A whole tree, its shards put together.

        Raises:
            ObjectNotFoundError: There is no such object.
            InvalidInputError: It is not a tree.
            CorruptionError: It is damaged.
        """
        root = self.node(oid)
        if root.depth is None:
            return Tree(root.entries, root.attrs)
        with self.session():
            root = self.node(oid)
            return Tree(dict(iter_entries(root, self.node)), root.attrs)

    def entries(self, oid: ObjectId) -> Mapping[str, TreeEntry]:
        """The children of a tree by name, sorted.

        Raises:
            ObjectNotFoundError: There is no such object.
            InvalidInputError: It is not a tree.
            CorruptionError: It is damaged.
        """
        node = self.node(oid)
        if node.is_shard:
            return self.get_tree(oid).entries
        # Python orders text by code point, which is the order of its UTF-8 bytes.
        return {name: node.entries[name] for name in sorted(node.entries)}

    def packed_entries(self, oid: ObjectId) -> Mapping[str, bytes]:
        """As :meth:`entries`, each as its kind byte and its id; the tree is not remembered.

        Raises:
            ObjectNotFoundError: There is no such object.
            InvalidInputError: It is not a tree.
            CorruptionError: It is damaged.
        """
        packed = decode_packed(self.payload(oid, Kind.TREE))
        if packed is None:
            return {name: pack_entry(child) for name, child in self.entries(oid).items()}
        return packed

    def get_entry(self, oid: ObjectId, name: str) -> TreeEntry | None:
        """One child of a tree, or None; of a sharded tree only the nodes on the way are read.

        Raises:
            ObjectNotFoundError: There is no such tree.
            InvalidInputError: It is not a tree.
            CorruptionError: It is damaged.
        """
        with self.session():
            return lookup(self.node(oid), name, self.node)

    def get_run(self, oid: ObjectId) -> Run:
        """A run object.

        Raises:
            ObjectNotFoundError: There is no such object.
            InvalidInputError: It is not a run.
            CorruptionError: It is damaged.
        """
        return decode_run(self.payload(oid, Kind.RUN))

    def get_value(self, oid: ObjectId) -> Any:
        """The canonical value in a blob.

        Raises:
            ObjectNotFoundError: There is no such object.
            InvalidInputError: It is not a blob.
            CorruptionError: It does not hold a canonical value.
        """
        return decode_value(self.payload(oid, Kind.BLOB))

"""Reading with a memory: what has been read, checked and decoded is not read again at once.

An object's bytes never change, so what was made of them stays true as long as it is remembered.
Everything that is remembered is a private copy that was checked on the way in; bytes that are
mapped from a pack are checked each time. All memories are bounded, and dropped with the store.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from n4a_store.objects.oid import BytesLike, Kind, ObjectId
from n4a_store.objects.trees import TreeNode, decode_node
from n4a_store.odb.kept import KeptBlobs, KeptNodes
from n4a_store.repo.reading import Made, ObjectReader, check_kind, need_id

__all__ = ["CachingReader"]

_RECALLED = 8_192
_KEPT_AS_IT_IS = 16 * 1024  # to find and check a small raw blob again costs more than to keep it


class CachingReader(ObjectReader):
    """See the module.

    Args:
        kept: The blobs that are kept.
    """

    def __init__(self, kept: KeptBlobs) -> None:
        self._kept = kept
        self._nodes = KeptNodes()
        self._recalled: OrderedDict[Hashable, Any] = OrderedDict()
        self._runs: Mapping[bytes, ObjectId] = {}

    @abstractmethod
    def copy(self, oid: bytes) -> tuple[int, BytesLike]:
        """As :meth:`read`, in memory of its own; see ``PackReader.copy_at``.

        Raises:
            ObjectNotFoundError: There is no such object.
            CorruptionError: It is damaged.
        """

    def forget(self) -> None:
        """Remember nothing."""
        self._kept.clear()
        self._nodes.clear()
        self._recalled.clear()
        self._runs = {}

    def blob(self, oid: ObjectId) -> BytesLike:
        """The bytes of a blob, to be read only: mapped, or kept from when they were inflated.

        Raises:
            As :meth:`payload`.
        """
        data = self._kept.get(need_id(oid).raw)
        return self._shared(oid) if data is None else memoryview(data).toreadonly()

    def own_blob(self, oid: ObjectId) -> bytearray:
        """The bytes of a blob in memory that is the caller's own, to be written to.

        Raises:
            As :meth:`payload`.
        """
        data = self._kept.get(need_id(oid).raw)
        return self._owned(oid, self.copy(oid.raw)) if data is None else bytearray(data)

    def blobs(
        self, shared: Sequence[ObjectId], own: Sequence[ObjectId]
    ) -> tuple[list[BytesLike], list[bytearray]]:
        """Several blobs: those ``shared`` as :meth:`blob`, the others as :meth:`own_blob`.

        Raises:
            As :meth:`payload`.
        """
        # One look at what is kept: most of what an artifact is made of it shares with others.
        kept = self._kept.get_each([oid.raw for oid in (*shared, *own)])
        views: list[BytesLike] = [
            self._shared(oid) if data is None else memoryview(data).toreadonly()
            for oid, data in zip(shared, kept, strict=False)
        ]
        del kept[: len(views)]
        missing = [oid for oid, data in zip(own, kept, strict=True) if data is None]
        if not missing:
            return views, [bytearray(data) for data in kept if data is not None]
        fresh = zip(missing, self.copies([oid.raw for oid in missing]), strict=True)
        return views, [
            self._owned(*next(fresh)) if data is None else bytearray(data) for data in kept
        ]

    def copies(self, oids: Sequence[bytes]) -> list[tuple[int, BytesLike]]:
        """As :meth:`copy`, of several objects.

        Raises:
            ObjectNotFoundError: One of them is not there.
            CorruptionError: One of them is damaged.
        """
        return [self.copy(oid) for oid in oids]

    def _shared(self, oid: ObjectId) -> memoryview:
        data = self.payload(oid, Kind.BLOB)
        if not isinstance(data, memoryview):
            self._kept.put(oid.raw, data)
        elif len(data) <= _KEPT_AS_IT_IS:
            data = bytes(data)
            self._kept.put(oid.raw, data)
        return memoryview(data).toreadonly()

    def _owned(self, oid: ObjectId, found: tuple[int, BytesLike]) -> bytearray:
        """What :meth:`copy` has found, for the caller to write to."""
        kind, data = found
        if kind != Kind.BLOB:
            check_kind(oid, kind, Kind.BLOB)
        if isinstance(data, bytearray):
            if len(data) <= _KEPT_AS_IT_IS:
                self._kept.put(oid.raw, bytes(data))
            return data
        self._kept.put(oid.raw, data)
        return bytearray(data)

    def node(self, oid: ObjectId) -> TreeNode:
        """One tree object as it is stored; nodes are cached.

        Raises:
            ObjectNotFoundError: There is no such object.
            InvalidInputError: It is not a tree.
            CorruptionError: It is damaged.
        """
        node = self._nodes.get(need_id(oid).raw)
        if node is None:
            kind, data = self.read(oid.raw)
            if kind != Kind.TREE:
                check_kind(oid, kind, Kind.TREE)
            node = decode_node(data)
            self._nodes.put(oid.raw, node)
        return node

    def known_node(self, oid: ObjectId) -> TreeNode | None:
        """The node if it has been read or written here lately, else None."""
        return self._nodes.get(oid.raw)

    def known_pipelines(self, run: ObjectId) -> ObjectId | None:
        """The tree of a run's pipelines if that run was committed here last, else None."""
        return self._runs.get(run.raw)

    def remember(self, nodes: KeptNodes, runs: Mapping[bytes, ObjectId]) -> None:
        """Keep what has been committed, so that the next reader need not decode it.

        Args:
            nodes: Tree objects.
            runs: The trees of pipelines of runs; those of earlier commits are forgotten.
        """
        self._nodes.take(nodes)
        self._runs = runs

    def recall(
        self,
        make: Callable[[ObjectReader, ObjectId], Made],
        oid: ObjectId,
        reader: ObjectReader | None = None,
    ) -> Made:
        """What ``make`` makes of an object and of those below it; remembered for a while.

        Args:
            reader: Who finds them, if not this.
        """
        key = (make, oid.raw)
        try:
            made: Made = self._recalled[key]
        except KeyError:
            made = self._recalled[key] = make(reader or self, oid)
            while len(self._recalled) > _RECALLED:
                self._recalled.popitem(last=False)
        return made

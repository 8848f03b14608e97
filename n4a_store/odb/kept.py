"""What is kept for a while, because it will be asked for again: inflated blobs, decoded trees.

What is kept lies in this process's own memory and was checked against its id on the way there.
Nothing that is mapped from a disk is kept, so a page that is read again is checked again. Blobs are
bounded by bytes, and the least recently used goes first; trees by entries and what their attributes
hold, and the oldest goes first. Both may be shared by threads.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from n4a_store.objects.oid import BytesLike
from n4a_store.objects.trees import TreeNode
from n4a_store.storage import forks

__all__ = ["KeptBlobs", "KeptNodes"]

MOST_BYTES = 64 * 1024 * 1024
MOST_ENTRIES = 65_536
_SHARE = 4
_PER_NODE = 4  # what a node takes beside its entries, in entries
_PER_ENTRY = 250
_FEW_ATTRS = 32  # as many as a manifest has count for nothing


class KeptBlobs:
    """See the module.

    Args:
        most_bytes: How much is kept; a blob of more than a quarter of that is not.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._blobs: OrderedDict[bytes, BytesLike] = OrderedDict()
        self._bytes = 0
        self._mutex = threading.RLock()
        forks.tell_in_child(self)

    def __len__(self) -> int:
        return len(self._blobs)

    def get(self, oid: bytes) -> BytesLike | None:
        """The blob with this id, or None. Nobody writes to it."""
        with self._mutex:
            found = self._blobs.get(oid)
            if oid in self._blobs:  # still: a signal handler may have kept others meanwhile
                self._blobs.move_to_end(oid)
            return found

    def get_each(self, oids: Iterable[bytes]) -> list[BytesLike | None]:
        """As :meth:`get`, of several."""
        with self._mutex:
            blobs = self._blobs
            found = []
            for oid in oids:
                data = blobs.get(oid)
                if oid in blobs:
                    blobs.move_to_end(oid)
                found.append(data)
            return found

    def put(self, oid: bytes, data: BytesLike) -> None:
        """Keep a blob, which has been checked and which nobody writes to from now on."""
        size = len(data)
        if size * _SHARE > self._most:
            return
        with self._mutex:
            if oid in self._blobs:
                return  # the same bytes
            # A signal handler, which may keep a blob as well, is called where something is called:
            # what is counted and its count stand in one breath, here and below.
            self._blobs[oid] = data
            self._bytes += size
            while self._bytes > self._most:
                gone = len(self._blobs.popitem(last=False)[1])
                self._bytes -= gone

    def clear(self) -> None:
        """Keep nothing."""
        with self._mutex:
            self._blobs.clear()
            self._bytes = 0

    def _forget_threads(self) -> None:
        """In a forked child: a thread that is not here may have been in the middle of a change."""
        self._mutex = threading.RLock()
        self._blobs = OrderedDict()
        self._bytes = 0


class KeptNodes:
    """Decoded trees; see the module.

    Args:
        most_entries: How many entries they hold together: an entry takes some 250 bytes, and a
            value among the attributes no more.
    """

    def __init__(self, most_entries: int = MOST_ENTRIES) -> None:
        self._most = most_entries
        self._nodes: OrderedDict[bytes, TreeNode] = OrderedDict()
        self._weights: dict[bytes, int] = {}  # what each takes, in entries
        self._entries = 0
        self._mutex = threading.RLock()
        forks.tell_in_child(self)

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, oid: bytes) -> TreeNode | None:
        """The node with this id, or None. Nobody changes it."""
        return self._nodes.get(oid)

    def put(self, oid: bytes, node: TreeNode, weight: int | None = None) -> None:
        """Keep a node, which nobody changes from now on.

        Args:
            weight: What it takes, in entries, where that is known already.
        """
        if weight is None:
            weight = _weigh(node)
        with self._mutex:
            if oid in self._nodes:
                return
            self._nodes[oid], self._weights[oid] = node, weight
            self._entries += weight
            while self._entries > self._most and len(self._nodes) > 1:
                # A signal handler may keep a tree as one is let go, perhaps this very one.
                oid, _ = self._nodes.popitem(last=False)
                gone = self._weights[oid]
                if oid not in self._nodes:
                    del self._weights[oid]
                self._entries -= gone

    def take(self, other: KeptNodes) -> None:
        """Keep what ``other`` keeps."""
        for oid, node in other._nodes.items():
            self.put(oid, node, other._weights[oid])

    def clear(self) -> None:
        """Keep nothing."""
        with self._mutex:
            self._nodes.clear()
            self._weights.clear()
            self._entries = 0

    def _forget_threads(self) -> None:
        """In a forked child: a thread that is not here may have been in the middle of a change."""
        self._mutex = threading.RLock()
        self._nodes = OrderedDict()
        self._weights = {}
        self._entries = 0


def _weigh(node: TreeNode) -> int:
    """What a node takes, in entries."""
    own = _PER_NODE + len(node.entries)
    return own + max(0, _weigh_value(node.attrs) - _FEW_ATTRS) if node.attrs else own


def _weigh_value(value: object) -> int:
    if isinstance(value, str | bytes):
        return 1 + len(value) // _PER_ENTRY
    if isinstance(value, list):
        return 1 + sum(map(_weigh_value, value))
    if isinstance(value, Mapping):
        return 1 + sum(1 + _weigh_value(item) for item in value.values())
    return 1

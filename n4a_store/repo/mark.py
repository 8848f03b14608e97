"""Marking: which objects can be reached from given roots, at two bytes an object, strictly three.

Marks and kinds are one numpy array each over all packs, in which every object has a place: where
its pack begins, and its position in that pack's own mapped index. No Python set of ids is ever
built. The walk goes tree by tree, gathers the children of many trees, and looks them up in one
``searchsorted`` a pack. Packs with few objects share one merged table, so that ten thousand packs
of a long training cost no ten thousand searches a batch.

An object that stands in several packs is marked in one of them: the first in the order in which
the packs were given.
"""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from n4a_store.errors import CorruptionError
from n4a_store.objects.children import packed_children
from n4a_store.objects.codec import decode_run
from n4a_store.objects.oid import OID_BYTES, BytesLike, Kind
from n4a_store.objects.trees import checked_children
from n4a_store.packs.reader import PackReader

__all__ = ["Marker", "Missing"]

_BATCH_CHILDREN = 65_536
_BATCH_TREES = 4_096
_LARGE_PACK = 16_384
_FEW_PACKS = 16  # so many are asked one by one sooner than by numpy
_ENTRY_BYTES = 1 + OID_BYTES
_BLOB = int(Kind.BLOB)

Bytes2D = NDArray[np.uint8]
Keys = NDArray[np.uint64]
Words = NDArray[np.uint64]
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Missing:
    """A child that no pack has, or an object that cannot be read.

    Args:
        oid: The object that is missing or damaged.
        parent: The object that names it, None for a root.
        reason: What is wrong with it.
    """

    oid: bytes
    parent: bytes | None
    reason: str


class _Pack:
    """One pack's index as numpy views over its mapping, and the place of its first object."""

    __slots__ = ("keys", "reader", "start", "tails")

    def __init__(self, reader: PackReader, start: int) -> None:
        self.reader = reader
        self.start = start
        index = reader.index
        self.keys: Keys = np.frombuffer(index.key_bytes, dtype="<u8")
        self.tails: Words = np.frombuffer(index.tail_bytes, dtype="<u8").reshape(-1, 3)


def _split(oids: Bytes2D) -> tuple[Keys, Words]:
    """The first 8 bytes as the index orders them, and the others, to be compared as words."""
    words = oids.view("<u8")
    return words[:, 0].byteswap(), words[:, 1:]


class Marker:
    """Marks over a list of packs; more roots, and more packs, may be added as one goes.

    Args:
        packs: Ids and readers, those to be preferred first.
        is_strict: Whether each tree and run is held against its one canonical encoding on the way,
            and noted if it is sound: a full check then need not read it again.
    """

    def __init__(self, packs: Iterable[tuple[str, PackReader]], *, is_strict: bool = False) -> None:
        self._packs: list[_Pack] = []
        self._starts: list[int] = []
        self._known: dict[str, int] = {}
        self._large: list[int] = []
        self._marks: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)
        self._sound: NDArray[np.bool_] | None = np.zeros(0, np.bool_) if is_strict else None
        self._kinds: NDArray[np.uint8] = np.zeros(0, dtype=np.uint8)
        # The objects of all small packs, sorted: first 8 bytes, the others, and the place.
        self._keys: Keys = np.zeros(0, dtype="<u8")
        self._tails: Words = np.zeros((0, 3), dtype="<u8")
        self._places: Places = np.zeros(0, dtype=np.int64)
        self.missing: list[Missing] = []
        self.add_packs(packs)

    def add_packs(self, packs: Iterable[tuple[str, PackReader]]) -> None:
        """Learn of more packs."""
        keys, tails, places, kinds = [self._keys], [self._tails], [self._places], [self._kinds]
        start = len(self._marks)
        fresh = [(pack_id, reader) for pack_id, reader in packs if pack_id not in self._known]
        if not fresh:
            return
        for pack_id, reader in fresh:
            number = len(self._packs)
            self._known[pack_id] = number
            pack = _Pack(reader, start)
            self._packs.append(pack)
            self._starts.append(start)
            kinds.append(np.frombuffer(reader.index.kinds, dtype=np.uint8))
            if len(reader) >= _LARGE_PACK:
                self._large.append(number)
            else:
                keys.append(pack.keys)
                tails.append(pack.tails)
                places.append(np.arange(start, start + len(reader)))
            start += len(reader)
        self._kinds = np.concatenate(kinds)
        self._marks = _grown(self._marks, start)
        if self._sound is not None:
            self._sound = _grown(self._sound, start)
        if len(keys) > 1:
            merged = np.concatenate(keys)
            order = np.argsort(merged, kind="stable")
            self._keys = merged[order]
            self._tails = np.concatenate(tails)[order]
            self._places = np.concatenate(places)[order]

    def __contains__(self, pack_id: object) -> bool:
        return pack_id in self._known

    @property
    def pack_ids(self) -> list[str]:
        """The packs it knows."""
        return list(self._known)

    def marks(self, pack_id: str) -> NDArray[np.bool_]:
        """The marks of a pack, by position in its index; to be asked for again after more packs."""
        return self._marks[self._span(pack_id)]

    def sound(self, pack_id: str) -> NDArray[np.bool_]:
        """What a strict walk has read in a pack and found sound, by position in its index."""
        assert self._sound is not None, "only a strict walk looks"
        return self._sound[self._span(pack_id)]

    def _span(self, pack_id: str) -> slice:
        pack = self._packs[self._known[pack_id]]
        return slice(pack.start, pack.start + len(pack.reader))

    def reader(self, pack_id: str) -> PackReader:
        """The reader of a pack."""
        return self._packs[self._known[pack_id]].reader

    @property
    def marked(self) -> int:
        """How many objects are marked."""
        return int(np.count_nonzero(self._marks))

    def marked_too(self) -> Marker:
        """Another marker over the same packs, with the same marks, to be marked further."""
        other = copy.copy(self)
        other._packs, other._starts = list(self._packs), list(self._starts)
        other._known, other._large = dict(self._known), list(self._large)
        other._marks = self._marks.copy()
        other.missing = list(self.missing)
        return other

    def is_marked(self, oid: bytes) -> bool:
        """Whether an object is marked in any pack."""
        if len(self._packs) > _FEW_PACKS:
            return bool(self.marked_among((oid,)))
        for pack in self._packs:
            position = pack.reader.find(oid)
            if position >= 0 and self._marks[pack.start + position]:
                return True
        return False

    def marked_among(self, oids: Sequence[bytes]) -> set[int]:
        """The places in ``oids`` of those that are marked, in the pack in which they were found."""
        if not oids:
            return set()
        packed: Bytes2D = np.frombuffer(b"".join(oids), dtype=np.uint8).reshape(-1, OID_BYTES)
        found = self._find_many(packed)
        there = np.flatnonzero(found >= 0)
        return set(there[self._marks[found[there]]].tolist())

    def locate(self, oid: bytes) -> tuple[PackReader, int] | None:
        """A pack that has an object, and its position there."""
        if len(self._packs) > _FEW_PACKS:
            place = int(self._find_many(np.frombuffer(oid, dtype=np.uint8).reshape(1, -1))[0])
            return None if place < 0 else self._reader_at(place)
        for pack in self._packs:
            position = pack.reader.find(oid)
            if position >= 0:
                return pack.reader, position
        return None

    # --- the walk -----------------------------------------------------------------------------

    def mark(
        self,
        roots: Iterable[tuple[int, bytes]],
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Mark everything that can be reached from ``roots`` (kind and id).

        What is missing or damaged goes to :attr:`missing`; the walk goes on beside it.

        Args:
            roots: Where to begin.
            progress: Called after each batch with how many objects became marked so far.

        Returns:
            How many objects became marked.
        """
        self._count = 0
        stack: list[int] = []
        for chunk in _chunks(roots, _BATCH_CHILDREN):
            packed = b"".join(bytes((kind,)) + oid for kind, oid in chunk)
            self._mark_children(packed, [None], [len(chunk)], stack)
        while stack:
            packed_children: list[bytes] = []
            parents: list[bytes | None] = []
            counts: list[int] = []
            total = 0
            while stack and total < _BATCH_CHILDREN and len(parents) < _BATCH_TREES:
                oid, children = self._children(stack.pop())
                if children:
                    packed_children.append(children)
                    parents.append(oid)
                    counts.append(len(children) // _ENTRY_BYTES)
                    total += counts[-1]
            if packed_children:
                self._mark_children(b"".join(packed_children), parents, counts, stack)
            if progress is not None:
                progress(self._count)
        return self._count

    def _reader_at(self, place: int) -> tuple[PackReader, int]:
        pack = self._packs[bisect_right(self._starts, place) - 1]
        return pack.reader, place - pack.start

    def _children(self, place: int) -> tuple[bytes, bytes]:
        """The children of a tree or run, packed as in a tree: 33 bytes each."""
        reader, position = self._reader_at(place)
        oid = reader.index.oid_at(position)
        try:
            kind, data = reader.read_at(position)
            if self._sound is not None:
                try:
                    children = _checked_children(kind, data)
                except CorruptionError:
                    pass  # who reads all of the pack says what is wrong with it
                else:
                    self._sound[place] = True
                    return oid, children
            return oid, packed_children(kind, data)
        except CorruptionError as error:
            self.missing.append(Missing(oid, None, str(error)))
            return oid, b""

    def _mark_children(
        self,
        packed: bytes,
        parents: Sequence[bytes | None],
        counts: Sequence[int],
        stack: list[int],
    ) -> None:
        rows: Bytes2D = np.frombuffer(packed, dtype=np.uint8).reshape(-1, _ENTRY_BYTES)
        kinds, oids = rows[:, 0], np.ascontiguousarray(rows[:, 1:])
        found = self._find_many(oids)
        lost = np.flatnonzero(found < 0)
        if len(lost):
            owner = np.repeat(np.arange(len(counts)), counts)
            for at in lost.tolist():
                parent = parents[int(owner[at])]
                self.missing.append(Missing(oids[at].tobytes(), parent, "missing"))
            kinds, found = kinds[found >= 0], found[found >= 0]
        wrong = self._kinds[found] != kinds
        if wrong.any():
            for place in np.unique(found[wrong]).tolist():
                reader, position = self._reader_at(place)
                oid = reader.index.oid_at(position)
                self.missing.append(Missing(oid, None, "of another kind than its parent says"))
        fresh = np.unique(found[~self._marks[found]])
        self._marks[fresh] = True
        self._count += len(fresh)
        stack.extend(fresh[self._kinds[fresh] != _BLOB].tolist())

    def _find_many(self, oids: Bytes2D) -> Places:
        """The place of each of ``oids``, -1 for one that stands nowhere."""
        keys, tails = _split(oids)
        found: Places = np.full(len(keys), -1, dtype=np.int64)
        self._find_in_table(keys, tails, found)
        # Sorted questions walk through an index once instead of jumping about in it.
        every = np.argsort(keys)
        for number in self._large:
            pack = self._packs[number]
            # Those that stand nowhere so far, or in a pack that comes after this one.
            order = every[(found[every] < 0) | (found[every] > pack.start)]
            if not len(order):
                continue
            at = np.searchsorted(pack.keys, keys[order])
            at[at == len(pack.keys)] = 0
            same = np.flatnonzero(pack.keys[at] == keys[order])
            rows, at = order[same], at[same]
            exact = (pack.tails[at] == tails[rows]).all(axis=1)
            found[rows[exact]] = pack.start + at[exact]
            # Ids that share their first 8 bytes stand side by side: rare, so one by one.
            for row in rows[~exact].tolist():
                position = pack.reader.find(oids[row].tobytes())
                if position >= 0:
                    found[row] = pack.start + position
        return found

    def _find_in_table(self, keys: Keys, tails: Words, found: Places) -> None:
        if not len(self._keys):
            return
        low = np.searchsorted(self._keys, keys, side="left")
        high = np.searchsorted(self._keys, keys, side="right")
        step = 0
        while True:
            # Equal keys: copies of one object in several packs, or a shared prefix.
            todo = np.flatnonzero((found < 0) & (low + step < high))
            if not len(todo):
                return
            at = low[todo] + step
            exact = (self._tails[at] == tails[todo]).all(axis=1)
            found[todo[exact]] = self._places[at[exact]]
            step += 1


def _checked_children(kind: int, data: BytesLike) -> bytes:
    if kind == Kind.TREE:
        return checked_children(data)
    return bytes((Kind.TREE,)) + decode_run(data).pipelines.raw


def _grown(flags: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    grown = np.zeros(size, dtype=np.bool_)
    grown[: len(flags)] = flags
    return grown


def _chunks(roots: Iterable[tuple[int, bytes]], size: int) -> Iterator[list[tuple[int, bytes]]]:
    chunk: list[tuple[int, bytes]] = []
    for root in roots:
        chunk.append(root)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk

"""The sorted index of a pack: from an object id to its entry in a microsecond, without parsing.

Sections, one after the other, for n objects sorted by id::

    fan-out   u32[2^bits]   how many ids begin with a value <= i in their first ``bits`` bits
    keys      u64[n]        the first 8 bytes of each id, read as a big-endian number
    tails     u8[24][n]     the other 24 bytes
    offsets   u64[n]        where the entry begins
    lengths   u64[n]        header, padding and stored bytes together
    kinds     u8[n]

All numbers are little-endian and every section starts at a multiple of 8, so that a mapped file
is searched in place. The fan-out has 65,536 slots, or 256 in packs of fewer than
:data:`SMALL_PACK` objects. A search that finds nothing proves nothing until the index has been
checked against its hash: see ``PackReader.verify_index``.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate, chain
from operator import add
from struct import Struct
from typing import TYPE_CHECKING

from n4a_store.errors import CorruptionError, UnsupportedFormatError
from n4a_store.objects.oid import OID_BYTES, BytesLike

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "SMALL_PACK",
    "Columns",
    "PackIndex",
    "encode_index",
    "ids_of",
    "index_bytes",
    "sorted_places",
]

SMALL_PACK = 16_384
_KEY_BYTES = 8
_TAIL_BYTES = OID_BYTES - _KEY_BYTES
_HEADS, _TAILS = Struct(f"{_KEY_BYTES}s"), Struct(f"{_TAIL_BYTES}s")
_PER_OBJECT = _KEY_BYTES + _TAIL_BYTES + 8 + 8 + 1

IndexRecord = tuple[bytes, int, int, int]
"""Object id, offset, entry length, kind."""


def fanout_bits_for(objects: int) -> int:
    """How many bits the fan-out of a pack of ``objects`` objects has."""
    return 8 if objects < SMALL_PACK else 16


def index_bytes(objects: int, fanout_bits: int) -> int:
    """How long the index of a pack of ``objects`` objects is."""
    return 4 * (1 << fanout_bits) + objects * _PER_OBJECT


def _little(values: array[int]) -> bytes:
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


class Columns:
    """What an index is made of, in the order in which it came: ids, offsets, lengths, kinds."""

    __slots__ = ("ids", "kinds", "lengths", "offsets")

    def __init__(self) -> None:
        self.ids = bytearray()
        self.offsets = array("Q")
        self.lengths = array("Q")
        self.kinds = bytearray()

    def __len__(self) -> int:
        return len(self.kinds)

    def append(self, oid: bytes, offset: int, length: int, kind: int) -> None:
        """Add the entry of an object."""
        self.ids += oid
        self.offsets.append(offset)
        self.lengths.append(length)
        self.kinds.append(kind)

    def each_id(self) -> list[bytes]:
        """The ids one by one."""
        data = bytes(self.ids)
        return [data[at : at + OID_BYTES] for at in range(0, len(data), OID_BYTES)]

    def cut(self, count: int) -> None:
        """Keep the first ``count`` entries; what was added half-way goes as well."""
        del self.ids[count * OID_BYTES :], self.offsets[count:]
        del self.lengths[count:], self.kinds[count:]


def encode_index(columns: Columns) -> bytes:
    """The index of some entries, which hold no id twice."""
    sections = _small_sections if len(columns) < SMALL_PACK else _large_sections
    return b"".join(sections(columns))


def _small_sections(columns: Columns) -> Iterator[bytes]:
    ids = columns.each_id()
    order = sorted(range(len(ids)), key=ids.__getitem__)
    ids.sort()
    data = b"".join(ids)
    counts = [0] * 256
    for first in data[::OID_BYTES]:
        counts[first] += 1
    yield _little(array("I", accumulate(counts)))
    keys = array("Q", data)[:: OID_BYTES // _KEY_BYTES]
    keys.byteswap()  # a number's little-endian bytes are its big-endian ones from behind
    yield keys.tobytes()
    yield b"".join([oid[_KEY_BYTES:] for oid in ids])
    offsets, lengths, kinds = columns.offsets, columns.lengths, columns.kinds
    yield _little(array("Q", [offsets[at] for at in order]))
    yield _little(array("Q", [lengths[at] for at in order]))
    yield bytes([kinds[at] for at in order])


def _large_sections(columns: Columns) -> Iterator[bytes]:
    """The same by numpy, which sorts a large pack in a seventh of the time.

    It is imported here, so that a command that writes a blob need not wait for it.
    """
    import numpy as np

    count = len(columns)
    ids = np.frombuffer(columns.ids, dtype=np.uint8).reshape(count, OID_BYTES)
    order = sorted_places(ids)
    words = ids.view(">u8")[order]
    keys = words[:, 0].astype("<u8")
    slots = 1 << fanout_bits_for(count)
    first = np.arange(1, slots, dtype="<u8") << np.uint64(64 - fanout_bits_for(count))
    yield np.searchsorted(keys, first).astype("<u4").tobytes()
    yield np.uint32(count).astype("<u4").tobytes()
    yield keys.tobytes()
    yield words[:, 1:].tobytes()
    for column in (columns.offsets, columns.lengths, columns.kinds):
        yield np.asarray(column)[order].tobytes()


def sorted_places(ids: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The places of ids, shape (ids, 32), in the order of the ids; equal ones stay in theirs."""
    import numpy as np

    words = ids.view(">u8")
    order: NDArray[np.int64] = np.argsort(words[:, 0], kind="stable")
    heads = words[order, 0]
    if (heads[1:] == heads[:-1]).any():  # ids that share their first 8 bytes
        order = np.lexsort(words.T[::-1])
    return order


def ids_of(data: BytesLike, objects: int, fanout_bits: int) -> list[bytes]:
    """All ids in the bytes of an index, in order, without making a search of it.

    Raises:
        CorruptionError: ``data`` has another length.
    """
    _check(data, objects, fanout_bits)
    keys = 4 << fanout_bits
    tails = keys + _KEY_BYTES * objects
    view = memoryview(data)
    return _joined(view[keys:tails], view[tails : tails + _TAIL_BYTES * objects])


def _joined(key_bytes: memoryview, tails: memoryview) -> list[bytes]:
    keys = array("Q", bytes(key_bytes))
    keys.byteswap()
    # No line of Python for each id: whoever asks for one object may look through all packs.
    heads = chain.from_iterable(_HEADS.iter_unpack(keys.tobytes()))
    return list(map(add, heads, chain.from_iterable(_TAILS.iter_unpack(tails))))


def _check(data: BytesLike, objects: int, fanout_bits: int) -> None:
    if sys.byteorder == "big":
        raise UnsupportedFormatError("packs are searched in place on little-endian hosts only")
    if len(data) != index_bytes(objects, fanout_bits):
        raise CorruptionError("the index length disagrees with the number of objects")


class PackIndex:
    """A search over the bytes of an index, usually mapped from a file.

    Args:
        data: Exactly the bytes of the index.
        objects: How many objects it holds.
        fanout_bits: 8 or 16.

    Raises:
        CorruptionError: ``data`` has another length.
    """

    __slots__ = (
        "_fanout",
        "_keys",
        "_shift",
        "_tails",
        "key_bytes",
        "kinds",
        "length_bytes",
        "lengths",
        "objects",
        "offsets",
    )

    def __init__(self, data: memoryview, objects: int, fanout_bits: int) -> None:
        _check(data, objects, fanout_bits)
        at = 4 << fanout_bits
        self.objects = objects
        self._shift = 16 - fanout_bits
        self._fanout = data[:at].cast("I")
        self.key_bytes = data[at : at + 8 * objects]
        self._keys = self.key_bytes.cast("Q")
        at += 8 * objects
        self._tails = data[at : at + _TAIL_BYTES * objects]
        at += _TAIL_BYTES * objects
        self.offsets = data[at : at + 8 * objects].cast("Q")
        at += 8 * objects
        self.length_bytes = data[at : at + 8 * objects]
        self.lengths = self.length_bytes.cast("Q")
        self.kinds = data[at + 8 * objects :]

    @property
    def tail_bytes(self) -> memoryview:
        """The last 24 bytes of each id, one after the other."""
        return self._tails

    def find(self, oid: bytes) -> int:
        """The position of ``oid``, or -1."""
        slot = ((oid[0] << 8) | oid[1]) >> self._shift
        fanout = self._fanout
        low = fanout[slot - 1] if slot else 0
        high = min(fanout[slot], self.objects)
        if low >= high:
            return -1
        key = int.from_bytes(oid[:_KEY_BYTES], "big")
        keys = self._keys
        at = bisect_left(keys, key, low, high)
        tail = oid[_KEY_BYTES:]
        while at < high and keys[at] == key:
            if self._tails[_TAIL_BYTES * at : _TAIL_BYTES * (at + 1)] == tail:
                return at
            at += 1
        return -1

    def is_at(self, position: int, oid: bytes) -> bool:
        """Whether the id at ``position`` is ``oid``."""
        tail = self._tails[_TAIL_BYTES * position : _TAIL_BYTES * (position + 1)]
        return tail == oid[_KEY_BYTES:] and self._keys[position] == int.from_bytes(
            oid[:_KEY_BYTES], "big"
        )

    def oid_at(self, position: int) -> bytes:
        """The id at ``position``."""
        tail = self._tails[_TAIL_BYTES * position : _TAIL_BYTES * (position + 1)]
        return self._keys[position].to_bytes(_KEY_BYTES, "big") + bytes(tail)

    def oids(self) -> list[bytes]:
        """All ids, in order."""
        return _joined(self.key_bytes, self._tails)

    def prefix_range(self, prefix: bytes, odd_nibble: int | None = None) -> tuple[int, int]:
        """The positions of the ids that begin with ``prefix`` and then, maybe, half a byte."""
        low = prefix + (bytes((odd_nibble << 4,)) if odd_nibble is not None else b"")
        high = prefix + (bytes((odd_nibble << 4 | 0x0F,)) if odd_nibble is not None else b"")
        head = _KEY_BYTES
        first = int.from_bytes(low[:head].ljust(head, b"\0"), "big")
        last = int.from_bytes(high[:head].ljust(head, b"\xff"), "big")
        start = bisect_left(self._keys, first)
        stop = bisect_left(self._keys, last + 1, start) if last < 2**64 - 1 else self.objects
        return start, stop

    def records(self) -> Iterator[IndexRecord]:
        """All records, in order of id."""
        for position in range(self.objects):
            yield (
                self.oid_at(position),
                self.offsets[position],
                self.lengths[position],
                self.kinds[position],
            )

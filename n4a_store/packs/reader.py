"""Reading a pack from bytes, usually mapped: every payload is verified before it is returned.

Opening reads header and footer only. An entry is believed when its header's CRC holds, its id is
the one asked for, and its raw bytes hash to that id; anything else is a
:class:`CorruptionError` that names the object. Damage to one entry never hides another.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from blake3 import blake3

from n4a_store.errors import CorruptionError
from n4a_store.objects.oid import BytesLike, raw_hash
from n4a_store.packs.compression import decompress
from n4a_store.packs.delta import DeltaBase
from n4a_store.packs.entry import Codec, EntryHeader, decode_header
from n4a_store.packs.format import (
    FOOTER_BYTES,
    HEADER_BYTES,
    PACK_HASH_OFFSET,
    Footer,
    check_header,
)
from n4a_store.packs.index import PackIndex, fanout_bits_for, ids_of, index_bytes

__all__ = [
    "MOST_HOPS",
    "PackReader",
    "StoredObject",
    "decode_chained",
    "decode_entry",
    "end_bytes",
    "ids_from_ends",
    "scan_entries",
]


MOST_HOPS = 16
"""How many deltas may stand on one another below the one that is read. Every writer keeps to none;
before that was checked, merging compacted packs could make some."""

_KEPT_BASES = 32
_KEPT_BASE_BYTES = 8 * 1024 * 1024
_RAW, _DELTA = int(Codec.RAW), int(Codec.DELTA)  # to look up an enum's member takes time


class StoredObject(NamedTuple):
    """An object's entry as it stands in a pack, still encoded.

    Args:
        header: Its header.
        stored: Its stored bytes; a view into the pack.
    """

    header: EntryHeader
    stored: memoryview


def decode_entry(
    header: EntryHeader, stored: BytesLike, base: DeltaBase | None = None
) -> BytesLike:
    """The raw bytes of an entry, verified against its id.

    Args:
        header: Its header.
        stored: Its stored bytes. Those of a raw entry are what is returned.
        base: Of a delta, its base.

    Raises:
        CorruptionError: They are not what was stored.
    """
    try:
        if header.codec == _DELTA and base is not None:
            raw: BytesLike = base.decode(stored, header.raw_length)
        else:
            raw = decompress(header.codec, header.item_size, stored, header.raw_length)
    except CorruptionError as error:
        raise CorruptionError(f"object {header.oid.hex()[:12]} is damaged: {error}") from error
    if raw_hash(header.kind, raw) != header.oid:
        raise CorruptionError(
            f"object {header.oid.hex()[:12]} is damaged: its bytes do not hash to its id"
        )
    return raw


def decode_chained(header: EntryHeader, stored: BytesLike, base: DeltaBase) -> bytes:
    """A delta that is a base itself, not verified: what stands on it is.

    Raises:
        CorruptionError: It is damaged, or larger than its base. Compaction takes the largest
            object first, so none of ours is; and a chain inflates no further than one delta may.
    """
    if header.raw_length > base.size:
        raise CorruptionError("its base is a delta of something smaller")
    return base.decode(stored, header.raw_length)


def scan_entries(data: memoryview, limit: int) -> Iterator[EntryHeader]:
    """The entries of a pack in file order, without its index, up to the first unsound one."""
    at = HEADER_BYTES
    while at < limit:
        try:
            header = decode_header(data, at, limit)
        except CorruptionError:
            return
        yield header
        at = header.end


def end_bytes(objects: int) -> int:
    """How long the index and the footer of a pack of ``objects`` objects are."""
    return index_bytes(objects, fanout_bits_for(objects)) + FOOTER_BYTES


def ids_from_ends(first: bytes, last: bytes, size: int) -> list[bytes] | None:
    """The ids in a pack of ``size`` bytes, in order, by its first and its last bytes.

    None when the index begins before the last bytes do. As when a pack is opened, the index is not
    checked against its hash: an id that is read wrongly leads to an entry of another object.

    Raises:
        CorruptionError: They are not those of a whole pack.
        UnsupportedFormatError: It is of a later version.
    """
    check_header(first)
    footer = Footer.decode(last[-FOOTER_BYTES:], size)
    end = len(last) - FOOTER_BYTES
    start = end - footer.index_length
    if start < 0:
        return None
    return ids_of(last[start:end], footer.objects, footer.fanout_bits)


class PackReader:
    """A pack over its bytes.

    Args:
        data: All bytes of the pack.
        name: What errors call it.

    Raises:
        CorruptionError: It is not a whole pack.
        UnsupportedFormatError: It is of a later version.
    """

    __slots__ = ("_bases", "_entries_end", "_index_verified", "data", "footer", "index", "name")

    def __init__(self, data: memoryview, name: str) -> None:
        self.name = name
        self.data = data
        self._index_verified = False
        self._bases: dict[bytes, DeltaBase] = {}
        try:
            check_header(bytes(data[:HEADER_BYTES]))
            if len(data) < HEADER_BYTES + FOOTER_BYTES:
                raise CorruptionError("cut short")
            self.footer = Footer.decode(bytes(data[-FOOTER_BYTES:]), len(data))
            self._entries_end = start = self.footer.index_offset
            self.index = PackIndex(
                data[start : start + self.footer.index_length],
                self.footer.objects,
                self.footer.fanout_bits,
            )
        except CorruptionError as error:
            raise CorruptionError(
                f"pack {name}: {error}", hint="run: n4a-store fsck --full"
            ) from error

    def __len__(self) -> int:
        return self.footer.objects

    def find(self, oid: bytes) -> int:
        """The position of ``oid``, or -1. See :meth:`verify_index` before believing a -1."""
        return self.index.find(oid)

    def verify_index(self) -> None:
        """Check the index against its hash, once.

        Raises:
            CorruptionError: The index is damaged.
        """
        if not self._index_verified:
            start, length = self.footer.index_offset, self.footer.index_length
            if blake3(self.data[start : start + length]).digest() != self.footer.index_hash:
                raise CorruptionError(
                    f"pack {self.name}: its index is damaged", hint="run: n4a-store index-pack"
                )
            self._index_verified = True

    def verify_bytes(self) -> None:
        """Check every byte of the pack against its hash.

        Raises:
            CorruptionError: Some byte of the pack has changed.
        """
        covered = len(self.data) - FOOTER_BYTES + PACK_HASH_OFFSET
        if blake3(self.data[:covered]).digest() != self.footer.pack_hash:
            raise CorruptionError(f"pack {self.name}: its bytes have changed since it was written")

    def header_at(self, position: int) -> EntryHeader:
        """The header of the entry at ``position`` of the index.

        Raises:
            CorruptionError: The header is damaged or belongs to another object.
        """
        index = self.index
        try:
            header = decode_header(self.data, index.offsets[position], self._entries_end)
        except CorruptionError as error:
            raise CorruptionError(
                f"object {index.oid_at(position).hex()[:12]} in pack {self.name}: {error}",
                hint="run: n4a-store fsck --full",
            ) from error
        if not index.is_at(position, header.oid) or header.kind != index.kinds[position]:
            raise CorruptionError(
                f"object {index.oid_at(position).hex()[:12]} in pack {self.name}: the index leads "
                "to another entry",
                hint="run: n4a-store fsck --full",
            )
        return header

    def stored_at(self, position: int) -> StoredObject:
        """The entry at ``position``, still encoded."""
        header = self.header_at(position)
        start = header.payload
        return StoredObject(header, self.data[start : start + header.stored_length])

    def read_at(self, position: int) -> tuple[int, BytesLike]:
        """The kind and the verified raw bytes of the object at ``position``.

        Raw payloads come as a view into the pack, others as bytes.

        Raises:
            CorruptionError: They are not what was stored.
        """
        header = self.header_at(position)
        start = header.payload
        stored = self.data[start : start + header.stored_length]
        return header.kind, self._decoded(header, stored)

    def copy_at(self, position: int) -> tuple[int, BytesLike]:
        """As :meth:`read_at`, but nothing that is returned is part of the pack.

        A raw payload comes as a ``bytearray`` for the caller to write to. It is copied first and
        checked then, which takes no longer than checking it in place: what has been checked is
        the copy, whatever becomes of the page that it came from. Another payload comes as it was
        inflated, in a read-only view, for the caller to keep.

        Raises:
            CorruptionError: They are not what was stored.
        """
        header = self.header_at(position)
        start = header.payload
        stored = self.data[start : start + header.stored_length]
        if header.codec == _RAW:
            return header.kind, self._decoded(header, bytearray(stored))
        return header.kind, memoryview(self._decoded(header, stored)).toreadonly()

    def fetch(self, oid: bytes, position: int, *, own: bool) -> tuple[int, BytesLike] | None:
        """What :meth:`read_at` gives, or :meth:`copy_at` if it is to be one's ``own``, in one go.

        None when anything about the entry is not as it should be: those say what. Nothing is
        believed here that they would not believe.
        """
        index = self.index
        try:
            header = decode_header(self.data, index.offsets[position], self._entries_end)
            kind, codec = header.kind, header.codec
            if header.oid != oid or kind != index.kinds[position]:
                return None
            stored = self.data[header.payload : header.payload + header.stored_length]
            raw: BytesLike
            if codec == _RAW:
                if header.stored_length != header.raw_length or header.item_size:
                    return None
                raw = bytearray(stored) if own else stored
            else:
                if codec == _DELTA:
                    raw = self._base_of(header).decode(stored, header.raw_length)
                else:
                    raw = decompress(codec, header.item_size, stored, header.raw_length)
                if own:
                    raw = memoryview(raw).toreadonly()
        except CorruptionError:
            return None
        if raw_hash(kind, raw) != oid:
            return None
        return kind, raw

    def _decoded(self, header: EntryHeader, stored: BytesLike) -> BytesLike:
        try:
            if header.codec == _DELTA:
                return decode_entry(header, stored, self._base_of(header))
            return decode_entry(header, stored)
        except CorruptionError as error:
            raise CorruptionError(
                f"{error} (pack {self.name})", hint="run: n4a-store fsck --full"
            ) from error

    def _base_of(self, header: EntryHeader, hops: int = MOST_HOPS) -> DeltaBase:
        """What a delta was made against; those used last are kept.

        They need no check of their own: a wrong base gives bytes that fail the delta's own id.
        """
        assert header.base is not None
        kept = self._bases.pop(header.base, None)
        if kept is not None:
            self._bases[header.base] = kept  # at the end, as the one used last
            return kept
        try:
            raw = self._read_base(header.base, hops)
        except CorruptionError as error:
            raise CorruptionError(
                f"object {header.oid.hex()[:12]} is damaged, or the base of its delta is: {error}"
            ) from error
        base = DeltaBase(raw)
        self._bases[header.base] = base
        room, places = _KEPT_BASE_BYTES, _KEPT_BASES
        for oid, known in reversed(list(self._bases.items())):
            room, places = room - known.size, places - 1
            if room < 0 or places < 0:
                self._bases.pop(oid, None)  # another thread may have been faster
        return base

    def _read_base(self, oid: bytes, hops: int) -> BytesLike:
        position = self.find(oid)
        if position < 0:
            raise CorruptionError("its base is not in its pack")
        header, stored = self.stored_at(position)
        if header.codec != _DELTA:
            return decompress(header.codec, header.item_size, stored, header.raw_length)
        if not hops:
            raise CorruptionError("too many deltas stand on one another")
        return decode_chained(header, stored, self._base_of(header, hops - 1))

    def is_raw(self, position: int) -> bool:
        """Whether the object at ``position`` can be mapped in place."""
        return self.header_at(position).codec == _RAW

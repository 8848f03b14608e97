"""One object in a pack: a header that can be found and trusted without the index.

::

    u64      stored length
    u8       kind        1 blob, 2 tree, 3 run
    u8       codec       0 raw, 1 zstd, 2 byte-shuffle + zstd, 3 zstd against a base (delta)
    u8       item size of the shuffle, else 0
    u8       padding before the stored bytes, 0-63 zero bytes
    u64      raw length
    u8[32]   object id
    u32      CRC-32 of the 52 bytes above
    [u8[32]  base id, for codec 3]
    padding, stored bytes

The CRC lets a forward scan rebuild a lost index and tell an entry from the end of them. Payloads
stored raw and at least :data:`ALIGN_FROM` bytes long begin at a multiple of 64 in the file, so
that arrays can be mapped in place.
"""

from __future__ import annotations

import enum
import struct
import zlib
from typing import NamedTuple

from n4a_store.errors import CorruptionError
from n4a_store.objects.oid import OID_BYTES, BytesLike, Kind
from n4a_store.packs.format import ALIGNMENT

__all__ = [
    "ALIGN_FROM",
    "CODEC_OFFSET",
    "ENTRY_HEADER_BYTES",
    "Codec",
    "EntryHeader",
    "decode_header",
    "encode_header",
    "encode_tiny",
]

ALIGN_FROM = 1024
CODEC_OFFSET = 9
"""Where in an entry the byte of its codec stands."""
_FIELDS = struct.Struct("<QBBBBQ32s")
_CRC = struct.Struct("<I")
_HEADER = struct.Struct("<QBBBBQ32sI")
ENTRY_HEADER_BYTES = _HEADER.size
_KINDS = frozenset(int(kind) for kind in Kind)


class Codec(enum.IntEnum):
    """How the stored bytes become the raw ones."""

    RAW = 0
    ZSTD = 1
    SHUFFLE_ZSTD = 2
    DELTA = 3

    @property
    def label(self) -> str:
        """The name people read."""
        return self.name.lower().replace("_", "+")


_CODECS = frozenset(int(codec) for codec in Codec)
_RAW, _DELTA = int(Codec.RAW), int(Codec.DELTA)


class EntryHeader(NamedTuple):
    """The decoded header of one entry. A tuple: each read of an object makes one.

    Args:
        offset: Where the entry begins in its pack.
        payload: Where its stored bytes begin.
    """

    offset: int
    payload: int
    stored_length: int
    raw_length: int
    kind: int
    codec: int
    item_size: int
    oid: bytes
    base: bytes | None = None

    @property
    def end(self) -> int:
        """Where the next entry begins."""
        return self.payload + self.stored_length


def encode_tiny(kind: int, data: BytesLike, oid: bytes) -> bytes:
    """The whole entry of an object of fewer than :data:`ALIGN_FROM` bytes that is stored raw."""
    length = len(data)
    fields = _FIELDS.pack(length, kind, _RAW, 0, 0, length, oid)
    return b"".join((fields, _CRC.pack(zlib.crc32(fields)), data))


def encode_header(
    offset: int,
    kind: int,
    codec: int,
    item_size: int,
    stored_length: int,
    raw_length: int,
    oid: bytes,
    base: bytes | None = None,
) -> bytes:
    """The header of an entry that begins at ``offset``, its base id and padding included."""
    padding = 0
    if codec == _RAW and raw_length >= ALIGN_FROM:  # and then without a base: that is a delta's
        padding = -(offset + ENTRY_HEADER_BYTES) % ALIGNMENT
    fields = _FIELDS.pack(stored_length, kind, codec, item_size, padding, raw_length, oid)
    header = fields + _CRC.pack(zlib.crc32(fields))
    return header + (base or b"") + bytes(padding) if base or padding else header


def decode_header(data: BytesLike, offset: int, limit: int) -> EntryHeader:
    """The entry header at ``offset`` of the pack ``data``, whose entries end by ``limit``.

    Raises:
        CorruptionError: No sound entry begins there.
    """
    end = offset + ENTRY_HEADER_BYTES
    if offset < 0 or end > limit:
        raise CorruptionError(f"no pack entry at offset {offset}")
    stored, kind, codec, item_size, padding, raw_length, oid, crc = _HEADER.unpack_from(
        data, offset
    )
    if zlib.crc32(data[offset : end - _CRC.size]) != crc:
        raise CorruptionError(f"the pack entry at offset {offset} has a damaged header")
    if kind not in _KINDS or codec not in _CODECS or padding >= ALIGNMENT:
        raise CorruptionError(f"the pack entry at offset {offset} is of an unknown kind or codec")
    base = None
    if codec == _DELTA:
        base = bytes(data[end : end + OID_BYTES])
        end += OID_BYTES
    payload = end + padding
    if payload + stored > limit:
        raise CorruptionError(f"the pack entry at offset {offset} reaches beyond its pack")
    return EntryHeader(offset, payload, stored, raw_length, kind, codec, item_size, oid, base)

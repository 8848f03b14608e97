"""The pack layout as constants; docs/reference/formats/pack.md says the same in prose.

::

    header   "N4PK"  u8 version  u8[3] zero
    entry*   header (56 bytes, see ``entry``), [32-byte base id], padding, stored bytes
    padding  zero bytes up to a multiple of 64
    index    see ``index``
    footer   136 bytes, see below

All integers are little-endian. The footer, from its start::

    u64      number of objects
    u64      offset of the index
    u64      length of the index
    u64      sum of raw lengths
    u8       fan-out bits (8 or 16)
    u8[3]    zero
    u32      CRC-32 of the 36 bytes above
    u8[32]   BLAKE3 of the index
    u8[32]   BLAKE3 of everything before this field
    u8[24]   zero
    u8[8]    "N4PKEND\\n"
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from n4a_store.errors import CorruptionError, UnsupportedFormatError

__all__ = [
    "ALIGNMENT",
    "FOOTER_BYTES",
    "HEADER",
    "HEADER_BYTES",
    "PACK_VERSION",
    "Footer",
    "check_header",
]

MAGIC = b"N4PK"
END_MAGIC = b"N4PKEND\n"
PACK_VERSION = 1
HEADER = MAGIC + bytes((PACK_VERSION, 0, 0, 0))
HEADER_BYTES = len(HEADER)
ALIGNMENT = 64
_COUNTS = struct.Struct("<QQQQB3x")
_CRC = struct.Struct("<I")
_HASH_BYTES = 32
_PADDING = bytes(24)
FOOTER_BYTES = _COUNTS.size + _CRC.size + 2 * _HASH_BYTES + len(_PADDING) + len(END_MAGIC)
PACK_HASH_OFFSET = _COUNTS.size + _CRC.size + _HASH_BYTES
"""Where in the footer the hash of the whole pack stands; it covers all that comes before."""
FANOUT_BITS = (8, 16)


class Footer(NamedTuple):
    """What the end of a pack says about it. A tuple: each look into a pack makes one."""

    objects: int
    index_offset: int
    index_length: int
    raw_bytes: int
    fanout_bits: int
    index_hash: bytes
    pack_hash: bytes = bytes(_HASH_BYTES)

    def encode_head(self) -> bytes:
        """The footer up to the hash of the whole pack."""
        counts = _COUNTS.pack(
            self.objects, self.index_offset, self.index_length, self.raw_bytes, self.fanout_bits
        )
        return counts + _CRC.pack(zlib.crc32(counts)) + self.index_hash

    @staticmethod
    def encode_tail(pack_hash: bytes) -> bytes:
        """The rest of the footer."""
        return pack_hash + _PADDING + END_MAGIC

    @classmethod
    def decode(cls, data: bytes, pack_bytes: int) -> Footer:
        """The footer ``data`` of a pack that has ``pack_bytes`` bytes.

        Raises:
            CorruptionError: It is damaged, cut short or speaks of another length.
        """
        if len(data) != FOOTER_BYTES or not data.endswith(_PADDING + END_MAGIC):
            raise CorruptionError("no pack footer: cut short or damaged at its end")
        counts = data[: _COUNTS.size]
        (crc,) = _CRC.unpack_from(data, _COUNTS.size)
        if zlib.crc32(counts) != crc:
            raise CorruptionError("the pack footer is damaged")
        objects, index_offset, index_length, raw_bytes, bits = _COUNTS.unpack(counts)
        if bits not in FANOUT_BITS or index_offset + index_length + FOOTER_BYTES != pack_bytes:
            raise CorruptionError("the pack footer disagrees with the length of the pack")
        hashes = data[_COUNTS.size + _CRC.size :]
        return cls(
            objects,
            index_offset,
            index_length,
            raw_bytes,
            bits,
            hashes[:_HASH_BYTES],
            hashes[_HASH_BYTES : 2 * _HASH_BYTES],
        )


def check_header(data: bytes) -> None:
    """Refuse what does not begin like a pack of this version.

    Raises:
        CorruptionError: Not a pack.
        UnsupportedFormatError: A pack of a later version.
    """
    if len(data) < HEADER_BYTES or data[:4] != MAGIC:
        raise CorruptionError("not a pack: it does not begin with N4PK")
    if data[5:8] != bytes(3):
        raise CorruptionError("the pack header is damaged")
    if data[4] != PACK_VERSION:
        raise UnsupportedFormatError(
            f"a pack of version {data[4]}; this program reads version {PACK_VERSION}",
            hint="upgrade n4a_store",
        )

"""Entry headers: found and trusted without the index."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from n4a_store.errors import CorruptionError
from n4a_store.objects.oid import Kind
from n4a_store.packs.entry import (
    ALIGN_FROM,
    ENTRY_HEADER_BYTES,
    Codec,
    EntryHeader,
    decode_header,
    encode_header,
    encode_tiny,
)

OID = bytes(range(32))
BASE = bytes(range(32, 64))


@given(
    st.integers(0, 2**40),
    st.sampled_from(Kind),
    st.sampled_from(Codec),
    st.integers(0, 16),
    st.integers(0, 2**62),
    st.integers(0, 2**63),
    st.binary(min_size=32, max_size=32),
)
def test_round_trip(
    offset: int, kind: Kind, codec: Codec, item: int, stored: int, raw: int, oid: bytes
) -> None:
    base = BASE if codec is Codec.DELTA else None
    data = encode_header(offset, kind, codec, item, stored, raw, oid, base)
    header = decode_header(data, 0, 2**64)
    assert (header.kind, header.codec, header.item_size) == (kind, codec, item)
    assert (header.stored_length, header.raw_length) == (stored, raw)
    assert (header.oid, header.base) == (oid, base)
    assert header.payload == len(data)
    assert header.end == len(data) + stored
    if codec is Codec.RAW and raw >= ALIGN_FROM:
        assert (offset + len(data)) % 64 == 0
    else:
        assert len(data) == ENTRY_HEADER_BYTES + (32 if base else 0)


@given(st.sampled_from(Kind), st.binary(max_size=ALIGN_FROM - 1), st.integers(0, 2**40))
def test_a_tiny_entry_is_the_entry(kind: Kind, data: bytes, offset: int) -> None:
    size = len(data)
    header = encode_header(offset, kind, Codec.RAW, 0, size, size, OID)
    assert encode_tiny(kind, data, OID) == header + data
    assert encode_tiny(kind, memoryview(data), OID) == header + data


def test_golden_bytes() -> None:
    header = encode_header(8, Kind.TREE, Codec.ZSTD, 0, 5, 1000, OID)
    assert header.hex() == (
        "0500000000000000" "02" "01" "00" "00" "e803000000000000" + OID.hex() + "e7311f76"
    )  # fmt: skip
    aligned = encode_header(0, Kind.BLOB, Codec.RAW, 0, 1024, 1024, OID)
    assert aligned.hex() == (
        "0004000000000000" "01" "00" "00" "08" "0004000000000000"
        + OID.hex() + "d26a1b3c" + "00" * 8
    )  # fmt: skip
    delta = encode_header(64, Kind.BLOB, Codec.DELTA, 0, 9, 90, OID, BASE)
    assert delta.hex() == (
        "0900000000000000" "01" "03" "00" "00" "5a00000000000000"
        + OID.hex() + "abb44058" + BASE.hex()
    )  # fmt: skip


def test_every_changed_bit_of_a_header_is_damage() -> None:
    sound = encode_header(0, Kind.BLOB, Codec.ZSTD, 0, 10, 100, OID) + bytes(10)
    assert decode_header(sound, 0, len(sound)) == EntryHeader(0, 56, 10, 100, 1, 1, 0, OID)
    for position in range(ENTRY_HEADER_BYTES):
        for bit in range(8):
            damaged = bytearray(sound)
            damaged[position] ^= 1 << bit
            with pytest.raises(CorruptionError, match="offset 0"):
                decode_header(damaged, 0, len(damaged))


@pytest.mark.parametrize("offset", [-1, 1, 11, 66, 67, 2**63, 2**64 - 1])
def test_offsets_that_lead_out_of_the_pack_are_damage(offset: int) -> None:
    sound = encode_header(0, Kind.BLOB, Codec.ZSTD, 0, 10, 100, OID) + bytes(10)
    with pytest.raises(CorruptionError):
        decode_header(sound, offset, len(sound))


def test_an_entry_ends_within_its_pack() -> None:
    for codec, base in ((Codec.ZSTD, None), (Codec.DELTA, BASE)):
        sound = encode_header(0, Kind.BLOB, codec, 0, 10, 100, OID, base) + bytes(10)
        for limit in range(len(sound)):
            with pytest.raises(CorruptionError):
                decode_header(sound[:limit], 0, limit)
    huge = encode_header(0, Kind.BLOB, Codec.ZSTD, 0, 2**64 - 1, 100, OID)
    with pytest.raises(CorruptionError, match="beyond"):
        decode_header(huge, 0, len(huge))


@pytest.mark.parametrize(
    ("kind", "codec"), [(0, Codec.RAW), (4, Codec.RAW), (255, Codec.RAW), (1, 4), (1, 255)]
)
def test_unknown_kinds_and_codecs_with_a_good_checksum_are_damage(kind: int, codec: int) -> None:
    data = encode_header(0, kind, codec, 0, 0, 0, OID)
    with pytest.raises(CorruptionError, match="unknown kind or codec"):
        decode_header(data, 0, len(data))


@pytest.mark.parametrize("padding", [64, 255])
def test_more_padding_than_alignment_needs_is_damage(padding: int) -> None:
    fields = bytearray(encode_header(0, Kind.BLOB, Codec.ZSTD, 0, 0, 0, OID)[:-4])
    fields[11] = padding
    data = bytes(fields) + zlib.crc32(fields).to_bytes(4, "little") + bytes(padding)
    with pytest.raises(CorruptionError, match="unknown kind or codec"):
        decode_header(data, 0, len(data))


@given(st.binary(max_size=120), st.integers(-5, 120))
def test_arbitrary_bytes_are_damage(data: bytes, offset: int) -> None:
    with pytest.raises(CorruptionError):
        decode_header(data, offset, len(data))

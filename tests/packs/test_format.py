"""The pack's head and foot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from n4a_store.errors import CorruptionError, UnsupportedFormatError
from n4a_store.packs.format import (
    FOOTER_BYTES,
    HEADER,
    HEADER_BYTES,
    PACK_HASH_OFFSET,
    Footer,
    check_header,
)

FOOTER = Footer(2, 64, 1122, 300, 8, b"i" * 32, b"p" * 32)


def encode(footer: Footer) -> bytes:
    return footer.encode_head() + Footer.encode_tail(footer.pack_hash)


def length(footer: Footer) -> int:
    return footer.index_offset + footer.index_length + FOOTER_BYTES


U64 = st.integers(0, 2**64 - 1)
HASH = st.binary(min_size=32, max_size=32)


@given(U64, U64, U64, U64, st.sampled_from([8, 16]), HASH, HASH)
def test_round_trip(
    objects: int, offset: int, size: int, raw: int, bits: int, index_hash: bytes, pack_hash: bytes
) -> None:
    footer = Footer(objects, offset, size, raw, bits, index_hash, pack_hash)
    assert Footer.decode(encode(footer), length(footer)) == footer


def test_golden_bytes() -> None:
    assert HEADER.hex() == "4e34504b01000000"
    assert (HEADER_BYTES, FOOTER_BYTES, PACK_HASH_OFFSET) == (8, 136, 72)
    assert encode(FOOTER).hex() == (
        "0200000000000000" + "4000000000000000" + "6204000000000000" + "2c01000000000000"
        + "08000000" + "dbb0fae3" + "69" * 32 + "70" * 32 + "00" * 24 + b"N4PKEND\n".hex()
    )  # fmt: skip


def test_every_changed_bit_outside_the_two_hashes_is_damage() -> None:
    sound = encode(FOOTER)
    hashes = range(40, 40 + 64)
    for position in range(FOOTER_BYTES):
        for bit in range(8):
            damaged = bytearray(sound)
            damaged[position] ^= 1 << bit
            if position in hashes:
                found = Footer.decode(bytes(damaged), length(FOOTER))
                assert (found.index_hash, found.pack_hash) != (b"i" * 32, b"p" * 32)
            else:
                with pytest.raises(CorruptionError):
                    Footer.decode(bytes(damaged), length(FOOTER))


def test_a_footer_of_a_pack_of_another_length_is_damage() -> None:
    for change in (-1, 1, 2**40):
        with pytest.raises(CorruptionError, match="length"):
            Footer.decode(encode(FOOTER), length(FOOTER) + change)
    with pytest.raises(CorruptionError, match="disagrees"):
        Footer.decode(encode(Footer(0, 0, 0, 0, 9, bytes(32))), FOOTER_BYTES)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_damage(data: bytes) -> None:
    with pytest.raises(CorruptionError):
        Footer.decode(data, 1000)
    if not data.startswith(b"N4PK"):
        with pytest.raises(CorruptionError):
            check_header(data)


def test_the_head_says_what_it_is_and_which_version() -> None:
    check_header(HEADER)
    for cut in range(HEADER_BYTES):
        with pytest.raises(CorruptionError):
            check_header(HEADER[:cut])
    for position in (0, 1, 2, 3, 5, 6, 7):
        damaged = bytearray(HEADER)
        damaged[position] ^= 1
        with pytest.raises(CorruptionError):
            check_header(bytes(damaged))
    with pytest.raises(UnsupportedFormatError, match="version 2") as caught:
        check_header(b"N4PK\x02\0\0\0")
    assert caught.value.hint == "upgrade n4a_store"

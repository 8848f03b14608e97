"""Reading all of a pack says of every object what reading it by itself says."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest

from n4a_store.errors import CorruptionError
from n4a_store.objects.oid import Kind, raw_hash
from n4a_store.packs.entry import Codec
from n4a_store.packs.reader import PackReader
from n4a_store.packs.sweep import read_all
from n4a_store.packs.writer import PackWriter
from tests.packs.written import write

NOISE = random.Random(3).randbytes(3000)
NUMBERS = struct.pack("<600q", *(random.Random(n).getrandbits(30) for n in range(600)))
SAMPLES = [
    (Kind.BLOB, b"", 1),
    (Kind.BLOB, b"short", 1),
    (Kind.TREE, b"a tree", 1),
    (Kind.RUN, b"a run", 1),
    (Kind.BLOB, NOISE, 1),  # raw and aligned
    (Kind.BLOB, b"text " * 300, 1),  # zstd
    (Kind.BLOB, NUMBERS, 8),  # shuffle
]


def one_by_one(reader: PackReader) -> dict[int, object]:
    found: dict[int, object] = {}
    for position in range(len(reader)):
        try:
            kind, data = reader.read_at(position)
            found[position] = (kind, bytes(data))
        except CorruptionError as error:
            found[position] = str(error)
    return found


def swept(reader: PackReader) -> dict[int, object]:
    return {
        position: str(data) if isinstance(data, CorruptionError) else (kind, bytes(data))
        for position, kind, data in read_all(reader)
    }


def test_a_sound_pack_is_read_whole_in_the_order_of_the_file() -> None:
    reader = PackReader(memoryview(write(SAMPLES)[0]), "p")
    assert swept(reader) == one_by_one(reader)
    assert len(swept(reader)) == len(SAMPLES)
    offsets = [reader.index.offsets[position] for position, _, _ in read_all(reader)]
    assert offsets == sorted(offsets)


def test_what_was_verified_already_is_not_read() -> None:
    reader = PackReader(memoryview(write(SAMPLES)[0]), "p")
    skip = np.zeros(len(SAMPLES), dtype=np.bool_)
    skip[[1, 4]] = True
    assert {at for at, _, _ in read_all(reader, skip)} == {0, 2, 3, 5, 6}
    assert list(read_all(reader, np.ones(len(SAMPLES), dtype=np.bool_))) == []


def test_an_empty_pack_holds_nothing() -> None:
    assert list(read_all(PackReader(memoryview(write([])[0]), "p"))) == []


def test_more_objects_than_are_looked_at_together() -> None:
    many = [(Kind.BLOB, b"%d" % number, 1) for number in range(20_000)]
    reader = PackReader(memoryview(write(many)[0]), "p")
    assert sorted(bytes(data) for _, _, data in read_all(reader)) == sorted(d for _, d, _ in many)  # type: ignore[arg-type]


def test_whatever_byte_is_flipped_both_ways_find_the_same() -> None:
    good, _ = write(SAMPLES)
    reader = PackReader(memoryview(good), "p")
    end = reader.footer.index_offset + reader.footer.index_length
    damaged = 0
    for place in range(16, end):
        data = bytearray(good)
        data[place] ^= 1 + place % 255
        other = PackReader(memoryview(data), "p")
        expected = one_by_one(other)
        assert swept(other) == expected, f"byte {place}"
        damaged += any(isinstance(found, str) for found in expected.values())
    assert damaged > end // 2


@pytest.mark.parametrize("offset", [0, 2**31, 2**63, 2**64 - 1])
def test_an_index_that_leads_out_of_the_pack_is_damage(offset: int) -> None:
    data = bytearray(write(SAMPLES)[0])
    reader = PackReader(memoryview(data), "p")
    at = reader.footer.index_offset + 4 * 256 + 32 * len(reader)
    data[at : at + 8] = offset.to_bytes(8, "little")
    other = PackReader(memoryview(data), "p")
    assert isinstance(one_by_one(other)[0], str)
    assert swept(other) == one_by_one(other)


def test_a_payload_under_another_id_is_damage() -> None:
    out = bytearray()
    writer = PackWriter(out.extend)
    writer.add(raw_hash(Kind.BLOB, b"one"), Kind.BLOB, b"other")
    writer.seal()
    [(_, _, found)] = read_all(PackReader(memoryview(out), "p"))
    assert isinstance(found, CorruptionError)
    assert "do not hash to its id" in str(found)


def test_an_entry_that_no_reader_takes_is_damage_although_its_bytes_are_sound() -> None:
    out = bytearray()
    writer = PackWriter(out.extend)
    writer.add_stored(raw_hash(Kind.BLOB, b"one"), Kind.BLOB, Codec.RAW, 8, b"one", 3)
    writer.seal()
    reader = PackReader(memoryview(out), "p")
    assert isinstance(one_by_one(reader)[0], str), "raw, and yet to be unshuffled"
    assert swept(reader) == one_by_one(reader)
    assert reader.fetch(raw_hash(Kind.BLOB, b"one"), 0, own=False) is None

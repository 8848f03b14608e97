"""Deltas come back exactly, find their base by content, and are refused when they lie."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from n4a_store import CorruptionError, Kind
from n4a_store.objects.oid import raw_hash
from n4a_store.packs.delta import DeltaBase, DeltaEncoder, _smallest, sketch
from n4a_store.packs.entry import Codec
from n4a_store.packs.reader import MOST_HOPS, PackReader
from n4a_store.packs.writer import PackWriter

RNG = np.random.default_rng(7)
BASE = RNG.normal(size=(300, 10)).tobytes()
CHAIN = (BASE, BASE[:15_000] + b"and more", BASE[:12_000] + b"and less")


@given(st.binary(max_size=2_000), st.binary(max_size=2_000))
def test_round_trip(data: bytes, base: bytes) -> None:
    assert DeltaBase(base).decode(DeltaEncoder(base).encode(data), len(data)) == data


@given(st.integers(0, 400), st.integers(1, 255))
def test_damage_is_noticed_or_harmless_never_a_crash(at: int, flip: int) -> None:
    data = BASE[:3_000] + b"tail"
    stored = bytearray(DeltaEncoder(BASE).encode(data))
    stored[at % len(stored)] ^= flip
    with contextlib.suppress(CorruptionError):
        assert len(DeltaBase(BASE).decode(bytes(stored), len(data))) == len(data)


def test_what_is_shared_costs_little() -> None:
    data = BASE[800:20_000] + RNG.normal(size=20).tobytes()
    assert len(DeltaEncoder(BASE).encode(data)) < 400


def test_one_base_serves_many_objects() -> None:
    encoder, decoder = DeltaEncoder(BASE), DeltaBase(BASE)
    for cut in (0, 8, 4_000, 23_000, 24_000):
        data = BASE[cut:] + b"more"
        assert decoder.decode(encoder.encode(data), len(data)) == data
    assert encoder.size > len(BASE)


@pytest.mark.parametrize("count", [3, 96, 97, 383, 384, 385, 5_000])
@pytest.mark.parametrize("spread", [1, 1 << 20, 1 << 40])
def test_the_smallest_hashes_are_found_however_they_are_spread(count: int, spread: int) -> None:
    """They are looked for below a bound, where too few may lie, or all of them."""
    hashes = RNG.integers(0, 1 << 63, count, dtype=np.uint64) * np.uint64(2) // np.uint64(spread)
    for these in (hashes, ~hashes, np.zeros_like(hashes)):
        assert sorted(_smallest(these, 96)) == sorted(these)[:96]


def test_features_are_shared_wherever_the_content_stands() -> None:
    moved = RNG.normal(size=50).tobytes() + BASE[:20_000]
    stranger = RNG.normal(size=(300, 10)).tobytes()
    mine = set(sketch(BASE))
    assert len(mine & set(sketch(moved))) >= 12
    assert not mine & set(sketch(stranger))


def test_repeated_words_do_not_crowd_out_the_others() -> None:
    sparse = RNG.normal(size=2_000)
    sparse[RNG.random(2_000) < 0.6] = 0.0
    assert len(sketch(sparse.tobytes())) >= 20


@pytest.mark.parametrize("data", [b"", b"x", b"12345678", bytes(8_000)])
def test_small_and_dull_content_has_few_features(data: bytes) -> None:
    assert len(sketch(data)) <= 1


def test_a_declared_length_is_checked_before_anything_is_inflated() -> None:
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(80_000_000))
    with pytest.raises(CorruptionError, match="refused"):
        DeltaBase(b"base").decode(bomb, 80_000_000)
    with pytest.raises(CorruptionError, match="declares"):
        DeltaBase(b"base").decode(DeltaEncoder(b"base").encode(b"abc" * 100), 1 << 40)
    with pytest.raises(CorruptionError, match="not a zstd frame"):
        DeltaBase(b"base").decode(b"nonsense", 8)


def test_threads_share_a_base() -> None:
    variants = [BASE[:cut] + bytes(200) for cut in range(10_000, 26_000, 1_000)]
    base = DeltaBase(BASE)
    jobs = [(DeltaEncoder(BASE).encode(data), data) for data in variants] * 20

    def undo(job: tuple[bytes, bytes]) -> bool:
        return base.decode(job[0], len(job[1])) == job[1]

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(undo, jobs))


def pack(base_is_there: bool = True) -> tuple[PackReader, bytes, bytes]:
    """A pack of a base and a delta; the reader, and the ids of both."""
    sink = bytearray()
    writer = PackWriter(sink.extend)
    data = BASE[:15_000] + b"and more"
    base_oid, oid = raw_hash(Kind.BLOB, BASE), raw_hash(Kind.BLOB, data)
    writer.add(base_oid, Kind.BLOB, BASE, 8)
    delta = DeltaEncoder(BASE).encode(data)
    writer.add_stored(oid, Kind.BLOB, Codec.DELTA, 8, delta, len(data), base_oid)
    writer.seal()
    return PackReader(memoryview(bytes(sink)), "test"), base_oid, oid


def test_a_delta_in_a_pack() -> None:
    reader, base_oid, oid = pack()
    header = reader.header_at(reader.find(oid))
    assert (header.codec, header.base, header.item_size) == (Codec.DELTA, base_oid, 8)
    for _ in range(2):
        assert bytes(reader.read_at(reader.find(oid))[1]) == BASE[:15_000] + b"and more"
    assert len(reader.data) < len(BASE) + 3_000


def test_a_base_must_be_in_the_pack() -> None:
    writer = PackWriter(bytearray().extend)
    with pytest.raises(ValueError, match="base"):
        writer.add_stored(b"1" * 32, Kind.BLOB, Codec.DELTA, 1, b"", 0, b"2" * 32)


def test_a_base_must_not_be_a_delta_itself() -> None:
    writer = PackWriter(bytearray().extend)
    oids = [raw_hash(Kind.BLOB, data) for data in CHAIN]
    writer.add(oids[0], Kind.BLOB, CHAIN[0])
    put_delta(writer, CHAIN[1], CHAIN[0])
    assert [writer.can_be_base(oid) for oid in oids] == [True, False, False]
    writer.add(oids[1], Kind.BLOB, CHAIN[1])  # there already, as a delta
    with pytest.raises(ValueError, match="no delta itself"):
        put_delta(writer, CHAIN[2], CHAIN[1])
    assert oids[2] not in writer


def put_delta(writer: PackWriter, data: bytes, base: bytes) -> None:
    oid, base_oid = raw_hash(Kind.BLOB, data), raw_hash(Kind.BLOB, base)
    delta = DeltaEncoder(base).encode(data)
    writer.add_stored(oid, Kind.BLOB, Codec.DELTA, 8, delta, len(data), base_oid)


def chain(parts: list[bytes]) -> PackReader:
    """A pack in which each part but the first is a delta of the one before it."""
    sink = bytearray()
    writer = PackWriter(sink.extend)
    writer.add(raw_hash(Kind.BLOB, parts[0]), Kind.BLOB, parts[0], 8)
    for base, data in pairwise(parts):
        put_delta(writer, data, base)
        writer._deltas.recent.clear()  # as if it did not know
    writer.seal()
    return PackReader(memoryview(bytes(sink)), "chain")


def test_what_was_written_as_a_chain_is_read_within_a_bound() -> None:
    parts = [BASE[8 * cut :] for cut in range(MOST_HOPS + 3)]
    reader = chain(parts)
    found = [reader.find(raw_hash(Kind.BLOB, part)) for part in parts]
    for part, position in zip(parts[:-1], found, strict=False):
        assert bytes(PackReader(reader.data, "new").read_at(position)[1]) == part
    with pytest.raises(CorruptionError, match="too many deltas"):
        PackReader(reader.data, "new").read_at(found[-1])


def test_a_chain_inflates_no_further_than_one_delta() -> None:
    data = [BASE, BASE + bytes(8), BASE[:9_000]]
    reader = chain(data)
    assert bytes(reader.read_at(reader.find(raw_hash(Kind.BLOB, data[1])))[1]) == data[1]
    with pytest.raises(CorruptionError, match="something smaller"):
        reader.read_at(reader.find(raw_hash(Kind.BLOB, data[2])))


def test_every_flipped_byte_of_a_delta_or_its_base_is_noticed() -> None:
    reader, base_oid, oid = pack()
    header = reader.header_at(reader.find(oid))
    start = header.offset
    right = bytes(reader.read_at(reader.find(oid))[1])
    for at in range(start, header.end):
        data = bytearray(reader.data)
        data[at] ^= 0x10
        hurt = PackReader(memoryview(bytes(data)), "hurt")
        with pytest.raises(CorruptionError, match="bytes have changed"):
            hurt.verify_bytes()
        # Some bits of a zstd frame decide nothing; but wrong bytes never come back.
        with contextlib.suppress(CorruptionError):
            assert bytes(hurt.read_at(hurt.find(oid))[1]) == right
    data = bytearray(reader.data)
    data[reader.header_at(reader.find(base_oid)).payload + 9] ^= 1
    hurt = PackReader(memoryview(bytes(data)), "hurt")
    with pytest.raises(CorruptionError, match=oid.hex()[:12]):
        hurt.read_at(hurt.find(oid))

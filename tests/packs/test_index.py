"""The index: every id is found where it is, and no other is."""

from __future__ import annotations

import random

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from n4a_store.errors import CorruptionError
from n4a_store.packs.index import (
    SMALL_PACK,
    Columns,
    PackIndex,
    encode_index,
    fanout_bits_for,
    index_bytes,
)

Record = tuple[bytes, int, int, int]


def columns_of(records: list[Record]) -> Columns:
    columns = Columns()
    for record in records:
        columns.append(*record)
    return columns


def index_of(records: list[Record]) -> PackIndex:
    data = encode_index(columns_of(records))
    bits = fanout_bits_for(len(records))
    assert len(data) == index_bytes(len(records), bits)
    return PackIndex(memoryview(data), len(records), bits)


def some(count: int, seed: int = 1) -> list[Record]:
    source = random.Random(seed)
    return sorted((source.randbytes(32), n * 64, 64 + n, 1 + n % 3) for n in range(count))


@pytest.mark.parametrize("count", [0, 1, 2, 255, 16_383, 16_384, 20_000])
def test_every_id_is_found_and_its_neighbours_are_not(count: int) -> None:
    records = some(count)
    index = index_of(records)
    assert index.objects == count
    assert index.oids() == [record[0] for record in records]
    for position in {0, 1, count // 2, count - 2, count - 1, *range(0, count, 97)}:
        if not 0 <= position < count:
            continue
        oid = records[position][0]
        assert index.find(oid) == position
        assert index.oid_at(position) == oid
        assert (
            oid,
            index.offsets[position],
            index.lengths[position],
            index.kinds[position],
        ) == records[position]
        last = oid[-1]
        assert index.find(oid[:-1] + bytes([last ^ 1])) == -1
        assert index.find(bytes([oid[0] ^ 1]) + oid[1:]) == -1
    for absent in (bytes(32), b"\xff" * 32, b"\x80" + bytes(31)):
        assert index.find(absent) == -1


def test_the_fan_out_grows_at_exactly_16384() -> None:
    assert [fanout_bits_for(n) for n in (0, SMALL_PACK - 1, SMALL_PACK)] == [8, 8, 16]
    assert index_bytes(0, 8) == 1024
    assert index_bytes(SMALL_PACK, 16) == 4 * 65_536 + SMALL_PACK * 49


@given(
    st.lists(
        st.tuples(
            st.sampled_from([bytes(8), b"\xff" * 8, b"\x00\x01" + bytes(6), b"samehead"]),
            st.sampled_from([bytes(24), b"\xff" * 24, b"\x00" * 23 + b"\x01", b"b" * 24]),
        ),
        unique=True,
    )
)
def test_ids_that_share_their_first_8_bytes_are_told_apart(
    parts: list[tuple[bytes, bytes]],
) -> None:
    oids = sorted(head + tail for head, tail in parts)
    index = index_of([(oid, n, n, 1) for n, oid in enumerate(oids)])
    for position, oid in enumerate(oids):
        assert index.find(oid) == position
        assert index.find(oid[:-1] + b"~") == -1
    assert [record[0] for record in index.records()] == oids


@pytest.mark.parametrize("count", [SMALL_PACK - 1, SMALL_PACK])
def test_the_order_of_entries_does_not_matter_also_where_heads_are_shared(count: int) -> None:
    source = random.Random(count)
    heads = [source.randbytes(8) for _ in range(count // 3)]
    records = [
        (heads[n % len(heads)] + source.randbytes(24), n * 64, 64 + n, 1 + n % 3)
        for n in range(count)
    ]
    assert list(index_of(records).records()) == sorted(records)


@given(st.integers(0, 8), st.binary(max_size=10), st.booleans(), st.integers(0, 15))
def test_a_prefix_gives_a_range_that_holds_all_its_ids(
    shared: int, prefix: bytes, odd: bool, nibble: int
) -> None:
    source = random.Random(shared)
    oids = sorted(
        {prefix[:shared] + source.randbytes(32 - len(prefix[:shared])) for _ in range(30)}
    )
    index = index_of([(oid, 0, 0, 1) for oid in oids])
    start, stop = index.prefix_range(prefix, nibble if odd else None)
    text = prefix.hex() + (f"{nibble:x}" if odd else "")
    expected = [n for n, oid in enumerate(oids) if oid.hex().startswith(text)]
    assert set(expected) <= set(range(start, stop))
    if len(prefix) < 8:
        assert expected == list(range(start, stop))


def test_golden_bytes() -> None:
    data = encode_index(
        columns_of([(bytes([9]) * 32, 68, 70, 2), (bytes([1]) + bytes(31), 8, 60, 1)])
    )
    assert data[:1024] == b"".join(
        count.to_bytes(4, "little") for count in [0] + [1] * 8 + [2] * 247
    )
    assert data[1024:].hex() == (
        "0000000000000001" + "0909090909090909"  # big-endian values, stored little-endian
        + "00" * 24 + "09" * 24
        + "0800000000000000" + "4400000000000000"
        + "3c00000000000000" + "4600000000000000"
        + "0102"
    )  # fmt: skip
    assert blake3(data).hexdigest()[:16] == "8bd82cd6f6408930"


@pytest.mark.parametrize("change", [-1, 1, 49, -49])
def test_an_index_of_another_length_is_damage(change: int) -> None:
    data = encode_index(columns_of(some(3))) + bytes(49)
    with pytest.raises(CorruptionError):
        PackIndex(memoryview(data)[: index_bytes(3, 8) + change], 3, 8)


@given(
    st.binary(min_size=index_bytes(3, 8), max_size=index_bytes(3, 8)),
    st.binary(min_size=32, max_size=32),
)
def test_a_damaged_index_finds_nothing_or_something_but_never_falls_over(
    data: bytes, oid: bytes
) -> None:
    index = PackIndex(memoryview(data), 3, 8)
    position = index.find(oid)
    assert -1 <= position < 3
    assert position < 0 or index.oid_at(position) == oid
    start, stop = index.prefix_range(oid[:2])
    assert 0 <= start <= stop <= 3
    assert len(list(index.records())) == 3

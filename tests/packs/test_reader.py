"""A pack written and read: every payload as it was, every damage noticed and named."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from n4a_store.errors import CorruptionError, UnsupportedFormatError
from n4a_store.objects.oid import Kind, raw_hash
from n4a_store.packs.entry import Codec, encode_header
from n4a_store.packs.format import FOOTER_BYTES, HEADER_BYTES
from n4a_store.packs.reader import PackReader, decode_entry, scan_entries
from tests.packs.written import write

NOISE = random.Random(3).randbytes(3000)
NUMBERS = struct.pack("<1000q", *(random.Random(n).getrandbits(30) for n in range(1000)))
SAMPLES: list[tuple[Kind, bytes, int]] = [
    (Kind.BLOB, b"", 1),
    (Kind.BLOB, b"short", 1),
    (Kind.TREE, b"a tree", 1),
    (Kind.RUN, b"a run", 1),
    (Kind.BLOB, NOISE, 1),  # raw and aligned
    (Kind.BLOB, b"text " * 500, 1),  # zstd
    (Kind.BLOB, NUMBERS, 8),  # shuffle
    (Kind.TREE, b"", 1),
]
CODECS = {Codec.RAW, Codec.ZSTD, Codec.SHUFFLE_ZSTD}


def read(data: bytes | bytearray) -> PackReader:
    return PackReader(memoryview(data), "p")


def test_all_codecs_round_trip() -> None:
    data, oids = write(SAMPLES)
    reader = read(data)
    reader.verify_index()
    reader.verify_bytes()
    assert len(reader) == len(SAMPLES)
    assert reader.footer.raw_bytes == sum(len(sample[1]) for sample in SAMPLES)
    seen = set()
    for oid, (kind, payload, _) in zip(oids, SAMPLES, strict=True):
        position = reader.find(oid)
        header = reader.header_at(position)
        seen.add(Codec(header.codec))
        assert reader.read_at(position) == (kind, payload)
        assert header.raw_length == len(payload)
        assert reader.is_raw(position) == (header.codec == Codec.RAW)
        assert reader.index.lengths[position] == header.end - header.offset
        if header.codec == Codec.RAW and len(payload) >= 1024:
            assert header.payload % 64 == 0
    assert seen == CODECS
    assert reader.find(bytes(32)) == -1
    assert reader.footer.index_offset % 64 == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(Kind),
            st.one_of(st.binary(max_size=80), st.integers(0, 3000).map(lambda n: NOISE[:n])),
            st.integers(1, 9),
        ),
        max_size=12,
    )
)
def test_round_trip(samples: list[tuple[Kind, bytes, int]]) -> None:
    data, oids = write(samples)
    reader = read(data)
    reader.verify_bytes()
    assert reader.index.oids() == sorted(set(oids))
    for oid, (kind, payload, _) in zip(oids, samples, strict=True):
        assert reader.read_at(reader.find(oid)) == (kind, payload)


def test_an_empty_pack_is_a_pack() -> None:
    data, _ = write([])
    assert len(data) == 64 + 1024 + FOOTER_BYTES
    reader = read(data)
    reader.verify_index()
    reader.verify_bytes()
    assert reader.find(bytes(32)) == -1
    assert list(scan_entries(memoryview(data), 64)) == []


def test_raw_payloads_are_views_into_the_pack() -> None:
    data, _ = write([(Kind.BLOB, NOISE, 1)])
    _, view = read(data).read_at(0)
    assert isinstance(view, memoryview)
    assert view.readonly
    assert data.count(NOISE) == 1


def test_a_copy_is_no_part_of_the_pack_and_is_what_has_been_checked() -> None:
    data, oids = write(SAMPLES)
    pack = bytearray(data)
    reader = read(pack)
    copies = [reader.copy_at(reader.find(oid)) for oid in oids]
    fetched = [reader.fetch(oid, reader.find(oid), own=True) for oid in oids]
    pack[HEADER_BYTES : reader.footer.index_offset] = bytes(
        reader.footer.index_offset - HEADER_BYTES
    )
    assert copies == fetched == [(kind, payload) for kind, payload, _ in SAMPLES]
    assert [type(data) for _, data in copies] == [type(found[1]) for found in fetched if found]
    damaged = bytearray(data)
    damaged[payload_at(data, oids[4])] ^= 1
    reader = read(damaged)
    with pytest.raises(CorruptionError, match=oids[4].hex()[:12]):
        reader.copy_at(reader.find(oids[4]))


def payload_at(data: bytes, oid: bytes) -> int:
    reader = read(data)
    return reader.header_at(reader.find(oid)).payload


def test_a_forward_scan_finds_every_entry_without_the_index() -> None:
    data, oids = write(SAMPLES)
    limit = read(data).footer.index_offset
    headers = list(scan_entries(memoryview(data), limit))
    assert [header.oid for header in headers] == oids
    for header, (_, payload, _) in zip(headers, SAMPLES, strict=True):
        assert decode_entry(header, data[header.payload : header.end]) == payload
    # Cut anywhere, it gives what is whole and stops.
    for cut in range(HEADER_BYTES, limit, 7):
        found = list(scan_entries(memoryview(data)[:cut], cut))
        assert [header.oid for header in found] == oids[: len(found)]
        assert all(header.end <= cut for header in found)


@pytest.mark.parametrize("size", [0, 1, 4, 7, 8, 9, 143, 144])
def test_a_pack_cut_short_is_damage(size: int) -> None:
    data, _ = write(SAMPLES)
    with pytest.raises(CorruptionError, match="pack p") as caught:
        read(data[:size])
    assert caught.value.hint
    with pytest.raises(CorruptionError):
        read(data[:-1])
    with pytest.raises(CorruptionError):
        read(data + b"\0")
    with pytest.raises(CorruptionError):
        read(data[: -FOOTER_BYTES // 2])


def test_every_single_flipped_byte_is_found_and_no_wrong_payload_is_returned() -> None:
    data, oids = write([sample for sample in SAMPLES if len(sample[1]) < 100] + [SAMPLES[5]])
    sound = {oid: read(data).read_at(read(data).find(oid)) for oid in oids}
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x40
        try:
            reader = read(bytes(damaged))
        except CorruptionError:
            continue
        except UnsupportedFormatError:
            assert position == 4
            continue
        with pytest.raises(CorruptionError):
            reader.verify_bytes()
        for oid in oids:
            at = reader.find(oid)
            if at < 0:
                with pytest.raises(CorruptionError):
                    reader.verify_index()
                continue
            expected = None
            try:
                assert reader.read_at(at) == sound[oid]
                expected = sound[oid]
            except CorruptionError as error:
                assert oid.hex()[:12] in str(error)  # noqa: PT017 - most positions do not raise
            assert reader.fetch(oid, at, own=False) == expected
            assert reader.fetch(oid, at, own=True) == expected


@given(st.data())
def test_heavily_damaged_packs_raise_corruption_and_nothing_else(data: st.DataObject) -> None:
    pack, oids = write(SAMPLES)
    damaged = bytearray(pack)
    for _ in range(data.draw(st.integers(1, 40))):
        damaged[data.draw(st.integers(5, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    # The footer as it was, so that the damage reaches what stands behind it.
    if data.draw(st.booleans()):
        damaged[-FOOTER_BYTES:] = pack[-FOOTER_BYTES:]
    try:
        reader = read(bytes(damaged))
        for check in (reader.verify_index, reader.verify_bytes):
            try:
                check()
            except CorruptionError:
                continue
        for oid in oids:
            position = reader.find(oid)
            if position >= 0:
                fetched = reader.fetch(oid, position, own=True)
                assert fetched is None or any(fetched[1] == sample[1] for sample in SAMPLES)
                _, payload = reader.read_at(position)
                assert any(payload == sample[1] for sample in SAMPLES)
                assert fetched == reader.copy_at(position)
        for position in range(len(reader)):
            try:
                reader.header_at(position)
            except CorruptionError:
                continue
        list(scan_entries(reader.data, reader.footer.index_offset))
    except CorruptionError:
        return


@pytest.mark.parametrize("kinds", [(Kind.BLOB, Kind.BLOB), (Kind.BLOB, Kind.TREE)])
def test_an_index_that_leads_to_another_entry_is_damage_that_names_the_object(
    kinds: tuple[Kind, Kind],
) -> None:
    data, _ = write([(kinds[0], b"one", 1), (kinds[1], b"two", 1)])
    offsets = read(data).footer.index_offset + 1024 + 2 * 32
    damaged = bytearray(data)
    damaged[offsets : offsets + 16] = data[offsets + 8 : offsets + 16] + data[offsets : offsets + 8]
    wrong = read(bytes(damaged))
    with pytest.raises(CorruptionError, match=wrong.index.oid_at(0).hex()[:12]):
        wrong.read_at(0)
    assert wrong.fetch(wrong.index.oid_at(0), 0, own=False) is None
    with pytest.raises(CorruptionError, match="index is damaged"):
        wrong.verify_index()


def test_a_payload_of_another_kind_does_not_pass() -> None:
    oid = raw_hash(Kind.BLOB, b"data")
    header = encode_header(0, Kind.TREE, Codec.RAW, 0, 4, 4, oid)
    from n4a_store.packs.entry import decode_header

    entry = decode_header(header + b"data", 0, len(header) + 4)
    with pytest.raises(CorruptionError, match=oid.hex()[:12]):
        decode_entry(entry, b"data")

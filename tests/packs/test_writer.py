"""The writer gives its sink bytes in order, once, and never asks for them back."""

from __future__ import annotations

import random

import pytest
from blake3 import blake3

from n4a_store.objects.oid import Kind, raw_hash
from n4a_store.packs.entry import Codec
from n4a_store.packs.format import FOOTER_BYTES, PACK_HASH_OFFSET
from n4a_store.packs.reader import PackReader
from n4a_store.packs.writer import PackWriter

MIB = 1024 * 1024


def test_the_pack_hash_covers_all_that_stands_before_it() -> None:
    out = bytearray()
    writer = PackWriter(out.extend)
    data = random.Random(1).randbytes(3 * MIB)
    for part in (data, data[:10], data[: MIB + 1], data[:500_000]):
        writer.add(raw_hash(Kind.BLOB, part), Kind.BLOB, part)
    writer.seal()
    covered = len(out) - FOOTER_BYTES + PACK_HASH_OFFSET
    assert out[covered : covered + 32] == blake3(out[:covered]).digest()
    PackReader(memoryview(bytes(out)), "p").verify_bytes()


def test_a_duplicate_is_written_once() -> None:
    out = bytearray()
    writer = PackWriter(out.extend)
    oid = raw_hash(Kind.BLOB, b"data")
    for _ in range(3):
        writer.add(oid, Kind.BLOB, b"data")
        writer.add_stored(oid, Kind.BLOB, Codec.RAW, 0, b"data", 4)
    assert len(writer) == 1
    assert oid in writer
    assert writer.kind_of(oid) == Kind.BLOB
    assert writer.kind_of(bytes(32)) is None
    assert writer.locate(bytes(32)) is None
    assert writer.seal().objects == 1
    assert out.count(b"data") == 1


def test_an_entry_can_be_found_in_what_was_flushed() -> None:
    out = bytearray()
    writer = PackWriter(out.extend)
    oid = raw_hash(Kind.BLOB, b"data")
    writer.add(oid, Kind.BLOB, b"data")
    assert writer.flushed == 0
    writer.flush()
    assert writer.flushed == writer.size == len(out)
    found = writer.locate(oid)
    assert found is not None
    assert out[found[0] : sum(found)].endswith(b"data")


def test_an_entry_can_be_copied_without_being_decoded() -> None:
    text = b"text " * 1000
    oid = raw_hash(Kind.BLOB, text)
    first, second = bytearray(), bytearray()
    writer = PackWriter(first.extend)
    writer.add(oid, Kind.BLOB, text)
    writer.seal()
    entry = PackReader(memoryview(bytes(first)), "a").stored_at(0)
    copy = PackWriter(second.extend)
    header = entry.header
    copy.add_stored(oid, header.kind, header.codec, header.item_size, entry.stored, len(text))
    copy.seal()
    assert first == second


def test_a_sealed_pack_stays_as_it_is() -> None:
    writer = PackWriter(bytearray().extend)
    writer.seal()
    with pytest.raises(RuntimeError, match="sealed"):
        writer.seal()

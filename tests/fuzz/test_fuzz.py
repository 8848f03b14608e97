"""Damaged input of every kind: the store's own errors, bounded memory, nothing deleted by mistake.

``python -m n4a_store.testing.fuzz`` does the same 100,000 times and more.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from n4a_store.errors import CorruptionError, StoreError
from n4a_store.objects.codec import decode_run, decode_value
from n4a_store.objects.oid import Kind, raw_hash
from n4a_store.objects.trees import decode_node
from n4a_store.packs.entry import Codec
from n4a_store.packs.reader import PackReader
from n4a_store.packs.writer import PackWriter
from n4a_store.repo.format import StoreFormat
from n4a_store.testing.fuzz import fuzz_decoders, fuzz_stores, mutate

TEBIBYTE = 2**40
MEBIBYTE = 2**20


def test_damaged_bytes_given_to_every_decoder() -> None:
    report = fuzz_decoders(random.Random(1), 2_100)
    assert report.findings == []
    assert report.total == 2_100
    assert report.refused > 1_000  # most of the damage is noticed where bytes are decoded


def test_damaged_files_of_a_store(tmp_path: Path) -> None:
    report = fuzz_stores(random.Random(1), 30, tmp_path)
    assert report.findings == []
    assert len(report.cases) >= 6


@pytest.mark.slow
@pytest.mark.torture
def test_damage_with_bounded_memory(torture_seconds: float) -> None:
    cases, stores = int(torture_seconds * 300), int(torture_seconds * 5)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "n4a_store.testing.fuzz"),
            *("--cases", str(cases), "--stores", str(stores)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "FOUND" not in done.stdout
    assert done.returncode == 0, done.stdout + done.stderr


@given(st.binary(max_size=300))
def test_decoders_take_any_bytes(data: bytes) -> None:
    decoders: list[Callable[[bytes], object]] = [
        decode_node,
        decode_run,
        decode_value,
        lambda raw: StoreFormat.decode(raw.decode(errors="replace")),
        lambda raw: PackReader(memoryview(raw), "any"),
    ]
    for decode in decoders:
        try:
            decode(data)
        except StoreError:
            continue


@given(st.integers(0, 2**32), st.binary(min_size=1, max_size=2_000))
def test_what_a_damaged_pack_still_gives_is_what_was_put(seed: int, payload: bytes) -> None:
    out = bytearray()
    writer = PackWriter(out.extend)
    oids = {}
    for data in (payload, payload * 30, b"beside it"):
        oids[raw_hash(Kind.BLOB, data)] = data
        writer.add(raw_hash(Kind.BLOB, data), Kind.BLOB, data)
    writer.seal()
    try:
        pack = PackReader(memoryview(mutate(bytes(out), random.Random(seed))), "damaged")
        pack.verify_index()
    except StoreError:
        return
    for oid, data in oids.items():
        try:
            kind, found = pack.read_at(pack.find(oid))
        except CorruptionError:
            continue
        assert (kind, bytes(found)) == (Kind.BLOB, data)


def frame_declaring(size: int) -> bytes:
    """A zstd frame that says it holds ``size`` bytes, and holds a hundred."""
    frame = bytearray(zstandard.ZstdCompressor().compress(bytes(100)))
    # Frame_Header_Descriptor: an 8-byte content size, a single segment, no checksum.
    return bytes(frame[:4]) + b"\xe0" + size.to_bytes(8, "little") + bytes(frame[6:])


@cache
def inflating(ratio: int) -> tuple[bytes, int]:
    """A sound zstd frame that inflates ``ratio`` times."""
    raw = 200 * MEBIBYTE
    compressor = zstandard.ZstdCompressor(level=19).compressobj(size=raw)
    frame = b"".join(compressor.compress(bytes(MEBIBYTE)) for _ in range(200))
    frame += compressor.flush()
    assert raw / len(frame) > ratio
    return frame, raw


@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param(lambda: (frame_declaring(TEBIBYTE), TEBIBYTE), id="declares 1 TiB"),
        pytest.param(lambda: (frame_declaring(TEBIBYTE), 100), id="hides 1 TiB"),
        pytest.param(lambda: inflating(30_000), id="inflates 1:30,000"),
    ],
)
@pytest.mark.parametrize("codec", [Codec.ZSTD, Codec.SHUFFLE_ZSTD, Codec.DELTA])
def test_a_bomb_is_refused_before_it_is_inflated(
    bomb: Callable[[], tuple[bytes, int]], codec: Codec
) -> None:
    stored, raw_length = bomb()
    out = bytearray()
    writer = PackWriter(out.extend)
    base = raw_hash(Kind.BLOB, b"base" * 100)
    writer.add(base, Kind.BLOB, b"base" * 100)
    oid = raw_hash(Kind.BLOB, b"never")
    item_size = 8 if codec is Codec.SHUFFLE_ZSTD else 0
    of_delta = (base,) if codec is Codec.DELTA else ()
    writer.add_stored(oid, Kind.BLOB, codec, item_size, stored, raw_length, *of_delta)
    writer.seal()
    pack = PackReader(memoryview(bytes(out)), "bomb")
    tracemalloc.start()
    try:
        with pytest.raises(CorruptionError, match=oid.hex()[:12]):
            pack.read_at(pack.find(oid))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEBIBYTE

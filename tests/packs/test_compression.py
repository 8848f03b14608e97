"""Codecs: whatever goes in comes out, and nothing inflates unchecked."""

from __future__ import annotations

import random
import struct
import threading
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from n4a_store.errors import CorruptionError
from n4a_store.packs.compression import (
    MAX_RATIO,
    _contexts,
    compress,
    decompress,
    shuffle,
    unshuffle,
)
from n4a_store.packs.entry import Codec

MIB = 1024 * 1024
NOISE = random.Random(7).randbytes(200_000)
TEXT = b"the quick brown fox jumps over the lazy dog " * 5_000
NUMBERS = struct.pack("<20000q", *(random.Random(n).getrandbits(30) for n in range(20_000)))


def test_a_higher_level_is_content_with_less() -> None:
    """Doubles of like size: a tenth of them can be saved, and they load slower."""
    doubles = np.random.default_rng(3).normal(size=20_000).tobytes()
    for data in (doubles, doubles[:8_000]):
        assert compress(memoryview(data), 8)[0] is Codec.RAW
        codec, item_size, stored = compress(memoryview(data), 8, level=2)
        assert codec is Codec.SHUFFLE_ZSTD
        assert 0.875 < len(stored) / len(data) < 0.97
        assert decompress(codec, item_size, stored, len(data)) == data
    assert compress(memoryview(NOISE), 8, level=19)[0] is Codec.RAW


@pytest.mark.parametrize(
    ("data", "item_size", "codec"),
    [
        (b"", 1, Codec.RAW),
        (b"short", 1, Codec.RAW),
        (bytes(191), 1, Codec.RAW),
        (bytes(192), 1, Codec.ZSTD),
        (TEXT, 1, Codec.ZSTD),
        (TEXT[:5000], 1, Codec.ZSTD),
        (NOISE, 1, Codec.RAW),
        (NOISE[:5000], 8, Codec.RAW),
        (NUMBERS, 8, Codec.SHUFFLE_ZSTD),
        (NUMBERS[:8000], 8, Codec.SHUFFLE_ZSTD),
        (NUMBERS[:8003], 8, Codec.SHUFFLE_ZSTD),
        (NUMBERS, 17, Codec.ZSTD),
        (TEXT, 0, Codec.ZSTD),
        (bytes(40 * MIB), 1, Codec.RAW),  # would look like a bomb
    ],
    ids=lambda value: str(len(value)) if isinstance(value, bytes) else str(value),
)
def test_the_probe_chooses_and_the_choice_can_be_undone(
    data: bytes, item_size: int, codec: Codec
) -> None:
    chosen, stored_item_size, stored = compress(memoryview(data), item_size)
    assert chosen is codec
    assert stored_item_size == (item_size if codec is Codec.SHUFFLE_ZSTD else 0)
    assert decompress(chosen, stored_item_size, stored, len(data)) == data
    if chosen is not Codec.RAW:
        assert len(stored) <= 0.875 * len(data)


@given(
    st.one_of(
        st.binary(max_size=600),
        st.binary(min_size=1, max_size=20).map(lambda unit: unit * 2000),
        st.integers(0, 40_000).map(lambda size: NOISE[:size] + bytes(size)),
    ),
    st.integers(-1, 20),
)
def test_round_trip(data: bytes, item_size: int) -> None:
    codec, stored_item_size, stored = compress(data, item_size)
    assert decompress(codec, stored_item_size, stored, len(data)) == data


@given(st.binary(max_size=200), st.integers(1, 16))
def test_shuffle_round_trip(data: bytes, item_size: int) -> None:
    assert unshuffle(shuffle(data, item_size), item_size) == data


@given(st.integers(-40, 40), st.integers(1, 16))
def test_a_large_shuffle_round_trip(beyond: int, item_size: int) -> None:
    data = NOISE[: 16_384 + beyond]  # on both sides of where numpy takes over
    assert unshuffle(shuffle(data, item_size), item_size) == data


def test_shuffle_gathers_the_planes() -> None:
    assert shuffle(b"a1b2c3d4e", 2) == b"abcd1234e"
    assert shuffle(b"abc", 4) == b"abc"


@given(st.integers(1_000, 1_100), st.integers(1, 16))
def test_a_shuffle_is_the_same_on_both_sides_of_where_numpy_takes_over(
    size: int, item_size: int
) -> None:
    data = NOISE[:size]
    whole = size - size % item_size
    planes = [data[plane:whole:item_size] for plane in range(item_size)]
    assert shuffle(data, item_size) == shuffle(memoryview(data), item_size)
    assert shuffle(data, item_size) == b"".join(planes) + data[whole:]


def doubles(make: Callable[[random.Random], float], code: str = "d") -> bytes:
    source = random.Random(11)
    return struct.pack(f"<4000{code}", *(make(source) for _ in range(4000)))


DOUBLES = {
    "normal": doubles(lambda source: source.gauss(0, 1)),
    "uniform": doubles(lambda source: source.random()),
    "far from zero": doubles(lambda source: source.gauss(1000, 1)),
    "rounded": doubles(lambda source: round(source.gauss(0, 1), 2)),
    "mostly zero": doubles(lambda source: source.random() * (source.random() < 0.3)),
    "single precision": doubles(lambda source: struct.unpack("f", source.randbytes(4))[0]),
    "integers": doubles(lambda source: source.randrange(30_000), "q"),
    "large integers": doubles(lambda source: source.getrandbits(40), "q"),
    "random integers": doubles(lambda source: source.getrandbits(62), "q"),
    "text": bytes(random.Random(3).choices(b"abcdefghijklmnopqrstuvwxyz", k=32_000)),
}


@pytest.mark.parametrize("size", [2_400, 32_000])
@pytest.mark.parametrize("name", DOUBLES)
def test_doubles_are_compressed_where_the_level_that_is_asked_for_pays(
    name: str, size: int
) -> None:
    data = DOUBLES[name][:size]
    level = zstandard.ZstdCompressor(level=1)
    pays = len(level.compress(shuffle(data, 8))) <= 0.875 * size
    codec, item_size, stored = compress(data, 8)
    assert (codec is not Codec.RAW) == pays
    assert decompress(codec, item_size, stored, size) == data


@pytest.mark.parametrize(
    ("names", "level", "levels"),
    [
        (["normal"], 1, [-1]),
        (["normal", "rounded"], 1, [-1, 1]),
        (["normal"], 3, [3]),  # may find what level 1 does not
    ],
)
def test_doubles_that_resemble_nothing_cost_no_more_than_the_fastest_level(
    names: list[str], level: int, levels: list[int]
) -> None:
    used: list[int] = []

    def run() -> None:
        for name in names:
            for size in (2_400, 32_000):
                compress(DOUBLES[name][:size], 8, level)
        used.extend(sorted(_contexts.compressors))

    thread = threading.Thread(target=run)  # which has contexts of its own
    thread.start()
    thread.join()
    assert used == levels


def zstd(data: bytes, **options: bool) -> bytes:
    return zstandard.ZstdCompressor(level=19, **options).compress(data)


def declaring(size: int) -> bytes:
    """A frame header that declares ``size`` bytes, followed by one block of repeated zeros."""
    header = b"\x28\xb5\x2f\xfd" + bytes([0b1110_0000]) + struct.pack("<Q", size)
    block = (1 << 0) | (1 << 1) | (100_000 << 3)  # last block, one byte repeated
    return header + block.to_bytes(3, "little") + b"\0"


HOSTILE = {
    "a terabyte declared": (declaring(1 << 40), 1 << 40),
    "2^63 declared": (declaring(1 << 63), 1 << 63),
    "inflating 1:30,000": (zstd(bytes(64 * MIB)), 64 * MIB),
    "no size declared": (zstd(TEXT, write_content_size=False), len(TEXT)),
    "no size and no bound": (zstd(TEXT, write_content_size=False), 2**64 - 1),
    "less declared": (zstd(TEXT), len(TEXT) - 1),
    "more declared": (zstd(TEXT), len(TEXT) + 1),
    "another frame behind": (zstd(TEXT) + zstd(b"more"), len(TEXT)),
    "rubbish behind": (zstd(TEXT) + b"x", len(TEXT)),
    "cut short": (zstd(TEXT)[:-1], len(TEXT)),
    "an empty frame": (b"", 0),
    "not a frame": (b"plain text", 10),
    "a skippable frame": (b"\x50\x2a\x4d\x18" + struct.pack("<I", 4) + b"skip", 4),
    "frame shorter than it says": (declaring(500_000), 500_000),
    "frame longer than it says": (declaring(1_000), 1_000),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("codec", [Codec.ZSTD, Codec.SHUFFLE_ZSTD])
def test_hostile_frames_are_refused_in_little_memory(name: str, codec: Codec) -> None:
    stored, raw_length = HOSTILE[name]
    tracemalloc.start()
    try:
        with pytest.raises(CorruptionError):
            decompress(codec, 8 if codec is Codec.SHUFFLE_ZSTD else 0, stored, raw_length)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * MIB


def test_the_bound_on_inflation_is_the_writers_own() -> None:
    # What the writer may write, the reader must read: constant bytes at every size.
    for size in (MIB, MIB + 1, 2 * MIB, 8 * MIB):
        codec, item_size, stored = compress(bytes(size))
        assert decompress(codec, item_size, stored, size) == bytes(size)
        assert codec is Codec.RAW or size <= MAX_RATIO * len(stored)


@pytest.mark.parametrize(
    ("codec", "item_size"),
    [
        (Codec.RAW, 8),
        (Codec.ZSTD, 8),
        (Codec.SHUFFLE_ZSTD, 0),
        (Codec.SHUFFLE_ZSTD, 1),
        (Codec.SHUFFLE_ZSTD, 17),
        (Codec.DELTA, 0),
        (4, 0),
        (255, 255),
    ],
)
def test_codecs_and_item_sizes_that_do_not_go_together_are_damage(
    codec: int, item_size: int
) -> None:
    with pytest.raises(CorruptionError):
        decompress(codec, item_size, zstd(TEXT), len(TEXT))


def test_a_raw_payload_of_another_length_is_damage() -> None:
    with pytest.raises(CorruptionError):
        decompress(Codec.RAW, 0, b"abc", 4)
    with pytest.raises(CorruptionError):
        decompress(Codec.RAW, 0, b"abc", 2)


@given(st.data())
def test_damaged_frames_raise_corruption_or_give_the_declared_length(data: st.DataObject) -> None:
    codec, item_size, stored = compress(NUMBERS[:8000], 8)
    damaged = bytearray(stored)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    damaged = damaged[: data.draw(st.integers(0, len(damaged)))] or damaged
    try:
        raw = decompress(codec, item_size, damaged, 8000)
    except CorruptionError:
        return
    assert len(raw) == 8000


def test_threads_do_not_share_a_context() -> None:
    # One ZstdCompressor used by two threads crashes the process.
    wrong: list[int] = []

    def work(seed: int) -> None:
        data = random.Random(seed).randbytes(200) * 500
        for _ in range(40):
            codec, item_size, stored = compress(data, 1)
            if decompress(codec, item_size, stored, len(data)) != data:
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_items_of_eight_bytes_that_are_no_doubles_are_not_given_up_on() -> None:
    bits = np.random.default_rng(3).random((2_500, 64)) < 0.2
    fingerprints = np.packbits(bits).tobytes()  # nothing comes again, yet few bits are set
    pixels = np.random.default_rng(4).integers(0, 60, 40_000).astype(np.uint8).tobytes()
    for data in (fingerprints, pixels):
        codec, _, stored = compress(data, 8)
        assert codec is not Codec.RAW
        assert len(stored) < 0.85 * len(data)

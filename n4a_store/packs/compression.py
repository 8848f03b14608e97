"""Codecs: raw, zstd, byte-shuffle + zstd, chosen by a probe, undone under guard.

Compression must earn its place: a sample of the payload is compressed plain and shuffled, and
the payload is stored raw unless an eighth is saved, because raw bytes can be mapped in place. Who
asks for a higher level than the default wants bytes more than that: a thirty-second is enough then.
Most payloads are doubles that resemble nothing. What can be saved in doubles are bytes that are the
same from item to item, and items that come again: zstd's fastest level finds both in a third of the
time. Where it finds less than an eighth, the default level is not tried.

Decompression trusts nothing. The frame must declare exactly the raw length of its entry, must be
one frame without trailing bytes, and may not inflate beyond :data:`MAX_RATIO`; all of that is
checked before a byte is inflated. The writer keeps to the same ratio, so a legitimate payload of
constant bytes is stored raw rather than looking like a bomb.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import zstandard

from n4a_store.errors import CorruptionError
from n4a_store.objects.oid import BytesLike
from n4a_store.packs.entry import Codec

__all__ = [
    "FREE_INFLATION",
    "MAX_RATIO",
    "compress",
    "decompress",
    "frame_size",
    "shuffle",
    "unshuffle",
]

MAX_RATIO = 16_384
DEFAULT_LEVEL = 1
COMPRESS_FROM = 192  # below, a zstd frame's own header eats what it saves
_PROBE_FROM = 16_384  # below, compressing all of it costs no more than a probe
_PROBE_BYTES = 4_096
_KEEP = 1 - 1 / 8
_KEEP_WHEN_ASKED = 1 - 1 / 32
_HOPE = 0.885  # of doubles, the fastest level leaves a hundredth more than level 1 at most
_FASTEST = -1
_DOUBLE = 8  # smaller items also gain by how frequent a byte is, which the fastest level ignores
_MOST_EXPONENTS = 32  # so many last bytes have doubles from 1e-38 to 1e38, with both signs
_NUMPY_FROM = 1_024
FREE_INFLATION = 1024 * 1024  # below this raw length no ratio can hurt
_MAX_ITEM = 16
_COLUMNS_FROM = 16_384
# Plain numbers: to look up an enum's member takes longer than to compare it.
_RAW, _ZSTD, _SHUFFLE_ZSTD = int(Codec.RAW), int(Codec.ZSTD), int(Codec.SHUFFLE_ZSTD)


class _PerThread(threading.local):
    """zstandard contexts crash the process when two threads share one."""

    def __init__(self) -> None:
        self.compressors: dict[int, zstandard.ZstdCompressor] = {}
        self.decompressor = zstandard.ZstdDecompressor()

    def compressor(self, level: int) -> zstandard.ZstdCompressor:
        found = self.compressors.get(level)
        if found is None:
            found = self.compressors[level] = zstandard.ZstdCompressor(
                level=level, write_content_size=True, write_checksum=False
            )
        return found


_contexts = _PerThread()


def shuffle(data: BytesLike, item_size: int) -> bytes:
    """All first bytes of each item, then all second bytes, …; a last partial item stays at the end.

    Floats of like size share their exponents: gathered, they compress.
    """
    items = len(data) // item_size
    whole = items * item_size
    if whole >= _NUMPY_FROM:
        import numpy as np  # a fifth of the time on large planes

        planes = np.frombuffer(data, np.uint8, whole).reshape(items, item_size).T.tobytes()
        return planes + data[whole:] if len(data) > whole else planes
    view = bytes(data)
    return b"".join((*(view[plane:whole:item_size] for plane in range(item_size)), view[whole:]))


def unshuffle(data: bytes, item_size: int) -> bytearray:
    """The inverse of :func:`shuffle`, in memory of its own."""
    items = len(data) // item_size
    whole = items * item_size
    out = bytearray(len(data))
    if whole >= _COLUMNS_FROM:
        import numpy as np  # twice as fast on large planes, and not worth its calls on small ones

        columns = np.frombuffer(out, np.uint8, whole).reshape(items, item_size)
        planes = np.frombuffer(data, np.uint8, whole).reshape(item_size, items)
        for plane in range(item_size):
            columns[:, plane] = planes[plane]
    else:
        for plane in range(item_size):
            out[plane:whole:item_size] = data[plane * items : (plane + 1) * items]
    out[whole:] = data[whole:]
    return out


def compress(
    data: BytesLike,
    item_size: int = 1,
    level: int = DEFAULT_LEVEL,
    settle: Callable[[BytesLike], BytesLike] | None = None,
) -> tuple[Codec, int, BytesLike]:
    """Encode a payload as whichever codec pays.

    Args:
        data: Contiguous unsigned bytes.
        item_size: Bytes per array item, as a hint for the shuffle; 1 for text and pickles.
        level: The zstd level; 0 stores everything raw, and above the default it pays to save less.
        settle: Gives a copy of ``data`` that nobody changes, before all of it is compressed.

    Returns:
        The codec, the item size its undoing needs (0 without a shuffle), and the stored bytes:
        ``data`` itself where it is raw.
    """
    size = len(data)
    if size < COMPRESS_FROM or not level:
        return Codec.RAW, 0, data
    keep = _KEEP if level <= DEFAULT_LEVEL else _KEEP_WHEN_ASKED
    if settle is not None and size < _PROBE_FROM:
        data = settle(data)
    can_shuffle = 1 < item_size <= _MAX_ITEM
    sample = data
    if size >= _PROBE_FROM:
        middle = (size // 2) - (size // 2) % (item_size if can_shuffle else 1)
        sample = data[middle : middle + _PROBE_BYTES]
    shuffled = shuffle(sample, item_size) if can_shuffle else sample
    if item_size == _DOUBLE and level == DEFAULT_LEVEL and _hopeless(bytes(sample), shuffled):
        return Codec.RAW, 0, data
    pack = _contexts.compressor(level).compress
    stored = pack(shuffled)
    use_shuffle = can_shuffle
    if size >= _PROBE_FROM:
        plain = pack(sample) if can_shuffle else stored
        if min(len(plain), len(stored)) > keep * len(sample):
            return Codec.RAW, 0, data
        use_shuffle = len(stored) < len(plain)
        if settle is not None:
            data = settle(data)
        stored = pack(shuffle(data, item_size) if use_shuffle else data)
    if len(stored) > keep * size or size > MAX_RATIO * len(stored):
        return Codec.RAW, 0, data
    if use_shuffle:
        return Codec.SHUFFLE_ZSTD, item_size, stored
    return Codec.ZSTD, 0, stored


def _hopeless(sample: bytes, shuffled: BytesLike) -> bool:
    """Whether doubles, for which items of eight bytes are taken, do not pay.

    Doubles of like size share their upper bytes. Text, hashes and bit fields do not: they may pay
    without anything that comes again, which the fastest level does not see.
    """
    if sample.isascii() or len(set(sample[_DOUBLE - 1 :: _DOUBLE])) > _MOST_EXPONENTS:
        return False
    fastest = _contexts.compressor(_FASTEST).compress
    least = _HOPE * len(sample)
    return len(fastest(shuffled)) > least and len(fastest(sample)) > least


def frame_size(stored: BytesLike) -> int:
    """How many bytes a zstd frame says that it holds; nothing is inflated.

    Raises:
        CorruptionError: It is not a zstd frame.
    """
    try:
        size: int = zstandard.get_frame_parameters(stored).content_size
    except zstandard.ZstdError as error:
        raise CorruptionError(f"not a zstd frame: {error}") from error
    return size


def check_frame(stored: BytesLike, raw_length: int) -> None:
    """Refuse a zstd frame that does not declare ``raw_length`` or inflates beyond reason.

    Raises:
        CorruptionError: So it is.
    """
    declared = frame_size(stored)
    if declared != raw_length:
        raise CorruptionError(f"a zstd frame declares {declared} bytes, its entry {raw_length}")
    if raw_length > FREE_INFLATION and raw_length > MAX_RATIO * len(stored):
        raise CorruptionError(
            f"a zstd frame of {len(stored)} bytes would inflate to {raw_length}: refused"
        )


def decompress(codec: int, item_size: int, stored: BytesLike, raw_length: int) -> BytesLike:
    """Undo :func:`compress`; ``stored`` itself for a raw payload.

    Raises:
        CorruptionError: The stored bytes are not such an encoding of ``raw_length`` bytes.
    """
    if codec == _RAW:
        if len(stored) != raw_length or item_size:
            raise CorruptionError(f"a raw entry of {len(stored)} bytes declares {raw_length}")
        return stored
    if (codec == _SHUFFLE_ZSTD) != (1 < item_size <= _MAX_ITEM):
        raise CorruptionError(f"codec {codec} with an item size of {item_size}")
    if codec not in (_ZSTD, _SHUFFLE_ZSTD):
        raise CorruptionError(f"codec {codec} cannot be undone without its base")
    check_frame(stored, raw_length)
    try:
        raw = _contexts.decompressor.decompress(
            stored, max_output_size=raw_length, allow_extra_data=False
        )
    except (zstandard.ZstdError, MemoryError) as error:
        raise CorruptionError(f"a damaged zstd frame: {error}") from error
    if len(raw) != raw_length:
        raise CorruptionError(f"a zstd frame gave {len(raw)} bytes instead of {raw_length}")
    return unshuffle(raw, item_size) if codec == _SHUFFLE_ZSTD else raw

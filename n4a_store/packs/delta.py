"""Deltas: an object written as zstd against another object of the same pack.

The base's raw bytes serve as a raw-content dictionary: whatever the object shares with it, at any
offset, costs a few bytes. A base is never a delta itself, so reading takes one hop; it stands in
the same pack, so a pack can be read alone.

Which base? :func:`sketch` draws a few features from an object, the smallest hashes of its
overlapping pairs of 8-byte words: two objects that share a good part of their content share
features wherever it stands. That finds the arrays of models that were fitted alike.

Level 3 is a measurement, not a habit: on fitted scikit-learn models level 1 leaves 0.61 of the
bytes, 3 leaves 0.45, 6 the same in half the speed (docs/explanation/performance.md).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import zstandard

from n4a_store.errors import CorruptionError
from n4a_store.objects.oid import BytesLike
from n4a_store.packs.compression import FREE_INFLATION, MAX_RATIO, frame_size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["DeltaBase", "DeltaEncoder", "sketch"]

DELTA_LEVEL = 3
FEATURES = 24
_WORD = 8
_MAX_WINDOW_LOG = 27
_BASE_RATIO = 64
_TABLE_ENTRY_BYTES = 4
_ROUNDS = 4
_MANY = 4  # times as many, before it pays to look at the lower ones alone


def sketch(data: BytesLike, features: int = FEATURES) -> Sequence[int]:
    """Up to ``features`` numbers that objects with shared content tend to share.

    The bottom-k variant of min-wise hashing (Broder 1997) over pairs of aligned 64-bit words.
    """
    import numpy as np

    words = len(data) // _WORD
    if words < 2:  # noqa: PLR2004 - a pair
        return ()
    array = np.frombuffer(data, dtype="<u8", count=words)
    # Multiplications wrap on purpose; the constants are those of splitmix64.
    mixed = array[:-1] * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= array[1:] * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(32)
    few = 4 * features
    found: set[int] = set()
    for _ in range(_ROUNDS):
        smallest = _smallest(mixed, few)
        found.update(np.unique(smallest)[: features - len(found)].tolist())
        if len(found) >= features or len(smallest) == len(mixed):
            break
        # The smallest hashes are repetitions of a few words (spectra are full of zeros): look
        # beyond them.
        mixed = mixed[mixed > smallest.max()]
        if not len(mixed):
            break
    return sorted(found)


def _smallest(hashes: NDArray[np.uint64], few: int) -> NDArray[np.uint64]:
    """The ``few`` smallest, in any order; all of them where there are no more."""
    import numpy as np

    if len(hashes) <= few:
        return hashes
    if len(hashes) >= _MANY * few:
        # Hashes are spread evenly: twice the few that are asked for lie below a bound, nearly
        # always, and to look for them is much less work than to part all from all.
        low = hashes[hashes < np.uint64((2 * few << 64) // len(hashes))]
        if len(low) >= few:
            hashes = low
    return np.partition(hashes, few - 1)[:few]


class DeltaEncoder:
    """A base, ready for objects to be written against it. Not to be shared by threads.

    To index a base takes longer than to write an object against it: whoever has several for one
    base keeps this.

    Args:
        base: Its raw bytes; objects are best no longer than that.
    """

    __slots__ = ("_compressor", "size")

    def __init__(self, base: BytesLike) -> None:
        window = min(max((2 * len(base)).bit_length(), 10), _MAX_WINDOW_LOG)
        parameters = zstandard.ZstdCompressionParameters.from_level(
            DELTA_LEVEL, source_size=len(base), dict_size=len(base), window_log=window
        )
        dictionary = zstandard.ZstdCompressionDict(
            bytes(base), dict_type=zstandard.DICT_TYPE_RAWCONTENT
        )
        dictionary.precompute_compress(compression_params=parameters)
        self._compressor = zstandard.ZstdCompressor(
            dict_data=dictionary, compression_params=parameters
        )
        tables = (1 << parameters.hash_log) + (1 << parameters.chain_log)
        self.size = len(base) + _TABLE_ENTRY_BYTES * tables
        """What it takes in memory, in bytes."""

    def encode(self, data: BytesLike) -> bytes:
        """``data`` as a zstd frame against the base."""
        return self._compressor.compress(data)


class DeltaBase:
    """A base, ready for the deltas that were made against it. May be shared by threads.

    Args:
        raw: Its raw bytes.
    """

    __slots__ = ("_busy", "_decompressor", "_dictionary", "size")

    def __init__(self, raw: BytesLike) -> None:
        self.size = len(raw)
        self._dictionary = zstandard.ZstdCompressionDict(
            bytes(raw), dict_type=zstandard.DICT_TYPE_RAWCONTENT
        )
        self._decompressor = self._new()
        # In a child that was forked while another thread used it, it stays so: a new one each time.
        self._busy = threading.Lock()

    def _new(self) -> zstandard.ZstdDecompressor:
        return zstandard.ZstdDecompressor(
            dict_data=self._dictionary, max_window_size=1 << _MAX_WINDOW_LOG
        )

    def decode(self, stored: BytesLike, raw_length: int) -> bytes:
        """Undo :meth:`DeltaEncoder.encode`.

        Raises:
            CorruptionError: ``stored`` is not such a frame of ``raw_length`` bytes, or would
                inflate beyond what its own length and its base can explain. Nothing is inflated
                then.
        """
        declared = frame_size(stored)
        if declared != raw_length:
            raise CorruptionError(f"a delta declares {declared} bytes, its entry {raw_length}")
        if raw_length > max(FREE_INFLATION, MAX_RATIO * len(stored), _BASE_RATIO * self.size):
            raise CorruptionError(
                f"a delta of {len(stored)} bytes against {self.size} would inflate to "
                f"{raw_length}: refused"
            )
        try:
            raw = self._inflate(stored, raw_length)
        except (zstandard.ZstdError, MemoryError) as error:
            raise CorruptionError(f"a damaged delta: {error}") from error
        if len(raw) != raw_length:
            raise CorruptionError(f"a delta gave {len(raw)} bytes instead of {raw_length}")
        return raw

    def _inflate(self, stored: BytesLike, raw_length: int) -> bytes:
        # To make a decompressor takes as long as to undo ten small deltas; two threads must
        # not share one.
        if not self._busy.acquire(blocking=False):
            return self._new().decompress(
                stored, max_output_size=raw_length, allow_extra_data=False
            )
        try:
            return self._decompressor.decompress(
                stored, max_output_size=raw_length, allow_extra_data=False
            )
        finally:
            self._busy.release()

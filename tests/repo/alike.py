"""Objects that resemble one another, for tests of what is written as deltas."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from n4a_store import Store
from n4a_store.packs.entry import Codec

__all__ = ["CHAIN", "chained", "deltas"]

_RNG = np.random.default_rng(0)


def _noise(size: int) -> bytes:
    return _RNG.normal(size=size // 8).tobytes()


_FIRST = _noise(4_000)
_SECOND = _FIRST[:2_400] + _noise(1_200)
_THIRD = _SECOND[1_600:] + _noise(800)
CHAIN = (_FIRST, _SECOND, _THIRD)
"""Each resembles the one before it, and is smaller; the last has nothing of the first."""


def deltas(store: Store) -> Iterator[tuple[bytes, bytes, bool]]:
    """Of each delta on the disk: its id, its base, and whether that is a delta itself."""
    with store.catalog.read() as catalog:
        rows = catalog.packs()
    store.odb.add(rows)
    for row in rows:
        reader = store.odb.reader(row.id)
        bases = {
            header.oid: header.base
            for header in map(reader.header_at, range(len(reader)))
            if header.codec == Codec.DELTA and header.base is not None
        }
        for oid, base in bases.items():
            yield oid, base, base in bases


def chained(store: Store) -> list[bytes]:
    """The deltas on the disk whose base is a delta."""
    return [oid for oid, _, is_chained in deltas(store) if is_chained]

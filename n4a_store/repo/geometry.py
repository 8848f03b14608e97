"""Which packs a repack merges, by their rows alone.

Packs are merged geometrically: afterwards each pack is at least twice as large as all smaller
ones together, so a store of n bytes has O(log n) packs and each byte is rewritten O(log n) times
in its life.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from n4a_store.settings import Settings
from n4a_store.storage.rows import PackRow

__all__ = ["BATCH_BYTES", "COMPACTED_AT_ONCE", "batches", "choose_geometric", "mergeable"]

FACTOR = 2
BATCH_BYTES = 256 * 1024 * 1024
COMPACTED_AT_ONCE = 1_024
"""A compaction has its whole batch mapped, and a process may map some 65,000 files."""


def _limit(settings: Settings) -> int:
    return min(BATCH_BYTES, settings.pack_max_bytes)


def choose_geometric(rows: list[PackRow], factor: int = FACTOR) -> list[PackRow]:
    """The smallest packs that must be merged for the rest to grow geometrically."""
    ordered = sorted(rows, key=lambda row: (row.stored_bytes, row.id))
    chosen = 0
    total = 0
    for count, row in enumerate(ordered):
        if count and row.stored_bytes < factor * total:
            chosen = count + 1
        total += row.stored_bytes
    return ordered[:chosen]


def mergeable(rows: Sequence[PackRow], settings: Settings) -> list[PackRow]:
    """Those of the live packs ``rows`` that a geometric repack would merge."""
    limit = _limit(settings)
    return choose_geometric([row for row in rows if row.stored_bytes < limit])


def batches(
    rows: Iterable[PackRow], settings: Settings, most: int | None = None
) -> Iterator[list[PackRow]]:
    """The packs in batches, the smallest first: each becomes one pack, and takes room for one.

    Args:
        rows: The packs.
        settings: How large a pack may be.
        most: How many packs may be in a batch.
    """
    limit = _limit(settings)
    batch: list[PackRow] = []
    size = 0
    for row in sorted(rows, key=lambda row: (row.stored_bytes, row.id)):
        if batch and (size + row.stored_bytes > limit or len(batch) == most):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += row.stored_bytes
    if batch:
        yield batch

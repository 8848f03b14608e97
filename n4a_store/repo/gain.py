"""What a compaction would gain, found out by doing it and writing nothing.

It takes the time of a compaction and the memory of one, and no room on the disk.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from n4a_store.objects.oid import BytesLike
from n4a_store.packs.writer import PackWriter
from n4a_store.repo.compaction import compact_objects
from n4a_store.repo.geometry import COMPACTED_AT_ONCE, batches
from n4a_store.repo.hot import Hot
from n4a_store.repo.packing import PackBuilder
from n4a_store.storage.rows import PackState

if TYPE_CHECKING:
    from n4a_store.repo.store import Store

__all__ = ["CompactionGain", "compaction_gain"]


@dataclass(frozen=True, slots=True)
class CompactionGain:
    """What ``repack --compact`` would do.

    Args:
        packs_before, packs_after: Live packs.
        bytes_before, bytes_after: Bytes of them.
        deltas: How many objects would be stored as differences from others.
    """

    packs_before: int
    packs_after: int
    bytes_before: int
    bytes_after: int
    deltas: int


class _Scales(PackBuilder):
    """Packs that are weighed and thrown away."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.layout, store.settings, "weighed")
        self.packs = self.weight = 0

    def _begin(self) -> PackWriter:
        if self._writer is None:
            self._writer = PackWriter(_throw_away, self._settings.compression_level)
        return self._writer

    def _seal(self) -> None:
        if self._writer is not None:
            self._writer.seal()
            self.packs += 1
            self.weight += self._writer.size
            self._writer = None

    def finish(self) -> None:
        """Weigh the pack that is not full yet."""
        self._seal()


def _throw_away(data: BytesLike) -> None:
    """The sink of a pack that nobody will read."""


def compaction_gain(store: Store, *, hot: Iterable[str] = ()) -> CompactionGain:
    """Weigh what a compaction would write.

    Args:
        store: The store.
        hot: As for :func:`~n4a_store.repo.repack.repack`.

    Raises:
        NotFoundError: A name in ``hot`` stands for nothing.
        CorruptionError: An object is damaged.
    """
    with store.session():
        with store.catalog.read() as reader:
            rows = reader.packs((PackState.LIVE,))
        store.odb.add(rows)
        kept = Hot(store, rows, hot)
        deltas = packs = written = 0
        for batch in batches(rows, store.settings, COMPACTED_AT_ONCE):
            scales = _Scales(store)
            deltas += compact_objects(scales, [store.odb.reader(row.id) for row in batch], kept)
            scales.finish()
            packs += scales.packs
            written += scales.weight
    before = sum(row.stored_bytes for row in rows)
    return CompactionGain(len(rows), packs, before, written, deltas)

"""Rewriting packs that are partly garbage: what is marked in them is verified and copied."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from n4a_store.repo.copying import copy_objects
from n4a_store.repo.packing import PackBuilder
from n4a_store.repo.reachability import Reachability, entry_lengths
from n4a_store.storage.rows import PackRow

__all__ = ["Sparse", "by_living_bytes", "copy_marked", "take_batch"]

_BATCH_BYTES = 256 * 1024 * 1024


class Sparse(NamedTuple):
    """A pack that is partly garbage."""

    row: PackRow
    living_bytes: int
    """Bytes of the entries that are not."""


def copy_marked(builder: PackBuilder, found: Reachability, pack_id: str) -> NDArray[np.bool_]:
    """Copy the marked objects of a pack, each verified; which ones were copied.

    Raises:
        CorruptionError: One of them is damaged: then its pack must not go.
    """
    marks = found.kept.marks(pack_id).copy()
    copy_objects(builder, found.kept.reader(pack_id), np.flatnonzero(marks).tolist())
    return marks


def by_living_bytes(found: Reachability, sparse: Iterable[str]) -> list[Sparse]:
    """Packs that are partly garbage, those with the least to copy first."""

    def measured(pack_id: str) -> Sparse:
        lengths = entry_lengths(found.kept.reader(pack_id))
        living = int(lengths[found.kept.marks(pack_id)].sum())
        return Sparse(found.rows[pack_id], living)

    return sorted(map(measured, sparse), key=lambda one: one.living_bytes)


def take_batch(left: deque[Sparse], room: int) -> list[Sparse]:
    """Take from ``left`` what is to be rewritten next; nothing where not even the first fits.

    Args:
        left: What is to be rewritten, as :func:`by_living_bytes` has it.
        room: Bytes that copies may take.
    """
    batch: list[Sparse] = []
    size = 0
    while left:
        size += left[0].living_bytes
        if size > room or (batch and size > _BATCH_BYTES):
            break
        batch.append(left.popleft())
    return batch

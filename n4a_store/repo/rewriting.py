"""Rewriting packs that are partly garbage: what is marked in them is verified and copied."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from n4a_store.errors import BackendError, CorruptionError
from n4a_store.packs.entry import CODEC_OFFSET, Codec
from n4a_store.packs.reader import PackReader, end_bytes
from n4a_store.repo.copying import copy_objects
from n4a_store.repo.packing import PackBuilder
from n4a_store.repo.reachability import Reachability, entry_lengths
from n4a_store.storage.rows import PackRow
from n4a_store.storage.system import is_full

__all__ = ["Copies", "Sparse", "by_living_bytes", "copy_batch", "copy_marked", "take_batch"]

log = logging.getLogger(__name__)

_BATCH_BYTES = 256 * 1024 * 1024


class Sparse(NamedTuple):
    """A pack that is partly garbage."""

    row: PackRow
    living_bytes: int
    """Bytes that copies of what is not take, their places in an index included."""


class Copies(NamedTuple):
    """What has been copied."""

    marks: dict[str, NDArray[np.bool_]]
    """Of each pack: which objects."""
    rows: list[PackRow]
    """The packs that hold the copies."""


def copy_marked(builder: PackBuilder, found: Reachability, pack_id: str) -> NDArray[np.bool_]:
    """Copy the marked objects of a pack, each verified; which ones were copied.

    Raises:
        CorruptionError: One of them is damaged: then its pack must not go.
    """
    marks = found.kept.marks(pack_id).copy()
    copy_objects(builder, found.kept.reader(pack_id), np.flatnonzero(marks).tolist())
    return marks


def copy_batch(
    builder: PackBuilder,
    found: Reachability,
    batch: Iterable[Sparse],
    progress: Callable[[int], None],
) -> Copies | None:
    """Copy the marked objects of some packs, and publish the copies.

    Args:
        progress: Is told the bytes of each pack that has been read.

    Returns:
        None where there was no room for them after all: a quota had less left than the disk, or
        somebody else was quicker. Nothing of them is left then.

    Raises:
        CorruptionError: One of the objects is damaged.
        BackendError: The disk refused for another reason.
    """
    marks: dict[str, NDArray[np.bool_]] = {}
    try:
        for one in batch:
            marks[one.row.id] = copy_marked(builder, found, one.row.id)
            progress(one.row.stored_bytes)
        return Copies(marks, builder.publish())
    except BackendError as error:
        if not is_full(error):
            raise
        log.info("packs were not rewritten: %s", error)
        builder.retract()
        return None


def by_living_bytes(found: Reachability, sparse: Iterable[str]) -> list[Sparse]:
    """Packs that are partly garbage, those with the least to copy first."""

    def measured(pack_id: str) -> Sparse:
        reader, marks = found.kept.reader(pack_id), found.kept.marks(pack_id)
        living = int(entry_lengths(reader)[marks].sum()) + _left_alone(reader, marks)
        living += end_bytes(int(marks.sum())) - end_bytes(0)
        return Sparse(found.rows[pack_id], living)

    return sorted(map(measured, sparse), key=lambda one: one.living_bytes)


def _left_alone(reader: PackReader, marks: NDArray[np.bool_]) -> int:
    """Bytes of deltas whose base is not copied with them: they are copied as what they stand for.

    At most: it may be compressed.
    """
    offsets = np.frombuffer(reader.index.offsets, dtype="<u8")[marks]
    data = np.frombuffer(reader.data, dtype=np.uint8)
    places = np.minimum(offsets + np.uint64(CODEC_OFFSET), np.uint64(len(data) - 1))
    size = 0
    for at in np.flatnonzero(marks)[data[places] == Codec.DELTA].tolist():
        with suppress(CorruptionError):  # whoever copies it says so
            header = reader.header_at(at)
            base = -1 if header.base is None else reader.find(header.base)
            if base < 0 or not marks[base]:
                size += header.raw_length
    return size


def take_batch(left: deque[Sparse], room: int) -> list[Sparse]:
    """Take from ``left`` what is to be rewritten next; nothing where not even the first fits.

    Args:
        left: What is to be rewritten, as :func:`by_living_bytes` has it.
        room: Bytes that copies may take.
    """
    batch: list[Sparse] = []
    size = end_bytes(0)
    while left:
        size += left[0].living_bytes
        if size > room or (batch and size > _BATCH_BYTES):
            break
        batch.append(left.popleft())
    return batch

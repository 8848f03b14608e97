"""Repack: merge small packs into larger ones, beside running writers and readers.

Which packs are merged is :mod:`~n4a_store.repo.geometry`'s to say. Every object is verified as it
is copied. A batch is published and its originals
condemned in one commit, and they are dropped before the next batch begins where no lease pins
them: room for one batch is enough, never for a second store.

Repack keeps garbage; gc is what drops it.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from n4a_store.errors import CorruptionError
from n4a_store.packs.reader import PackReader
from n4a_store.repo.catalog_age import check_catalog_age
from n4a_store.repo.compaction import compact_objects
from n4a_store.repo.copying import copy_objects
from n4a_store.repo.geometry import COMPACTED_AT_ONCE, batches, mergeable
from n4a_store.repo.hot import Hot
from n4a_store.repo.packing import PackBuilder
from n4a_store.repo.reachability import of_living_runs
from n4a_store.repo.session import drop_idle_sessions
from n4a_store.repo.sweep import drop_condemned, finish_dropping
from n4a_store.storage.locks import FileLock
from n4a_store.storage.rows import PackRow, PackState

if TYPE_CHECKING:
    from n4a_store.repo.store import Store

__all__ = ["RepackMode", "RepackReport", "repack"]


@dataclass(frozen=True, slots=True)
class RepackReport:
    """What a repack did.

    Args:
        packs_before: Live packs at the beginning.
        packs_after: Live packs at the end.
        merged: The packs that were merged.
        dropped: Those of them that are gone from the disk; the others wait for a lease.
        bytes_read: The size of what was merged.
        bytes_written: The size of what came of it.
    """

    packs_before: int
    packs_after: int
    merged: tuple[str, ...]
    dropped: tuple[str, ...]
    bytes_read: int
    bytes_written: int


class RepackMode(enum.StrEnum):
    """What a repack rewrites, and how."""

    GEOMETRIC = "geometric"
    """Only the small packs that geometry asks for, each object as it is."""

    ALL = "all"
    """All packs, each object as it is."""

    COMPACT = "compact"
    """All packs, near-duplicates as deltas: smallest, and somewhat slower to read."""


def repack(
    store: Store,
    mode: RepackMode = RepackMode.GEOMETRIC,
    *,
    hot: Iterable[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> RepackReport:
    """Merge packs.

    Args:
        store: The store.
        mode: What is rewritten, and how.
        hot: Names of what a compaction does not turn into deltas, because it is read often.
        progress: Called after each batch of packs with the bytes merged so far and the bytes of
            all that will be.

    Raises:
        NotFoundError: A name in ``hot`` stands for nothing.
        LockedError: Another gc or repack is running.
        CorruptionError: An object is damaged. Its pack and all others are as they were.
        BackendError: The disk refused.
    """
    store.format.check_gc()
    lock = FileLock(
        store.layout.gc_lock,
        wait=False,
        note=f"repack, pid {os.getpid()}",
        shared_group=store.settings.shared_group,
    )
    with lock:
        drop_idle_sessions()
        check_catalog_age(store)
        finish_dropping(store)
        with store.catalog.read() as reader:
            live = reader.packs((PackState.LIVE,))
            epoch = reader.epoch().hex()
        # A copy would be no run's: what its workers have written waits for it as it is.
        waiting = of_living_runs(store, live)
        before = [row for row in live if row.id not in waiting]
        settings = store.settings
        chosen = mergeable(before, settings) if mode is RepackMode.GEOMETRIC else before
        kept = None
        if mode is RepackMode.COMPACT:
            kept = Hot(store, before, hot)
            drop_idle_sessions()  # names were looked up: that lease would pin what is merged
        merged: list[PackRow] = []
        dropped: list[PackRow] = []
        written = packs = 0
        # It pins nothing: it only gives this repack's own files a living owner.
        own = store.lock_run()
        try:
            most = COMPACTED_AT_ONCE if mode is RepackMode.COMPACT else None
            for batch in batches(chosen, settings, most):
                builder = PackBuilder(
                    store.layout, settings, f"{epoch}-{own.lease_id}", first=packs
                )
                rows = _merge(store, builder, batch, kept)
                packs += len(rows)  # a batch may make several, and no number is used twice
                merged += batch
                written += sum(row.stored_bytes for row in rows)
                builder.discard()
                dropped += drop_condemned(store)
                if progress is not None:
                    done = sum(row.stored_bytes for row in merged)
                    progress(done, sum(row.stored_bytes for row in chosen))
        finally:
            own.release()
        with store.catalog.read() as reader:
            after = len(reader.packs((PackState.LIVE,)))
    return RepackReport(
        len(live),
        after,
        tuple(row.id for row in merged),
        tuple(row.id for row in dropped),
        sum(row.stored_bytes for row in merged),
        written,
    )


def _merge(
    store: Store, builder: PackBuilder, batch: list[PackRow], hot: Hot | None
) -> list[PackRow]:
    """Copy all objects of ``batch``, publish the copy and condemn the originals in one commit.

    Args:
        hot: What a compaction leaves as it is; None when objects are only copied.
    """
    try:
        # One by one where that will do: there may be more packs than a process may have open.
        readers = (_checked_reader(store, row) for row in batch)
        if hot is not None:
            compact_objects(builder, readers, hot)
        else:
            for reader in readers:
                copy_objects(builder, reader, range(len(reader)))
        rows = builder.publish()
        with store.catalog.write() as writer:
            generation = writer.next_generation()
            for row in batch:
                now = writer.pack(row.id)
                if now is None or now.state is not PackState.LIVE:
                    raise CorruptionError(f"pack {row.id} was changed while gc.lock was held")
                writer.set_pack_state(now, PackState.CONDEMNED, gc_gen=generation, owner="")
            for row in rows:
                writer.put(row)
            writer.next_op("repack", f"merged {len(batch)} packs into {len(rows)}")
    except BaseException:
        builder.discard()
        raise
    store.odb.add(rows)
    return rows


def _checked_reader(store: Store, row: PackRow) -> PackReader:
    reader = store.odb.reader(row.id)
    if len(reader) != row.objects:
        raise CorruptionError(f"pack {row.id} is not the one that the catalog lists")
    reader.verify_index()
    return reader

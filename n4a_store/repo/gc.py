"""gc: mark from the roots, condemn the packs that hold nothing marked, drop them when it is safe.

No clock and no grace period decide what may go. A pack is *condemned* at a new generation while
it is still readable; it is *dropped* when no living lease is older than that generation. A writer
publishes its lease and then reads the catalog; gc writes the catalog and then reads the leases:
whatever the interleaving, one of them sees the other (docs/explanation/protocol.md).

Packs that are only partly garbage are rewritten: what is marked is verified and copied into a new
pack, batch by batch, so that room for one batch is enough. Whatever cannot be read stops gc
before it condemns anything.

The window in which ``undo`` works is policy: reflog entries younger than it are roots.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from n4a_store.repo.catalog_age import check_catalog_age
from n4a_store.repo.gc_record import write_gc_record
from n4a_store.repo.packing import PackBuilder
from n4a_store.repo.reachability import (
    Garbage,
    Reachability,
    entry_lengths,
    mark_held,
    mark_store,
    packs_in,
    preview,
    refuse_missing,
    undo_cutoff_us,
)
from n4a_store.repo.rewriting import Sparse, by_living_bytes, copy_batch, take_batch
from n4a_store.repo.roots import expired_ops, roots_since
from n4a_store.repo.session import READABLE, drop_idle_sessions
from n4a_store.repo.sweep import (
    Held,
    drop_condemned,
    finish_dropping,
    lease_floor,
    list_unlisted,
    lock_or_make_room,
    remove_unlisted,
)
from n4a_store.storage.catalog_access import CatalogReader, CatalogWriter
from n4a_store.storage.clock import now_us
from n4a_store.storage.leases import Lease
from n4a_store.storage.locks import FileLock
from n4a_store.storage.rows import PackRow, PackState

if TYPE_CHECKING:
    from n4a_store.repo.store import Store

__all__ = ["GcReport", "collect"]

log = logging.getLogger(__name__)

_LARGE_PACK_BYTES = 32 * 1024 * 1024
_WORTH_REWRITING = 0.1
_MICROSECONDS_A_DAY = 86_400 * 1_000_000
_FEW_ROOTS = 64
_SEARCHED = (*READABLE, PackState.CONDEMNED)
_MOST_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class GcReport:
    """What gc found and did.

    Args:
        dry_run: Whether it only looked.
        roots: How many roots it marked from.
        reachable: Objects that anything living reaches.
        unreachable: What can be dropped: no ref and no retained reflog entry reaches it.
        undoable: What only the reflog reaches: kept until the undo window has passed.
        condemned: Packs taken out of use.
        dropped: Packs removed from the disk.
        rewritten: Packs that were partly garbage and have been rewritten.
        bytes_freed: By how much the packs on the disk have shrunk; 0 where copies outweigh for now.
        pending: Packs out of use that stay until the leases below are gone.
        held_by: The living leases that pin them.
        tidied: Files of dead writers that were removed.
        expired: Reflog entries that passed the undo window.
        bytes_written: Bytes of the copies of what lives in rewritten packs.
        bytes_pending: Bytes of the pending packs: freed when the leases are gone.
        without_room: Packs that hold garbage still, because there was no room for copies.
    """

    dry_run: bool
    roots: int
    reachable: int
    unreachable: Garbage
    undoable: Garbage
    condemned: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    rewritten: tuple[str, ...] = ()
    bytes_freed: int = 0
    pending: tuple[str, ...] = ()
    held_by: tuple[Held, ...] = ()
    tidied: tuple[str, ...] = ()
    expired: int = 0
    bytes_written: int = 0
    bytes_pending: int = 0
    without_room: tuple[str, ...] = ()


@dataclass(slots=True)
class _Done:
    """What one gc has done so far."""

    condemned: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    rewritten: list[str] = field(default_factory=list)
    tidied: list[str] = field(default_factory=list)
    without_room: list[str] = field(default_factory=list)
    written: int = 0
    written_bytes: int = 0
    dropped_bytes: int = 0
    expired: int = 0


def collect(
    store: Store,
    *,
    dry_run: bool = False,
    expire_now: bool = False,
    thorough: bool = False,
    progress: Callable[[int, int], None] | None = None,
    marking: Callable[[int, int], None] | None = None,
) -> GcReport:
    """Collect the garbage of a store, beside running writers and readers.

    Args:
        store: The store.
        dry_run: Only tell what would be done.
        expire_now: Drop what only undo keeps as well.
        thorough: Rewrite every pack that holds any garbage, however little.
        progress: Called as packs are rewritten, with the bytes of those that have been and of all
            that will be.
        marking: Called while it marks, with objects: see `mark_store`.

    Raises:
        LockedError: Another gc or repack is running; the message says whose.
        CorruptionError: Something reachable is missing or damaged, or the catalog is older than
            the packs. Nothing was deleted.
        BackendError: The disk refused.
    """
    store.format.check_gc()
    if dry_run:
        with store.session():
            found = preview(store, expire_now=expire_now, progress=marking)
            unreachable, undoable = found.totals()
        return GcReport(True, found.roots, found.living.marked, unreachable, undoable)
    note = f"gc, pid {os.getpid()}"
    lock = FileLock(
        store.layout.gc_lock, wait=False, note=note, shared_group=store.settings.shared_group
    )
    with lock, store.ballast.room_to_delete():
        drop_idle_sessions()
        return _Collector(store, expire_now, thorough, progress, marking).run()


class _Collector:
    """One gc under its lock."""

    def __init__(
        self,
        store: Store,
        expire_now: bool,
        thorough: bool,
        progress: Callable[[int, int], None] | None,
        marking: Callable[[int, int], None] | None,
    ) -> None:
        self._store = store
        self._expire_now = expire_now
        self._thorough = thorough
        self._progress = progress or (lambda *_: None)
        self._marking = marking
        self._done = _Done()
        self._looked_at = self._to_look_at = 0  # bytes of sparse packs
        # Of each pack that this gc has rewritten and condemned: what it copied.
        self._copied: dict[str, NDArray[np.bool_]] = {}

    def run(self) -> GcReport:
        store, done = self._store, self._done
        check_catalog_age(store)
        done.dropped += finish_dropping(store)
        # The files first, then the leases, then the rows: a file of a living writer is either
        # seen with its lease alive or not seen at all.
        unlisted = list_unlisted(store)
        own = lock_or_make_room(store, unlisted)
        try:
            found, sequence = self._mark()
            unreachable, undoable = found.totals()
            self._sweep(found, sequence, own)
        finally:
            own.release()
        done.tidied += remove_unlisted(store, unlisted)
        with store.catalog.write() as writer:
            write_gc_record(
                writer,
                reachable=found.living.marked,
                orphans=undoable.objects,
                orphan_bytes=undoable.stored_bytes,
                bytes_freed=max(0, done.dropped_bytes - done.written_bytes),
            )
        with store.catalog.read() as reader:
            pending = list(reader.packs((PackState.CONDEMNED,)))
        return GcReport(
            False,
            found.roots,
            found.living.marked,
            unreachable,
            undoable,
            tuple(done.condemned),
            tuple(done.dropped),
            tuple(done.rewritten),
            max(0, done.dropped_bytes - done.written_bytes),
            tuple(row.id for row in pending),
            lease_floor(store).held_by if pending else (),
            tuple(done.tidied),
            done.expired,
            done.written_bytes,
            sum(row.stored_bytes for row in pending),
            tuple(done.without_room),
        )

    def _mark(self) -> tuple[Reachability, int]:
        """Expire the reflog, then mark at the sequence number of that very commit."""
        store = self._store
        cutoff = undo_cutoff_us(store, self._expire_now)
        with store.catalog.write() as writer:
            # Deleted, not ignored: an undo that comes after this must not find them.
            self._done.expired = expire_reflog(writer, cutoff)
            sequence = writer.sequence()
        # Every entry that is left is a root, however old it has become since.
        return mark_store(store, _SEARCHED, None, self._marking), sequence

    def _catch_up(self, found: Reachability, sequence: int) -> int:
        """Mark, outside any lock, what was committed since, until little is left to do."""
        for _ in range(_MOST_ROUNDS):
            with self._store.catalog.read() as reader:
                now = reader.sequence()
                if now == sequence:
                    break
                news = self._news(reader, sequence)
                self._learn(reader, found)
            found.kept.mark(news)
            sequence = now
            if len(news) <= _FEW_ROOTS:
                break
        return sequence

    def _news(self, reader: CatalogReader, sequence: int) -> list[tuple[int, bytes]]:
        """Roots set by operations after ``sequence``."""
        return [(root.kind, root.oid) for root in roots_since(reader, sequence)]

    def _learn(self, reader: CatalogReader, found: Reachability) -> None:
        """Let the marker search packs that were committed since it was made.

        One that a worker wrote meanwhile is a root like those before it: what it relies on must
        not go before its run has adopted it.
        """
        store = self._store
        rows = packs_in(reader, _SEARCHED).values()
        fresh = [row for row in rows if row.id not in found.kept]
        store.odb.add(fresh)
        found.kept.add_packs((row.id, store.odb.reader(row.id)) for row in fresh)
        mark_held(found.kept, store, [row for row in fresh if row.owner])

    def _sweep(self, found: Reachability, sequence: int, own: Lease) -> None:
        """Condemn what is dead, then rewrite what is partly dead, batch by batch."""
        store = self._store
        dead, sparse = self._choose(found)
        left = deque[Sparse]()
        if sparse and not self._is_held_up():
            # Deltas whose base is garbage are copied whole, which may take more than both did.
            left.extend(
                one
                for one in by_living_bytes(found, sparse)
                if self._thorough or one.living_bytes < one.row.stored_bytes
            )
        self._to_look_at = sum(one.row.stored_bytes for one in left)
        self._progress(0, self._to_look_at)
        sequence = self._condemn(found, self._catch_up(found, sequence), dead, {}, [])
        self._drop([])
        while left:
            # The ballast's worth stays free: condemning takes some of it.
            batch = take_batch(left, store.ballast.free_bytes())
            if not batch:
                self._done.without_room += [one.row.id for one in left]
                break
            now = self._replace(found, sequence, own, batch)
            if now is None:
                self._done.without_room += [one.row.id for one in (*batch, *left)]
                break
            sequence = now
            if self._is_held_up():
                break  # by what this batch condemned: room for one batch is what it takes

    def _replace(
        self, found: Reachability, sequence: int, own: Lease, batch: list[Sparse]
    ) -> int | None:
        """Condemn sparse packs, in whose place copies of what lives come; None without room."""
        builder = PackBuilder(
            self._store.layout,
            self._store.settings,
            f"{self._epoch()}-{own.lease_id}",
            first=self._done.written,
        )
        try:
            copies = copy_batch(builder, found, batch, self._look_at)
            if copies is not None:
                sequence = self._catch_up(found, sequence)
                self._done.written += len(copies.rows)  # no number is used twice
                sequence = self._condemn(found, sequence, [], copies.marks, copies.rows)
        except BaseException:
            builder.discard()
            raise
        builder.discard()
        if copies is None:
            return None
        self._drop(copies.rows)
        return sequence

    def _look_at(self, size: int) -> None:
        self._looked_at += size
        self._progress(self._looked_at, self._to_look_at)

    def _is_held_up(self) -> bool:
        """Whether some lease keeps what has been condemned.

        Then a rewrite would take room and free none: the same lease would keep its originals.
        """
        floor = lease_floor(self._store)
        with self._store.catalog.read() as reader:
            return not all(floor.allows(row) for row in reader.packs((PackState.CONDEMNED,)))

    def _epoch(self) -> str:
        with self._store.catalog.read() as reader:
            return reader.epoch().hex()

    def _choose(self, found: Reachability) -> tuple[list[str], list[str]]:
        """The packs without a marked object, and those worth rewriting."""
        dead, sparse = [], []
        for pack_id, row in found.rows.items():
            marks = found.kept.marks(pack_id)
            if not marks.any():
                if row.state is not PackState.CONDEMNED and pack_id not in found.held:
                    dead.append(pack_id)
                continue
            if row.state is not PackState.LIVE or marks.all() or pack_id in found.held:
                continue
            lengths = entry_lengths(found.kept.reader(pack_id))
            share = float(lengths[~marks].sum()) / max(row.stored_bytes, 1)
            small = row.stored_bytes <= _LARGE_PACK_BYTES
            if self._thorough or small or share >= _WORTH_REWRITING:
                sparse.append(pack_id)
        return dead, sparse

    def _condemn(
        self,
        found: Reachability,
        sequence: int,
        dead: list[str],
        copied: dict[str, NDArray[np.bool_]],
        rows: list[PackRow],
    ) -> int:
        """In one transaction: mark the last news, publish copies, condemn, stamp the generation."""
        store, done = self._store, self._done
        with store.catalog.write() as writer:
            news = self._news(writer, sequence)
            self._learn(writer, found)
            found.kept.mark(news)
            refuse_missing(found.kept)
            now = {row.id: row for row in writer.packs()}
            gone = [now[pack_id] for pack_id in dead if not found.kept.marks(pack_id).any()]
            for pack_id, positions in copied.items():
                # What was marked since the copy stands in this pack alone: then it must stay.
                if not (found.kept.marks(pack_id) & ~positions).any():
                    gone.append(now[pack_id])
                    done.rewritten.append(pack_id)
                    self._copied[pack_id] = positions
            gone = [row for row in gone if row.state in (PackState.LIVE, PackState.HELD)]
            for pack_id, row in now.items():
                # Marked although condemned: an undo or a root found it; it must live.
                if row.state is PackState.CONDEMNED and self._is_needed(found, pack_id):
                    writer.set_pack_state(row, PackState.LIVE, gc_gen=0)
            if gone or rows:
                generation = writer.next_generation()
                for row in gone:
                    writer.set_pack_state(row, PackState.CONDEMNED, gc_gen=generation, owner="")
                for row in rows:
                    writer.put(row)
                writer.next_op("gc", f"condemned {len(gone)} packs")
            sequence = writer.sequence()
        done.condemned += [row.id for row in gone]
        done.written_bytes += sum(row.stored_bytes for row in rows)
        store.odb.add(rows)
        return sequence

    def _is_needed(self, found: Reachability, pack_id: str) -> bool:
        """Whether something is marked in a pack that this gc has not copied out of it."""
        marks, copied = found.kept.marks(pack_id), self._copied.get(pack_id)
        return bool(marks.any() if copied is None else (marks & ~copied).any())

    def _drop(self, rows: list[PackRow]) -> None:
        dropped = drop_condemned(self._store)
        self._done.dropped += [row.id for row in dropped]
        self._done.dropped_bytes += sum(row.stored_bytes for row in dropped)
        if rows:
            log.info("gc rewrote %d packs into %d", len(self._done.rewritten), len(rows))


def expire_reflog(writer: CatalogWriter, cutoff_us: int) -> int:
    """Delete the reflog entries older than ``cutoff_us``; how many there were.

    The operations that no entry belongs to any more go with them, but never younger than a day:
    a writer that lost the answer to its commit looks for it there.
    """
    day_ago = now_us() - _MICROSECONDS_A_DAY
    old = writer.ops_before(min(cutoff_us, day_ago))
    rows = list(writer.reflog())
    expiring = expired_ops(writer, rows, cutoff_us)
    expired = [row for row in rows if row.op in expiring]
    kept = {row.op for row in rows if row.op not in expiring}
    for row in expired:
        writer.delete(row)
    for op in old.values():
        if op.op not in kept:
            writer.delete(op)
    return len(expired)

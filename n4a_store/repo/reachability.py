"""Reachability: what lives, what only undo could bring back, and what is garbage.

Two marks over the same packs answer all three. Nothing here changes a store; ``gc`` decides by
it, and previews, orphan lists and statistics show the very same figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from n4a_store.errors import CorruptionError
from n4a_store.packs.reader import PackReader
from n4a_store.repo.mark import Marker
from n4a_store.repo.roots import living_roots, undo_roots
from n4a_store.repo.session import READABLE
from n4a_store.storage.catalog_access import CatalogReader
from n4a_store.storage.clock import now_us
from n4a_store.storage.leases import list_leases
from n4a_store.storage.rows import PackRow, PackState

if TYPE_CHECKING:
    from n4a_store.repo.store import Store

__all__ = [
    "Garbage",
    "Reachability",
    "entry_lengths",
    "mark_held",
    "mark_store",
    "packs_in",
    "preview",
    "refuse_missing",
    "undo_cutoff_us",
]

_MICROSECONDS_A_DAY = 86_400 * 1_000_000
_AT_ONCE = 65_536


@dataclass(frozen=True, slots=True)
class Garbage:
    """A number of objects and the bytes they take in their packs."""

    objects: int = 0
    stored_bytes: int = 0


@dataclass(slots=True)
class Reachability:
    """Two marks over the same packs: by what lives, and by what undo may bring back.

    Args:
        living: Marks from refs, pins and held packs.
        kept: Marks from these and the retained reflog.
        rows: The packs that were marked over.
        roots: How many roots there were.
        held: The packs of workers of living runs: each is a root as it stands.
    """

    living: Marker
    kept: Marker
    rows: dict[str, PackRow]
    roots: int
    held: set[str]

    def orphans(self) -> Iterator[tuple[bytes, int, int, bool]]:
        """Objects that no ref reaches: id, kind, stored bytes, and whether undo keeps it."""
        for pack_id in self.rows:
            index = self.living.reader(pack_id).index
            kept = self.kept.marks(pack_id)
            unmarked = np.flatnonzero(~self.living.marks(pack_id)).tolist()
            for begin in range(0, len(unmarked), _AT_ONCE):
                positions = unmarked[begin : begin + _AT_ONCE]
                oids = [index.oid_at(position) for position in positions]
                copies = self.living.marked_among(oids)  # second copies of living objects
                for place, position in enumerate(positions):
                    if place not in copies:
                        size, undoable = index.lengths[position], bool(kept[position])
                        yield oids[place], index.kinds[position], size, undoable

    def totals(self) -> tuple[Garbage, Garbage]:
        """What can be dropped, and what only undo keeps."""
        sums = np.zeros((2, 2), dtype=np.int64)
        for pack_id in self.rows:
            lengths = entry_lengths(self.living.reader(pack_id))
            living, kept = self.living.marks(pack_id), self.kept.marks(pack_id)
            for row, mask in enumerate((~kept, kept & ~living)):
                sums[row] += (np.count_nonzero(mask), int(lengths[mask].sum()))
        (dead, dead_bytes), (undo, undo_bytes) = sums.tolist()
        return Garbage(dead, dead_bytes), Garbage(undo, undo_bytes)


def entry_lengths(reader: PackReader) -> NDArray[np.uint64]:
    return np.frombuffer(reader.index.length_bytes, dtype="<u8")


def undo_cutoff_us(store: Store, expire_now: bool) -> int:
    """Reflog entries older than this are expired; microseconds since 1970."""
    now = now_us()
    if expire_now:
        # Later than any entry there can be, even one whose clock ran ahead.
        return 2**63 - 1
    return now - store.settings.undo_window_days * _MICROSECONDS_A_DAY


def preview(
    store: Store, *, expire_now: bool = False, progress: Callable[[int, int], None] | None = None
) -> Reachability:
    """What gc would find, without changing anything; call it within a session.

    Args:
        store: The store.
        expire_now: As if the undo window had passed for everything.
        progress: See `mark_store`.

    Raises:
        CorruptionError: A root or an object on the way is missing or damaged.
    """
    cutoff = undo_cutoff_us(store, expire_now)
    try:
        return mark_store(store, READABLE, cutoff, progress)
    except CorruptionError:
        if not store.sessions.is_blind:
            raise
    # No lease kept gc from dropping what was being marked. Damage is still there now.
    return mark_store(store, READABLE, cutoff, progress)


def mark_store(
    store: Store,
    states: tuple[PackState, ...],
    since_us: int | None,
    progress: Callable[[int, int], None] | None = None,
) -> Reachability:
    """Mark by what lives, then by what undo may bring back.

    Args:
        store: The store.
        states: The packs to mark in.
        since_us: The age of the oldest reflog entry that counts; None for all of them.
        progress: Called after each batch with the objects marked so far, and how many that can be
            at most: garbage is not marked, so the end may come sooner.

    Raises:
        CorruptionError: A root or an object on the way is missing or damaged.
    """
    with store.catalog.read() as reader:
        rows = packs_in(reader, states)
        living = [(root.kind, root.oid) for root in living_roots(reader)]
        undo = [(root.kind, root.oid) for root in undo_roots(reader, since_us)]
        held = [row for row in rows.values() if row.owner]
    store.odb.add(rows.values())
    packs = [(pack_id, store.odb.reader(pack_id)) for pack_id in rows]
    most = sum(row.objects for row in rows.values())
    before = 0

    def count(marked: int) -> None:
        if progress is not None:
            progress(before + marked, most)

    count(0)
    first = Marker(packs)
    before = first.mark(living, count)
    waiting = mark_held(first, store, held)
    refuse_missing(first)
    # What lives is kept: only what undo adds has to be walked for the second mark.
    second = first.marked_too()
    second.mark(undo, count)
    refuse_missing(second)
    count(most - before)
    return Reachability(first, second, rows, len(living) + len(undo), waiting)


def packs_in(reader: CatalogReader, states: tuple[PackState, ...]) -> dict[str, PackRow]:
    """The packs in these states, in their order: a living copy is marked before another."""
    return {row.id: row for state in states for row in reader.packs((state,))}


def mark_held(marker: Marker, store: Store, held: list[PackRow]) -> set[str]:
    """What a worker of a living run has written is reachable, whoever will name it.

    That goes for as long as the run lives: one handover is adopted after another, and a commit that
    needs one of its packs makes them all live, while nothing names what the others hold.

    Returns:
        The packs of such workers. They must stay even where none of their objects is marked in
        them, because a living pack has all of these too: that one may go before the run adopts.
    """
    waiting = of_living_runs(store, held)
    for pack_id in waiting:
        index = marker.reader(pack_id).index
        marker.mark((kind, oid) for oid, _, _, kind in index.records())
    return waiting


def of_living_runs(store: Store, rows: Iterable[PackRow]) -> set[str]:
    """The packs that workers of a run wrote which is still going on."""
    owned = [row for row in rows if row.owner]
    if not owned:
        return set()
    alive = {info.lease_id for info in list_leases(store.layout.leases) if info.alive}
    return {row.id for row in owned if row.owner in alive}


def refuse_missing(marker: Marker) -> None:
    """Stop when marking met anything missing or damaged: then nothing is garbage.

    Raises:
        CorruptionError: It did.
    """
    if marker.missing:
        first = marker.missing[0]
        more = f" (and {len(marker.missing) - 1} more)" if len(marker.missing) > 1 else ""
        raise CorruptionError(
            f"object {first.oid.hex()[:12]} cannot be read: {first.reason}{more}; "
            "nothing was deleted",
            hint="run: n4a-store fsck --full",
        )

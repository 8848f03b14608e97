"""What a store holds and what it takes, from counters alone.

Every commit writes the size of its packs into the catalog, so nothing here walks or reads
objects: the answer costs the same for ten objects and for ten million. What counters cannot know
is which objects are orphans: that is for gc to find out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from n4a_store.objects.html import facts_html, size_text
from n4a_store.repo.gc_record import GcRecord, read_gc_record
from n4a_store.repo.geometry import mergeable
from n4a_store.repo.store import Store
from n4a_store.storage.files import list_folder
from n4a_store.storage.layout import PACK_SUFFIX
from n4a_store.storage.leases import LeaseInfo, list_leases
from n4a_store.storage.rows import PackRow, PackState, RefRow

__all__ = ["LeaseStats", "PackTotals", "StoreStats", "store_stats"]


@dataclass(frozen=True, slots=True)
class PackTotals:
    """Packs added up.

    Args:
        objects: Objects in them; one that stands in two packs counts twice.
        stored_bytes: Bytes of the files.
        raw_bytes: Bytes of the objects before compression.
    """

    packs: int = 0
    objects: int = 0
    stored_bytes: int = 0
    raw_bytes: int = 0


@dataclass(frozen=True, slots=True)
class LeaseStats:
    """A lease that is held, and what gc must keep because of it.

    Args:
        role: writer, reader or run; "unknown" when its file cannot be read.
        pid: Of its owner, as a label; None when unknown.
        since: When it was taken; None when unknown.
        pinned_bytes: Bytes of condemned packs that cannot be dropped while it is held.
    """

    lease_id: str
    role: str
    pid: int | None
    since: datetime | None
    pinned_bytes: int


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What a store holds and what it takes.

    Args:
        refs: How many refs there are, by namespace: tags, pipelines, runs, others.
        live, condemned, dropping, held: Packs by state. Condemned ones wait for gc.
        catalog_bytes: Bytes of the catalog.
        unlisted_packs: Files in packs/ that the catalog does not know.
        mergeable_packs: Live packs that a repack would merge into one.
        leases: Those that are held now; this process's own included.
        last_gc: What the last gc found; None when there was none.
    """

    refs: dict[str, int]
    live: PackTotals
    condemned: PackTotals
    dropping: PackTotals
    held: PackTotals
    catalog_bytes: int
    unlisted_packs: int
    mergeable_packs: int
    leases: tuple[LeaseStats, ...]
    last_gc: GcRecord | None

    @property
    def stored_bytes(self) -> int:
        """Bytes of all packs."""
        parts = (self.live, self.condemned, self.dropping, self.held)
        return sum(part.stored_bytes for part in parts)

    def html(self, title: str) -> str:
        """A table for a notebook, under a title."""
        facts: list[tuple[str, object]] = [
            ("objects", f"{self.live.objects} in {self.live.packs} packs"),
            ("on disk", size_text(self.live.stored_bytes)),
            ("uncompressed", size_text(self.live.raw_bytes)),
            *((name, count) for name, count in self.refs.items()),
        ]
        return facts_html(title, facts)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return self.html("Store")


def store_stats(store: Store) -> StoreStats:
    """Count what is in `store`.

    Raises:
        CorruptionError: The catalog is damaged.
        BackendError: A lease cannot be looked at.
    """
    with store.catalog.read() as reader:
        packs = reader.packs()
        refs = _by_namespace(reader.refs())
        last_gc = read_gc_record(reader)
    live = [pack for pack in packs if pack.state is PackState.LIVE]
    leases = [lease for lease in list_leases(store.layout.leases) if lease.alive]
    known = {pack.id + PACK_SUFFIX for pack in packs}
    return StoreStats(
        refs=refs,
        live=_totals(packs, PackState.LIVE),
        condemned=_totals(packs, PackState.CONDEMNED),
        dropping=_totals(packs, PackState.DROPPING),
        held=_totals(packs, PackState.HELD),
        catalog_bytes=store.layout.catalog.stat().st_size,
        unlisted_packs=sum(name not in known for name in list_folder(store.layout.packs)),
        mergeable_packs=len(mergeable(live, store.settings)),
        leases=tuple(_lease(lease, packs) for lease in leases),
        last_gc=last_gc,
    )


def _by_namespace(rows: Iterable[RefRow]) -> dict[str, int]:
    counts = {"tags": 0, "pipelines": 0, "runs": 0}
    for row in rows:
        space = row.name.split("/", 2)[1]
        counts[space] = counts.get(space, 0) + 1
    return counts


def _totals(packs: Iterable[PackRow], state: PackState) -> PackTotals:
    chosen = [pack for pack in packs if pack.state is state]
    return PackTotals(
        len(chosen),
        sum(pack.objects for pack in chosen),
        sum(pack.stored_bytes for pack in chosen),
        sum(pack.raw_bytes for pack in chosen),
    )


def _lease(lease: LeaseInfo, packs: Iterable[PackRow]) -> LeaseStats:
    pinned = [
        pack.stored_bytes
        for pack in packs
        if (lease.role is None or lease.role.pins)
        and pack.state is PackState.CONDEMNED
        and pack.kept_at(lease.generation)
    ]
    return LeaseStats(
        lease.lease_id,
        "unknown" if lease.role is None else lease.role.name.lower(),
        lease.pid,
        None if lease.created_us is None else _moment(lease.created_us),
        sum(pinned),
    )


def _moment(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC)

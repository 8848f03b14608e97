"""Dropping packs: the part of gc that unlinks, each step safe to die after.

A pack goes condemned → dropping → unlinked → row deleted. ``dropping`` is committed before the
first unlink, so a gc that dies leaves rows which say what to finish. Files that no row names are
removed only when their owner, whose lease they are named after, is dead.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from n4a_store.errors import BackendError
from n4a_store.storage.files import (
    list_folder,
    refuse_link,
    remove_file,
    remove_tree,
    sync_folder,
)
from n4a_store.storage.layout import PACK_SUFFIX
from n4a_store.storage.leases import Lease, LeaseInfo, is_lease_id, list_leases, probe_lease
from n4a_store.storage.rows import PackRow, PackState
from n4a_store.storage.system import is_full

if TYPE_CHECKING:
    from n4a_store.repo.store import Store

__all__ = [
    "Floor",
    "Held",
    "Unlisted",
    "drop_condemned",
    "finish_dropping",
    "lease_floor",
    "list_unlisted",
    "lock_or_make_room",
    "owner_of",
    "remove_transactions",
    "remove_unlisted",
]

log = logging.getLogger(__name__)

_PACK_NAME = re.compile(r"(?P<epoch>[0-9a-f]{16})-(?P<owner>[0-9a-f]{32})-[0-9]+\.n4p")


@dataclass(frozen=True, slots=True)
class Held:
    """A living lease that keeps condemned packs on the disk.

    Args:
        pid: Of its owner, as it says itself; None when unreadable.
        role: writer or reader; unknown when unreadable.
        age_seconds: How long it has been held; None when unreadable.
        generation: What it pins; None: everything.
        pinned_bytes: Bytes of condemned packs that cannot be dropped while it is held.
    """

    pid: int | None
    role: str
    age_seconds: float | None
    generation: int | None
    pinned_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Floor:
    """The oldest generation that a living lease pins.

    Args:
        generation: None when nothing is pinned; -1 when a lease cannot be read and counts as
            pinning everything.
        held_by: The leases that pin.
    """

    generation: int | None
    held_by: tuple[Held, ...]

    def allows(self, row: PackRow) -> bool:
        """Whether a condemned pack may be dropped."""
        return self.generation is None or not row.kept_at(self.generation)


def lease_floor(store: Store) -> Floor:
    """Look at all leases. Call it after the condemnation has been committed, never before.

    Raises:
        BackendError: A lease cannot be looked at, so nothing may be dropped.
    """
    pinning = [
        info
        for info in list_leases(store.layout.leases)
        if info.alive and (info.role is None or info.role.pins)
    ]
    lowest: int | None = None
    for info in pinning:
        generation = -1 if info.generation is None else info.generation
        lowest = generation if lowest is None else min(lowest, generation)
    if not pinning:
        return Floor(None, ())
    with store.catalog.read() as reader:
        condemned = reader.packs((PackState.CONDEMNED,))
    return Floor(lowest, tuple(_held(info, condemned) for info in pinning))


def _held(info: LeaseInfo, condemned: Iterable[PackRow]) -> Held:
    age = None if info.created_us is None else max(0.0, time.time() - info.created_us / 1e6)
    role = "unknown" if info.role is None else info.role.name.lower()
    pinned = sum(row.stored_bytes for row in condemned if row.kept_at(info.generation))
    return Held(info.pid, role, age, info.generation, pinned)


def drop_condemned(store: Store) -> list[PackRow]:
    """Drop every condemned pack that no living lease pins; the rows of those dropped."""
    floor = lease_floor(store)
    with store.catalog.read() as reader:
        candidates = [row for row in reader.packs((PackState.CONDEMNED,)) if floor.allows(row)]
    if not candidates:
        return []
    dropping = []
    with store.catalog.write() as writer:
        for row in candidates:
            now = writer.pack(row.id)
            # A commit may have brought it back, or a gc condemned it again, since the leases
            # were looked at: then the look says nothing about it.
            if now == row:
                dropping.append(writer.set_pack_state(now, PackState.DROPPING))
    _unlink(store, dropping)
    return dropping


def finish_dropping(store: Store) -> list[str]:
    """Finish what a gc that died had begun to drop."""
    with store.catalog.read() as reader:
        rows = reader.packs((PackState.DROPPING,))
    _unlink(store, rows)
    return [row.id for row in rows]


def _unlink(store: Store, rows: list[PackRow]) -> None:
    if not rows:
        return
    refuse_link(store.layout.packs)
    for row in rows:
        remove_file(store.layout.pack(row.id))
    sync_folder(store.layout.packs)
    with store.catalog.write() as writer:
        for row in rows:
            writer.delete(row)
    gone = {row.id for row in rows}
    store.odb.retain({pack_id for pack_id in store.odb.pack_ids if pack_id not in gone})


def owner_of(name: str) -> str | None:
    """The lease that a pack's file is named after; None when it is no pack of ours."""
    match = _PACK_NAME.fullmatch(name)
    return None if match is None else match["owner"]


@dataclass(frozen=True, slots=True)
class Unlisted:
    """Files and folders of dead owners that no row may ever name.

    Args:
        packs: Published packs, by file name.
        transactions: Folders under ``txn/``.
        leases: Leases of the dead.
    """

    packs: tuple[str, ...]
    transactions: tuple[str, ...]
    leases: tuple[str, ...]


def list_unlisted(store: Store) -> Unlisted:
    """What dead writers left behind.

    The order matters: list the files, then look at the leases, then read the rows. A pack that is
    listed belongs to an owner whose lease came before it; if that lease is dead when it is looked
    at, the owner has either committed, and its row is seen afterwards, or never will.
    """
    files = list(list_folder(store.layout.packs))
    folders = list(list_folder(store.layout.transactions))
    leases = list_leases(store.layout.leases)
    alive = {info.lease_id for info in leases if info.alive}
    with store.catalog.read() as reader:
        listed = {row.id + PACK_SUFFIX for row in reader.packs()}
        epoch = reader.epoch().hex()
    packs = []
    for name in files:
        match = _PACK_NAME.fullmatch(name)
        if name in listed or match is None or match["owner"] in alive:
            continue
        if match["epoch"] != epoch:
            log.warning("pack %s belongs to another history of this store: left alone", name)
            continue
        packs.append(name)
    return Unlisted(
        tuple(packs),
        tuple(name for name in folders if is_lease_id(name) and name not in alive),
        tuple(info.lease_id for info in leases if not info.alive),
    )


def lock_or_make_room(store: Store, unlisted: Unlisted) -> Lease:
    """The lock of a gc: it pins nothing, and gives this gc's own files a living owner.

    On a full disk there may be no room for it. What the dead had not published is nobody's,
    whatever is reachable: then that goes first.

    Raises:
        BackendError: The disk refuses.
    """
    try:
        return store.lock_run()
    except BackendError as error:
        if not unlisted.transactions or not is_full(error):
            raise
    remove_transactions(store, unlisted)
    return store.lock_run()


def remove_transactions(store: Store, unlisted: Unlisted) -> None:
    """Remove what dead writers had not published."""
    refuse_link(store.layout.transactions)
    for name in unlisted.transactions:
        remove_tree(store.layout.transaction(name))


def remove_unlisted(store: Store, unlisted: Unlisted) -> list[str]:
    """Remove what was listed; a dead owner's lease goes last.

    Listed long ago, so the folders are looked at once more: none may have become a link.

    Raises:
        BackendError: The disk refuses, or one of the folders is a link.
    """
    refuse_link(store.layout.packs)
    refuse_link(store.layout.leases)
    for name in unlisted.packs:
        remove_file(store.layout.packs / name)
    if unlisted.packs:
        sync_folder(store.layout.packs)
    remove_transactions(store, unlisted)
    for name in unlisted.leases:
        probe_lease(store.layout.lease(name), remove_dead=True)
    return [*unlisted.packs, *unlisted.transactions]

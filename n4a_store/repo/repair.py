"""Repair: get out of a damaged store what is still good, and say exactly what is lost.

Nothing here invents bytes. A pack is read forward, entry by entry, without its index; every
object that still hashes to its id is copied into a new pack, which takes the damaged one's place
in one commit. The damaged file is kept in ``quarantine/``.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from n4a_store.errors import (
    CorruptionError,
    InvalidInputError,
    LockedError,
    NotFoundError,
    StoreError,
)
from n4a_store.packs.delta import DeltaBase
from n4a_store.packs.entry import ENTRY_HEADER_BYTES, Codec, EntryHeader, decode_header
from n4a_store.packs.format import ALIGNMENT, FOOTER_BYTES, HEADER_BYTES, Footer
from n4a_store.packs.reader import (
    MOST_HOPS,
    PackReader,
    StoredObject,
    decode_chained,
    decode_entry,
)
from n4a_store.repo.packing import PackBuilder
from n4a_store.repo.session import READABLE
from n4a_store.repo.sweep import owner_of
from n4a_store.storage.files import (
    link_file,
    list_folder,
    make_folder,
    map_file,
    remove_file,
    sync_folder,
)
from n4a_store.storage.layout import PACK_SUFFIX
from n4a_store.storage.leases import list_leases
from n4a_store.storage.locks import FileLock
from n4a_store.storage.rows import PackRow, PackState

if TYPE_CHECKING:
    from n4a_store.repo.store import Store

__all__ = ["Salvaged", "adopt_unlisted_packs", "salvage_pack"]


log = logging.getLogger(__name__)

_LOOKS, _PAUSE = 20, 0.1


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What came of a damaged pack.

    Args:
        pack: The damaged pack; it stands in ``quarantine/`` now.
        into: The packs that hold what could be read; empty when nothing could.
        objects: How many objects were saved.
        lost: The ids that the damaged pack's index, or an entry's header, named and that could
            not be read. None of them can be read from another pack.
        index_was_damaged: Whether the ids lost may be incomplete, because the index that would
            name them was damaged too.
        lost_unnamed: How many more objects the catalog says there were.
    """

    pack: str
    into: tuple[str, ...]
    objects: int
    lost: tuple[bytes, ...]
    index_was_damaged: bool
    lost_unnamed: int = 0


@contextmanager
def _alone(store: Store, doing: str) -> Iterator[None]:
    with FileLock(
        store.layout.gc_lock,
        wait=False,
        note=f"{doing}, pid {os.getpid()}",
        shared_group=store.settings.shared_group,
    ):
        yield


def sound_entries(data: memoryview) -> Iterator[StoredObject | EntryHeader]:
    """What a forward scan finds: each sound object, or the header of one whose bytes are not.

    After a damaged header the scan goes on byte by byte until the next header whose checksum
    holds, so that one flipped bit in a length costs one object and not all that follow. A delta is
    no sound object by itself, but where another entry follows it, it is as long as it says.
    """
    at, limit = HEADER_BYTES, _entries_end(data)
    while at + ENTRY_HEADER_BYTES <= limit:
        header = _header_at(data, at, limit)
        if header is None:
            at += 1
            continue
        stored = data[header.payload : header.end]
        try:
            decode_entry(header, stored)
        except CorruptionError:
            yield header
            # Its length may be what is wrong: look for the next header right behind this one.
            at = header.payload
            if header.codec == Codec.DELTA and (
                limit - header.end < ALIGNMENT or _header_at(data, header.end, limit)
            ):
                at = header.end
            continue
        yield StoredObject(header, stored)
        at = header.end


def _header_at(data: memoryview, at: int, limit: int) -> EntryHeader | None:
    try:
        return decode_header(data, at, limit)
    except CorruptionError:
        return None


def _entries_end(data: memoryview) -> int:
    """Where the index begins if the footer can be believed, else the end of all."""
    try:
        return Footer.decode(bytes(data[-FOOTER_BYTES:]), len(data)).index_offset
    except CorruptionError:
        return len(data)


def salvage_pack(store: Store, pack_id: str) -> Salvaged:
    """Replace a damaged pack by one that holds everything in it that can still be read.

    Raises:
        NotFoundError: The catalog lists no such pack, or its file is gone.
        LockedError: A gc or repack is running.
        BackendError: The disk refused; the damaged pack is where it was.
        UnsupportedFormatError: The store needs rules that this program does not know.
    """
    store.format.check_write()
    store.format.check_gc()
    with _alone(store, "salvage"):
        with store.catalog.read() as reader:
            row = reader.pack(pack_id)
            listed = reader.packs(READABLE)
            epoch = reader.epoch().hex()
        if row is None or row.state not in (PackState.LIVE, PackState.HELD):
            raise NotFoundError(f"the catalog lists no pack {pack_id}")
        path = store.layout.pack(pack_id)
        try:
            data = map_file(path)
        except FileNotFoundError:
            raise NotFoundError(
                f"pack {pack_id} is missing: there is nothing to salvage",
                hint="restore it from a backup",
            ) from None
        own = store.lock_run()
        try:
            builder = PackBuilder(store.layout, store.settings, f"{epoch}-{own.lease_id}")
            try:
                saved, broken = _copy_sound(builder, data)
                named, index_ok = _named_by_index(data, pack_id)
                rows = builder.publish()
                _keep_in_quarantine(store, pack_id)
                _replace(store, row, rows)
            finally:
                builder.discard()
        finally:
            own.release()
        store.odb.add([*listed, *rows])  # it may have been opened just now, and know of none
        store.odb.retain({name for name in store.odb.pack_ids if name != pack_id})
        lost = tuple(oid for oid in sorted((named | broken) - saved) if not _is_whole(store, oid))
        remove_file(path)
    # Where the index is gone as well, the catalog still knows how many there were.
    unnamed = max(row.objects - len(named | broken | saved), 0)
    into = tuple(new.id for new in rows)
    return Salvaged(pack_id, into, len(saved), lost, not index_ok, unnamed)


def _is_whole(store: Store, oid: bytes) -> bool:
    """Whether an object can be read from any pack."""
    if store.odb.find(oid) is None:
        return False  # as nearly always, and sooner known than from each pack
    for place in store.odb.find_all(oid):
        try:
            store.odb.read(place)
        except CorruptionError:
            continue
        return True
    return False


def _copy_sound(builder: PackBuilder, data: memoryview) -> tuple[set[bytes], set[bytes]]:
    sound: dict[bytes, StoredObject] = {}
    broken: set[bytes] = set()
    deltas: list[EntryHeader] = []
    for found in sound_entries(data):
        if not isinstance(found, EntryHeader):
            builder.add_stored(found)
            sound[found.header.oid] = found
        elif found.codec == Codec.DELTA:
            deltas.append(found)  # cannot be told from a broken one before its base is found
        else:
            broken.add(found.oid)
    saved = set(sound)
    as_delta = {header.oid: header for header in deltas}

    def base_of(header: EntryHeader, hops: int = MOST_HOPS) -> DeltaBase:
        whole = sound.get(header.base or b"")
        if whole is not None:
            return DeltaBase(decode_entry(whole.header, whole.stored))
        below = as_delta.get(header.base or b"")
        if below is None or not hops:
            raise CorruptionError("its base is lost")
        stored = data[below.payload : below.end]
        return DeltaBase(decode_chained(below, stored, base_of(below, hops - 1)))

    for header in deltas:
        try:
            raw = decode_entry(header, data[header.payload : header.end], base_of(header))
        except CorruptionError:
            broken.add(header.oid)
            continue
        builder.add(header.oid, header.kind, raw, max(header.item_size, 1))
        saved.add(header.oid)
    return saved, broken


def _named_by_index(data: memoryview, pack_id: str) -> tuple[set[bytes], bool]:
    try:
        reader = PackReader(data, pack_id)
        reader.verify_index()
    except StoreError:
        return set(), False
    return set(reader.index.oids()), True


def _replace(store: Store, row: PackRow, rows: list[PackRow]) -> None:
    with store.catalog.write() as writer:
        now = writer.pack(row.id)
        if now is None:
            raise NotFoundError(f"pack {row.id} was dropped while it was being salvaged")
        writer.delete(now)
        for new in rows:
            writer.put(new.moved(now.state, gc_gen=0, owner=now.owner))
        writer.next_op("salvage", f"replaced damaged pack {row.id}")


def _keep_in_quarantine(store: Store, pack_id: str) -> None:
    """Give the damaged file a second name that gc never looks at, before its first one goes."""
    make_folder(store.layout.quarantine, shared_group=store.settings.shared_group)
    link_file(store.layout.pack(pack_id), store.layout.quarantine / (pack_id + PACK_SUFFIX))
    sync_folder(store.layout.quarantine)
    sync_folder(store.layout.root)  # one that died here may have made the folder


def _unlisted_of_the_dead(store: Store) -> list[str]:
    """The packs that the catalog does not list, none of them a living writer's.

    Listed first, then leases, then rows: what stands there when its writer is dead has been
    committed, and then its row is seen, or never will be by that writer.
    """
    for _ in range(_LOOKS):
        names = [name for name in list_folder(store.layout.packs) if name.endswith(PACK_SUFFIX)]
        alive = {info.lease_id: info for info in list_leases(store.layout.leases) if info.alive}
        with store.catalog.read() as reader:
            listed = {row.id + PACK_SUFFIX for row in reader.packs()}
        unlisted = [name for name in names if name not in listed]
        at_work = [alive[owner] for name in unlisted if (owner := owner_of(name)) in alive]
        if not at_work:
            return [name.removesuffix(PACK_SUFFIX) for name in unlisted]
        time.sleep(_PAUSE)  # a commit takes milliseconds
    raise LockedError(
        f"process {at_work[0].pid or 'unknown'} is at work, and has a pack in packs/ that the "
        "catalog does not list",
        hint="wait for it to end, then repeat",
    )


def adopt_unlisted_packs(store: Store) -> list[str]:
    """Enter every sound pack in ``packs/`` that the catalog does not list.

    It is the way on after a catalog was put back from a backup: afterwards everything that is on
    the disk can be read again, packs that have gone since the backup are no longer listed, and gc
    may run, unless something reachable is lost. Refs that were set after the backup are not
    brought back by it; the objects they named are, as orphans.

    A pack whose writer lives is its writer's: it may be about to be committed, or taken back. It
    may as well have been committed before the catalog was put back, so nothing is entered without
    it either.

    Returns:
        The packs that were entered.

    Raises:
        InvalidInputError: A pack is damaged; salvage or remove it first.
        LockedError: A gc or repack is running, or the writer of an unlisted pack lives.
        UnsupportedFormatError: The store needs rules that this program does not know.
    """
    store.format.check_write()
    store.format.check_gc()
    with _alone(store, "adopt packs"):
        rows = []
        for pack_id in _unlisted_of_the_dead(store):
            try:
                pack = PackReader(map_file(store.layout.pack(pack_id)), pack_id)
                pack.verify_bytes()
            except CorruptionError as error:
                raise InvalidInputError(
                    f"{error}; no pack was entered",
                    hint=f"move {pack_id}{PACK_SUFFIX} out of packs/ and repeat",
                ) from error
            except FileNotFoundError:
                continue  # its writer took it back
            footer = pack.footer
            size = len(pack.data)
            rows.append(
                PackRow(pack_id, PackState.LIVE, 0, "", footer.objects, size, footer.raw_bytes)
            )
        gone: set[str] = set()
        with store.catalog.write() as writer:
            for row in rows:
                if writer.pack(row.id) is None:
                    writer.put(row)
            for listed_row in writer.packs():
                # Rewritten or dropped after the backup: what it held stands in a pack entered
                # above, or is lost, and then fsck names it and gc refuses to run.
                if not store.layout.pack(listed_row.id).exists():
                    log.warning("pack %s is gone: no longer listed", listed_row.id)
                    writer.delete(listed_row)
                    gone.add(listed_row.id)
            for back in writer.packs((PackState.CONDEMNED,)):
                # What was committed after the backup may have brought it back, and relied on it.
                writer.set_pack_state(back, PackState.LIVE, gc_gen=0)
            # Go on counting where the lost catalog had stopped: its numbers are not used twice.
            noted = store.catalog.noted_sequence() or 0
            writer.set_meta("sequence", max(noted, writer.sequence()))
            writer.caught_up = True
            # A generation that no lease has seen: what was condemned before the backup may have
            # been brought back after it, and a reader that lives may have come further.
            seen = [info.generation or 0 for info in list_leases(store.layout.leases)]
            writer.set_meta("generation", max(writer.generation(), *seen, 0))
            writer.next_generation()
            writer.next_op("adopt", f"entered {len(rows)} packs")
        store.odb.add(rows)
        store.odb.retain({pack_id for pack_id in store.odb.pack_ids if pack_id not in gone})
    return [row.id for row in rows]

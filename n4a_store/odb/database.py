"""Many packs as one object database: where an object stands, and its verified bytes.

Packs are immutable and their ids never come back, so what is known of a pack stays true. The
database holds no lease: whoever reads sees to it that the packs it was told of stay (a session
or a transaction does). A pack that the catalog lists and the disk lacks is corruption.

Small packs, of which a training run leaves many, share one table from id to pack, so that a
look-up does not grow with their number; it is bounded, and packs beyond the bound are searched
one by one until a repack merges them.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import NamedTuple

from n4a_store.errors import BackendError, CorruptionError, UnsupportedFormatError
from n4a_store.objects.oid import BytesLike
from n4a_store.odb.kept import KeptBlobs
from n4a_store.odb.small_packs import among, read_ids, serial
from n4a_store.packs.entry import EntryHeader
from n4a_store.packs.reader import PackReader
from n4a_store.storage import forks
from n4a_store.storage.files import map_file
from n4a_store.storage.layout import StoreLayout
from n4a_store.storage.rows import PackRow
from n4a_store.storage.system import is_short

__all__ = ["SMALL_OBJECTS", "Location", "ObjectDatabase", "PackGoneError"]

_OPEN_PACKS = 16_384
"""How many packs are kept mapped, of the 65,530 mappings that the kernel allows a process."""
SMALL_OBJECTS = 4_096
"""Up to how many objects a pack is small: its ids stand in the table."""
_TABLE_OBJECTS = 262_144
_TABLE_FROM_PACKS = 12
_TABLE_FROM_PACKS_TO_DEDUPE = 2
_FSCK = "run: n4a-store fsck --full"


class PackGoneError(CorruptionError):
    """A pack file is missing. Whether that is damage or a race, the caller finds out."""

    def __init__(self, pack_id: str) -> None:
        super().__init__(f"pack {pack_id} is missing", hint="run: n4a-store fsck")
        self.pack_id = pack_id


class Location(NamedTuple):
    """Where an object stands."""

    pack_id: str
    position: int


class ObjectDatabase:
    """The packs of one store that this process knows of. Safe to share among threads.

    Args:
        layout: Where the packs stand.
    """

    def __init__(self, layout: StoreLayout) -> None:
        self._layout = layout
        self._mutex = threading.RLock()
        self._packs: dict[str, PackRow] = {}
        self._readers: OrderedDict[str, PackReader] = OrderedDict()
        self._table: dict[bytes, str] = {}
        self._in_table: set[str] = set()
        self._waiting: list[str] = []  # packs that may come into the table, the newest last
        self._passed_over: list[str] = []  # those that never do: too large, damaged, no room
        self._damaged: dict[str, str] = {}
        # By who holds them: a Ctrl-C may keep him from saying that he does no longer.
        self._snapshots = weakref.WeakKeyDictionary[object, AbstractSet[str]]()
        self._verified_at = -1
        self.changes = 0
        """Counts on when packs come, go or are unmapped: what was true of all may not be now."""
        self.kept = KeptBlobs()
        forks.tell_in_child(self)

    def __contains__(self, pack_id: str) -> bool:
        return pack_id in self._packs

    @property
    def pack_ids(self) -> list[str]:
        """The packs it knows of."""
        return list(self._packs)

    def add(self, rows: Iterable[PackRow]) -> int:
        """Learn of packs; :attr:`changes` when all of them were known."""
        with self._mutex:
            fresh = []
            try:
                for row in rows:
                    if row.id in self._packs:
                        self._packs[row.id] = row
                    else:
                        fresh.append(row)
                for row in sorted(fresh, key=lambda row: serial(row.id)):
                    self._packs[row.id] = row
                    self._waiting.append(row.id)  # no call between: a signal handler may look
                if fresh:
                    self.changes += 1
            except BaseException:  # a Ctrl-C: what is known must be searched
                self.changes += 1
                self._begin_search()
                raise
            return self.changes

    def add_live(self, rows: Mapping[str, PackRow]) -> None:
        """Learn of the packs that are live, by id; whoever begins knows nearly all of them."""
        with self._mutex:
            if not rows.keys() <= self._packs.keys():
                self.add([row for pack_id, row in rows.items() if pack_id not in self._packs])

    def add_written(self, row: PackRow, oids: Collection[bytes]) -> None:
        """Learn of a pack that this process wrote; its ids need not be read back.

        Args:
            row: What the catalog says of it.
            oids: What it holds; where these are not all of it, they are read from the pack.
        """
        with self._mutex:
            known = row.id in self._packs
            self.add((row,))
            if known or len(oids) != row.objects or not self._has_room(row.objects):
                return
            self._enter(row.id, oids)
            self._waiting.remove(row.id)  # last: until then it is searched like any other

    def hold(self, owner: object, snapshot: AbstractSet[str]) -> None:
        """Keep the packs of ``snapshot`` until ``owner`` lets go, or is gone himself.

        A transaction's lease keeps them on the disk although gc may have condemned them, and it
        must be able to read what it relies on. What it held before is let go.
        """
        with self._mutex:
            self._snapshots[owner] = snapshot

    def let_go(self, owner: object) -> None:
        """End a :meth:`hold`; fine when there is none."""
        with self._mutex:
            self._snapshots.pop(owner, None)

    def retain(self, pack_ids: Container[str]) -> None:
        """Forget every pack that is neither among ``pack_ids`` nor held."""
        with self._mutex:
            held = list(self._snapshots.values())
            gone = [
                pack_id
                for pack_id in self._packs
                if pack_id not in pack_ids and not any(pack_id in packs for packs in held)
            ]
            if not gone:
                return
            self.changes += 1
            self.kept.clear()  # what is in no pack any more is not there
            for pack_id in gone:
                self._readers.pop(pack_id, None)
                self._damaged.pop(pack_id, None)
            packs = self._packs.copy()
            for pack_id in gone:
                del packs[pack_id]
            table, in_table = self._table, self._in_table
            if in_table.intersection(gone):
                # Rebuilt on the next look-up: an object of a dropped pack may stand elsewhere.
                table, in_table = {}, set()
            waiting = [name for name in packs if name not in in_table]
            # All in one go, with no call in between at which a Ctrl-C could come: what is searched
            # is what is known.
            self._packs, self._table, self._in_table = packs, table, in_table
            self._waiting, self._passed_over = waiting, []

    def _begin_search(self) -> None:
        """Whatever is not in the table may come into it: there may be room now."""
        self._waiting = [name for name in self._packs if name not in self._in_table]
        self._passed_over = []

    def _untabled(self) -> Iterator[str]:
        """Packs that are searched one by one, the newest first: training looks at what is new."""
        yield from reversed(self._waiting)
        yield from self._passed_over

    def reader(self, pack_id: str) -> PackReader:
        """The opened pack.

        Raises:
            PackGoneError: Its file is missing.
            CorruptionError: It is not a sound pack.
        """
        with self._mutex:
            reader = self._readers.get(pack_id)
            if reader is not None:
                if pack_id in self._readers:  # still, whatever a signal handler has looked at
                    self._readers.move_to_end(pack_id)
                return reader
            if pack_id in self._damaged:
                # A new error each time: one that is raised again and again grows its traceback.
                raise CorruptionError(self._damaged[pack_id], hint=_FSCK)
            try:
                data = self._mapped(self._layout.pack_name(pack_id))
            except FileNotFoundError:
                raise PackGoneError(pack_id) from None
            row = self._packs.get(pack_id)
            try:
                if row is not None and len(data) != row.stored_bytes:
                    raise CorruptionError(
                        f"pack {pack_id}: it has {len(data)} bytes, and {row.stored_bytes} by the "
                        "catalog"
                    )
                reader = PackReader(data, pack_id)
            except (CorruptionError, UnsupportedFormatError) as error:
                # The store's format file says which packs it holds, and it has been checked: a
                # pack of another version is a damaged one.
                prefix = "" if isinstance(error, CorruptionError) else f"pack {pack_id}: "
                self._damaged[pack_id] = prefix + error.message
                raise CorruptionError(self._damaged[pack_id], hint=_FSCK) from error
            self._readers[pack_id] = reader
            if len(self._readers) > _OPEN_PACKS:
                # Only the handle goes: views into the pack keep its mapping.
                self._readers.popitem(last=False)
                self.changes += 1
            return reader

    def _mapped(self, name: str) -> memoryview:
        """The file called ``name``; where no more can be mapped, the other packs make room."""
        try:
            return map_file(name)
        except BackendError as error:
            if not self._readers or not is_short(error):
                raise
        self.unmap()
        return map_file(name)

    def _fill_table(self, beyond: int, wanted: bytes = b"") -> None:
        """Put small packs into the table, the newest first, until it knows ``wanted``.

        Whoever asks for what was trained last need not wait until a thousand packs are open.
        """
        if len(self._waiting) <= beyond:
            return
        # A pack leaves its list when it stands in another: an error, or a Ctrl-C, between the two
        # would make all that it holds disappear.
        while wanted not in self._table:
            # Python calls signal handlers as a loop goes round: looked at within it, at one moment.
            if not self._waiting:
                break
            pack_id = self._waiting[-1]
            oids = None
            if self._has_room(self._packs[pack_id].objects):
                with suppress(CorruptionError):  # the search passes over it as well
                    oids = self._ids_in(pack_id)
            if oids is None:
                self._passed_over.append(pack_id)
            else:
                self._enter(pack_id, oids)
            if self._waiting[-1:] == [pack_id]:  # unless a signal handler's look-up was quicker
                self._waiting.pop()

    def _enter(self, pack_id: str, oids: Collection[bytes]) -> None:
        """Put what a pack holds into the table; what stands there already stays."""
        if self._table.keys().isdisjoint(oids):
            self._table.update(dict.fromkeys(oids, pack_id))
        else:
            for oid in oids:
                self._table.setdefault(oid, pack_id)
        self._in_table.add(pack_id)

    def _has_room(self, objects: int) -> bool:
        return objects <= SMALL_OBJECTS and len(self._table) + objects <= _TABLE_OBJECTS

    def _ids_in(self, pack_id: str) -> list[bytes]:
        """The ids in a small pack; it is not mapped for that: few of them are ever read from.

        Raises:
            CorruptionError: It is missing or cannot be opened.
        """
        if pack_id not in self._readers and pack_id not in self._damaged:
            oids = read_ids(self._layout.pack_name(pack_id), self._packs[pack_id])
            if oids is not None:
                return oids
        return self.reader(pack_id).index.oids()  # or it says what is wrong

    def find_pack(self, oid: bytes, allowed: Container[str]) -> str | None:
        """A pack among ``allowed`` that holds the object; small packs are not even opened.

        For dedupe: a None may be the fault of damage, and then the object is stored again.
        """
        return self.find_packs((oid,), allowed)[oid]

    def find_packs(self, oids: Iterable[bytes], allowed: Container[str]) -> dict[bytes, str | None]:
        """As :meth:`find_pack`, for several objects at once."""
        with self._mutex:
            # A writer asks for each object that it puts: a table pays sooner than for a reader.
            if len(self._waiting) > _TABLE_FROM_PACKS_TO_DEDUPE:
                self._fill_table(_TABLE_FROM_PACKS_TO_DEDUPE)
            table, untabled = self._table, None
            found: dict[bytes, str | None] = {}
            for oid in oids:
                pack_id = table.get(oid)
                if pack_id is None:
                    if untabled is None:
                        untabled = [name for name in self._untabled() if name in allowed]
                    location = self._search(oid, untabled)
                    pack_id = None if location is None else location.pack_id
                elif pack_id not in allowed:
                    location = self.find(oid, allowed)
                    pack_id = None if location is None else location.pack_id
                found[oid] = pack_id
            return found

    def find(self, oid: bytes, allowed: Container[str] | None = None) -> Location | None:
        """Where the object stands, in one of the ``allowed`` packs if they are given.

        A pack that cannot be opened is passed over, so that its damage hides nothing else. A
        None may therefore be the fault of damage: see :meth:`verify_indexes`.
        """
        with self._mutex:
            if oid not in self._table and len(self._waiting) > _TABLE_FROM_PACKS:
                self._fill_table(_TABLE_FROM_PACKS, oid)
            # Before the table: what a signal handler puts into it meanwhile is looked at twice.
            untabled = self._untabled() if oid in self._table else [*self._untabled()]
            tabled = self._table.get(oid)
            if tabled is not None:
                if allowed is None or tabled in allowed:
                    location = self._search(oid, (tabled,))
                    if location is not None:
                        return location
                # It may stand in another small pack as well, which the table cannot tell.
                location = self._search(oid, among([*self._in_table], allowed))
                if location is not None:
                    return location
            return self._search(oid, among(untabled, allowed))

    def _search(self, oid: bytes, pack_ids: Iterable[str]) -> Location | None:
        opened = self._readers
        for pack_id in pack_ids:
            reader = opened.get(pack_id)
            if reader is None:
                try:
                    reader = self.reader(pack_id)
                except CorruptionError:
                    continue
            position = reader.index.find(oid)
            if position >= 0:
                return Location(pack_id, position)
        return None

    def fetch(self, oid: bytes, *, own: bool) -> tuple[int, BytesLike] | None:
        """What :meth:`find` and :meth:`read` give, or :meth:`copy` if it is to be one's ``own``.

        None when it is not found or not sound: they tell which, and may know of another copy.
        """
        with self._mutex:
            place = self._place(oid)
        return None if place is None else place[0].fetch(oid, place[1], own=own)

    def fetch_each(self, oids: Sequence[bytes], *, own: bool) -> list[tuple[int, BytesLike] | None]:
        """As :meth:`fetch`, of several objects."""
        with self._mutex:
            places = [self._place(oid) for oid in oids]
        return [
            None if place is None else place[0].fetch(oid, place[1], own=own)
            for oid, place in zip(oids, places, strict=True)
        ]

    def _place(self, oid: bytes) -> tuple[PackReader, int] | None:
        """Where an object stands, by the first pack that is said to hold it."""
        pack_id = self._table.get(oid)
        if pack_id is not None:
            reader = self._readers.get(pack_id)
            if pack_id in self._readers:
                self._readers.move_to_end(pack_id)
        else:
            reader = self._last_read()
        if reader is not None:
            position = reader.index.find(oid)
            if position >= 0:
                return reader, position
        location = self.find(oid)
        if location is None:
            return None
        try:
            return self.reader(location.pack_id), location.position
        except CorruptionError:
            return None

    def _last_read(self) -> PackReader | None:
        """The pack that was read from last: what was stored together is read together."""
        for pack_id in reversed(self._readers):
            return self._readers[pack_id] if pack_id in self._packs else None
        return None

    def find_all(self, oid: bytes) -> list[Location]:
        """Everywhere the object stands."""
        found = (self._search(oid, (pack_id,)) for pack_id in self.pack_ids)
        return [location for location in found if location is not None]

    def verify_indexes(self) -> None:
        """Check every index against its hash, so that a look-up that found nothing is true.

        Raises:
            CorruptionError: A pack is missing or cannot be opened, or its index is damaged; the
                message names it.
        """
        changes = self.changes
        if changes == self._verified_at:
            return
        for pack_id in self.pack_ids:
            self.reader(pack_id).verify_index()
        self._verified_at = changes  # and not true for long, if some were closed meanwhile

    def header(self, location: Location) -> EntryHeader:
        """The header of the object at ``location``."""
        return self.reader(location.pack_id).header_at(location.position)

    def read(self, location: Location) -> tuple[int, BytesLike]:
        """The kind and the verified bytes of the object at ``location``."""
        return self.reader(location.pack_id).read_at(location.position)

    def copy(self, location: Location) -> tuple[int, BytesLike]:
        """As :meth:`read`, but no part of the pack; see ``PackReader.copy_at``."""
        return self.reader(location.pack_id).copy_at(location.position)

    def unmap(self) -> None:
        """Keep no pack open; each is mapped again when it is read from. Views stay valid."""
        with self._mutex:
            self._readers.clear()
            self.changes += 1

    def close(self) -> None:
        """Forget everything. Views handed out stay valid."""
        with self._mutex:
            self.unmap()
            self.kept.clear()
            self._damaged.clear()
            self._packs, self._table, self._in_table = {}, {}, set()  # as above: in one go
            self._waiting, self._passed_over = [], []

    def _forget_threads(self) -> None:
        """In a forked child: a thread that is not here may have been in the middle of a change."""
        self._mutex = threading.RLock()
        self._table = {}
        self._in_table = set()
        self._begin_search()

"""What stands on the disk, as values that can be compared, changed and kept.

A :class:`Disk` holds everything of a store that processes can tell each other by: the rows of the
catalog, the leases with their content and their locks, the packs with their content, the folders of
transactions, the other two locks, and the number noted outside the catalog. Labels for people are
left out: pids, dates, and the notes in lock files. Equal disks are one object.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from n4a_store.repo.store import Store
from n4a_store.storage.rows import PackRow, PackState

__all__ = ["CATALOG", "COMMITTED", "NOTE", "Change", "Disk", "LeaseSight", "Packs", "Sight"]

CATALOG = "catalog.db/"
_PACKS = CATALOG + "packs"
NOTE = "note"
_NOTED = "commit.lock"
_LOCKS = (_NOTED, "gc.lock")
_SUMMED = ("refs", "reflog", "pins")
_META = ("epoch", "generation", "sequence", "reflog", "version")
# A lease's role and generation; what follows are labels.
_MEANING = slice(5, 16)
# What a commit may change.
COMMITTED = (
    *(CATALOG + table for table in ("ops", "packs", *_SUMMED)),
    *(f"{CATALOG}meta/{key}" for key in _META),
    NOTE,
)

Change = tuple[str, Hashable]


@dataclass(frozen=True, slots=True, eq=False)
class Packs:
    """The packs that a catalog lists; equal ones are one object.

    Args:
        rows: Their rows.
    """

    rows: tuple[PackRow, ...]

    def state_of(self, pack_id: str) -> PackState | None:
        """The state of a pack, None when it has no row."""
        return next((row.state for row in self.rows if row.id == pack_id), None)


@dataclass(frozen=True, slots=True)
class LeaseSight:
    """A lease.

    Args:
        content: Its role and its generation.
        locked: Whether somebody holds its lock.
    """

    content: bytes
    locked: bool


class Disk:
    """Everything that processes can tell each other by; equal ones are one object.

    Values by path: of the catalog :class:`Packs`, sums of other tables and the values of meta, each
    below ``catalog.db/``; a :class:`LeaseSight`, the hash of a pack, the names in a transaction's
    folder, whether a lock is held. What is not there has none.
    """

    __slots__ = ("_names", "changed", "items")

    def __init__(self, items: dict[str, Hashable]) -> None:
        self.items = items
        self.changed: dict[tuple[Change, ...], Disk] = {}
        self._names: dict[str, tuple[str, ...]] = {}

    def value(self, path: str) -> Hashable:
        """What stands at ``path``; the names in a folder when it ends with a slash."""
        if not path.endswith("/"):
            return self.items.get(path)
        names = self._names.get(path)
        if names is None:
            names = tuple(sorted(item for item in self.items if item.startswith(path)))
            self._names[path] = names
        return names

    @property
    def packs(self) -> Packs:
        """The packs that the catalog lists."""
        found = self.items[_PACKS]
        assert isinstance(found, Packs)
        return found

    def is_locked(self, path: str) -> bool:
        """Whether somebody holds the lock on a file."""
        found = self.items.get(path)
        return found.locked if isinstance(found, LeaseSight) else found is True

    def changes_to(self, after: Disk) -> tuple[Change, ...]:
        """What must be set to make ``after`` of this one; None for what is gone."""
        items, later = self.items, after.items
        return tuple(
            (path, later.get(path))
            for path in sorted(items.keys() | later.keys())
            if items.get(path) != later.get(path)
        )


class Sight:
    """Looks at real stores, and makes disks of other disks; all from one scenario."""

    def __init__(self) -> None:
        self._disks: dict[frozenset[Change], Disk] = {}
        self._packs: dict[tuple[PackRow, ...], Packs] = {}

    def __len__(self) -> int:
        return len(self._disks)

    def disk(self, items: dict[str, Hashable]) -> Disk:
        """The disk with these values."""
        key = frozenset(items.items())
        found = self._disks.get(key)
        if found is None:
            found = self._disks[key] = Disk(items)
        return found

    def after(self, disk: Disk, changes: tuple[Change, ...]) -> Disk:
        """The disk that some changes make of another."""
        found = disk.changed.get(changes)
        if found is None:
            items = {**disk.items, **dict(changes)}
            gone = [path for path, value in changes if value is None]
            for path in gone:
                del items[path]
            found = disk.changed[changes] = self.disk(items)
        return found

    def catalog_of(self, store: Store) -> dict[str, Hashable]:
        """Look at the catalog of a store."""
        with store.catalog.read() as reader:
            rows = tuple(reader.packs())
            items: dict[str, Hashable] = {
                CATALOG + "ops": tuple((row.op, row.commit_id) for row in reader.ops()),
                **{CATALOG + table: reader.summary(table).total for table in _SUMMED},
                **{f"{CATALOG}meta/{key}": reader.meta(key) for key in _META},
            }
        items[_PACKS] = self._packs.setdefault(rows, Packs(rows))
        return items

    def look(self, store: Store, catalog: dict[str, Hashable], known: dict[str, str]) -> Disk:
        """Look at a store.

        Args:
            store: The store; looking leaves no trace in it.
            catalog: What its catalog holds now.
            known: The hashes of its packs, by name; it grows.
        """
        root = str(store.path)
        items: dict[str, Hashable] = dict(catalog)
        for name in os.listdir(f"{root}/leases"):
            content, locked = _look_at_lock(f"{root}/leases/{name}")
            items[f"leases/{name}"] = LeaseSight(content[_MEANING], locked)
        for name in os.listdir(f"{root}/packs"):
            path = f"packs/{name}"
            if name not in known:
                known[name] = blake3(Path(root, path).read_bytes()).hexdigest()
            items[path] = known[name]
        for name in os.listdir(f"{root}/txn"):
            items[f"txn/{name}"] = tuple(sorted(os.listdir(f"{root}/txn/{name}")))
        for name in _LOCKS:
            try:
                content, locked = _look_at_lock(f"{root}/{name}")
            except FileNotFoundError:
                continue
            if locked:
                items[name] = True
            if name == _NOTED and content.strip():
                items[NOTE] = content.strip()
        return self.disk(items)


def _look_at_lock(path: str) -> tuple[bytes, bool]:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return os.pread(fd, 64, 0), True
        return os.pread(fd, 64, 0), False
    finally:
        os.close(fd)

"""Where the library is told that threads are processes, and where they are watched.

Within :func:`as_processes` every :class:`~n4a_store.testing.stepping.Process` lives a life of its
own. Each place where one of them meets the shared state notes what it touched and what it saw.

Some functions look at a great deal, return little and leave nothing else behind. What was seen
within them is forgotten when they return, but for what they return: so histories that differ in
nothing that matters any more become one.
"""

from __future__ import annotations

import itertools
import os
import uuid
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from threading import Lock
from typing import Any
from unittest import mock

from n4a_store.odb import database, small_packs
from n4a_store.repo import gc, reachability, repack, session, sweep
from n4a_store.storage import files, leases, locks, system
from n4a_store.storage.catalog import Catalog
from n4a_store.storage.catalog_access import CatalogReader, CatalogWriter
from n4a_store.storage.leases import LeaseInfo
from n4a_store.storage.live_packs import LivePacks
from n4a_store.storage.rows import OpRow, PackRow, Row
from n4a_store.testing.sight import CATALOG, NOTE
from n4a_store.testing.stepping import current, id_of

__all__ = ["as_processes"]


class _NotShared(dict[str, Lock]):
    """The queues for file locks: none, because each thread is a process."""

    def setdefault(self, _: str, default: Any = None) -> Any:
        """The queue that was made for the caller."""
        return default


class _OwnSessions:
    """The read sessions of the process that asks."""

    def add(self, _: session.ReadSessions) -> None:
        """They are found by their process."""

    def __iter__(self) -> Iterator[session.ReadSessions]:
        process = current()
        return iter([] if process is None else [process.store.sessions])


def _announce(name: str, path: str) -> None:
    process = current()
    if process is not None:
        process.announce(name, path)


def _touch(path: str) -> None:
    process = current()
    if process is not None:
        process.touch(path)


def _see(what: Hashable) -> None:
    process = current()
    if process is not None:
        process.see(what)


def _lose_lease(lease: leases.Lease) -> None:
    """What becomes of a lease that nothing holds any more: of a dead process, only its file."""
    process = current()
    if process is not None and not process.killed:
        lease.release()
    elif lease._fd >= 0:
        fd, lease._fd = lease._fd, -1
        os.close(fd)


def _map_file(path: files.AnyPath) -> memoryview:
    _announce("map", str(path))
    _touch(f"packs/{Path(path).name}")
    return files.map_file(path)


def _read_ends(path: files.AnyPath, first: int, last: int) -> tuple[bytes, bytes, int]:
    _announce("map", str(path))  # to others as much as a mapping
    _touch(f"packs/{Path(path).name}")
    return files.read_ends(path, first, last)


def _list_folder(folder: Path) -> Iterator[str]:
    _announce("list", str(folder))
    _touch(f"{folder.name}/")
    names = tuple(files.list_folder(folder))
    _see(names)
    return iter(names)


def _remove_tree(folder: Path) -> None:
    _touch(f"txn/{folder.name}")
    files.remove_tree(folder)


_real_probe = leases.probe_lease


def _probe_lease(path: Path, *, remove_dead: bool = False) -> LeaseInfo | None:
    _touch(f"leases/{path.name}")
    info = _real_probe(path, remove_dead=remove_dead)
    if current() is not None and info is not None and not info.alive and not path.exists():
        # It lost its name while it was looked at. What it said stands nowhere any more, and
        # whoever looks must do without: he may as well find nothing.
        info = LeaseInfo(info.lease_id, False, None, None, None, None)
    _see(None if info is None else _without_labels(info))
    return info


def _without_labels(info: LeaseInfo) -> Hashable:
    return info.lease_id, info.alive, info.generation, info.role


def _kept_of_leases(infos: list[LeaseInfo]) -> Hashable:
    return tuple(_without_labels(info) for info in infos)


def _nothing(_: object) -> Hashable:
    return None


@dataclass(frozen=True, slots=True)
class _Forgetful:
    """A function at whose end something is forgotten.

    Args:
        where, name: Where it stands.
        kept: What its caller can still know of what it returns; None: nothing is forgotten yet.
        level: It calls none of a higher level.
        since: The function at whose beginning the forgotten begins; empty: its own.
    """

    where: object
    name: str
    kept: Callable[[Any], Hashable] | None
    level: int
    since: str = ""

    def patched(self) -> Callable[..., Any]:
        """The function that forgets."""
        function = getattr(self.where, self.name)
        since = self.since or self.name

        @wraps(function)
        def called(*args: Any, **more: Any) -> Any:
            process = current()
            if process is None:
                return function(*args, **more)
            process.began[self.name] = process.seen
            result = function(*args, **more)
            if self.kept is not None:
                but = (self.name, self.kept(result))
                process.forget_since(process.began[since], but, self.level)
            return result

        return called


_real_live_packs = CatalogReader.live_packs


def _live_packs(reader: CatalogReader) -> LivePacks:
    process = current()
    if process is None:
        return _real_live_packs(reader)
    # Whether it reads the rows, or finds by their sum that it knows them, makes no difference.
    process.touch(CATALOG + PackRow.TABLE)
    before = process.seen
    found = _real_live_packs(reader)
    process.forget_since(before, ("live_packs", tuple(sorted(found.rows))), 1)
    return found


_real_pack, _real_condemned = CatalogWriter.pack, CatalogWriter.condemned


def _pack(writer: CatalogWriter, pack_id: str) -> PackRow | None:
    process = current()
    if process is None:
        return _real_pack(writer, pack_id)
    # The same here: it may be read, or known.
    process.touch(CATALOG + PackRow.TABLE)
    before = process.seen
    found = _real_pack(writer, pack_id)
    process.forget_since(before, ("pack", found), 1)
    return found


def _condemned(writer: CatalogWriter) -> list[PackRow]:
    process = current()
    if process is None:
        return _real_condemned(writer)
    process.touch(CATALOG + PackRow.TABLE)
    before = process.seen
    found = _real_condemned(writer)
    process.forget_since(before, ("condemned", tuple(found)), 1)
    return found


_FORGETFUL = (
    *(_Forgetful(where, "list_leases", _kept_of_leases, 1) for where in (sweep, reachability)),
    *(_Forgetful(at, "lease_floor", lambda floor: floor.generation, 2) for at in (sweep, gc)),
    # How many there were is only reported.
    _Forgetful(gc, "expire_reflog", _nothing, 1),
    _Forgetful(gc._Collector, "_is_held_up", bool, 3),
    _Forgetful(gc, "list_unlisted", lambda unlisted: unlisted, 3),
    *(_Forgetful(where, "check_catalog_age", _nothing, 3) for where in (gc, repack)),
    *(_Forgetful(where, "drop_condemned", tuple, 3) for where in (gc, repack)),
    *(_Forgetful(where, "finish_dropping", tuple, 3) for where in (gc, repack)),
    # What was marked and swept, and then what was tidied, is only reported.
    _Forgetful(gc._Collector, "_mark", None, 0),
    _Forgetful(gc._Collector, "_sweep", _nothing, 4, since="_mark"),
    _Forgetful(gc, "remove_unlisted", _nothing, 5, since="list_unlisted"),
)


@contextmanager
def as_processes() -> Iterator[None]:
    """Within this block every process lives a life of its own and stops at its steps."""
    real_rows, real_one, real_meta = CatalogReader._rows, CatalogReader._one, CatalogReader.meta
    real_noted = Catalog.noted_sequence

    def rows(
        reader: CatalogReader, kind: type[Row], where: str = "", values: Iterable[object] = ()
    ) -> Iterator[Row]:
        _touch(CATALOG + kind.TABLE)
        for row in real_rows(reader, kind, where, values):
            _see(replace(row, at_us=0) if isinstance(row, OpRow) else row)
            yield row

    def one(
        reader: CatalogReader, kind: type[Row], where: str, values: tuple[object, ...]
    ) -> Row | None:
        _touch(CATALOG + kind.TABLE)
        row = real_one(reader, kind, where, values)
        if row is not None:
            _see(replace(row, at_us=0) if isinstance(row, OpRow) else row)
        return row

    def meta(reader: CatalogReader, key: str) -> int | bytes | str:
        _touch(f"{CATALOG}meta/{key}")
        value = real_meta(reader, key)
        _see((key, value))
        return value

    def noted_sequence(catalog: Catalog) -> int | None:
        _touch(NOTE)
        value = real_noted(catalog)
        _see(value)
        return value

    def new_id() -> uuid.UUID:
        process = current()
        return id_of("nobody", next(numbers)) if process is None else process.new_id()

    # Packs are listed by their ids: with others, the same scenario would take other steps.
    numbers = itertools.count(1)
    before = system.observe(_announce)
    try:
        with ExitStack() as stack:
            for target, name, value in (
                (CatalogReader, "_rows", rows),
                (CatalogReader, "_one", one),
                (CatalogReader, "meta", meta),
                (CatalogReader, "live_packs", _live_packs),
                (CatalogWriter, "pack", _pack),
                (CatalogWriter, "condemned", _condemned),
                (Catalog, "noted_sequence", noted_sequence),
                (uuid, "uuid4", new_id),
                (database, "map_file", _map_file),
                (small_packs, "read_ends", _read_ends),
                (leases.Lease, "__del__", _lose_lease),
                (leases, "list_folder", _list_folder),
                (leases, "probe_lease", _probe_lease),
                (sweep, "list_folder", _list_folder),
                (sweep, "probe_lease", _probe_lease),
                (sweep, "remove_tree", _remove_tree),
                (locks, "_in_process", _NotShared()),
                (session, "_all_sessions", _OwnSessions()),
                *((each.where, each.name, each.patched()) for each in _FORGETFUL),
            ):
                stack.enter_context(mock.patch.object(target, name, value))
            yield
    finally:
        system.observe(before)

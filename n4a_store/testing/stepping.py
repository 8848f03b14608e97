"""Threads that stand for processes and run step by step, on the real code and real files.

A :class:`Process` has a thread and a store of its own. It stops before each storage step that
another process could notice (:mod:`n4a_store.storage.system` announces them) and goes on when it
is told to; in between nothing else runs. What makes this faithful:

* ``flock`` belongs to an open file and not to a process, so two opens by two threads exclude each
  other exactly as two processes do; what the library shares among the threads of one process
  (queues for locks, idle read sessions) is given to each :class:`Process` by itself.
* A killed process raises :class:`Killed` at its step and at every later one. As every change of
  the disk is announced before it happens, nothing that its ``finally`` blocks try has any effect;
  its descriptors are closed, which frees its locks and leaves its files, as a kill does. SQLite's
  rollback stands for the hot journal that the next process would roll back.
* It never stops inside a read of the catalog, which SQLite makes one step for others, too.

What a process has seen of the shared state is kept as a hash. Two moments with equal disks and
equal hashes have equal futures, which is what lets an explorer leave out the second one.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from blake3 import blake3

from n4a_store.odb import database
from n4a_store.repo import session, sweep
from n4a_store.repo.store import Store
from n4a_store.storage import files, leases, locks, system
from n4a_store.storage.catalog_access import CatalogReader
from n4a_store.storage.rows import OpRow, Row

__all__ = ["Killed", "Process", "Step", "as_processes", "id_of", "is_locked"]

_local = threading.local()
_GENERATION = slice(8, 16)


class Killed(BaseException):
    """Raised in a process that has been killed, at every step that it tries to take."""


class Step(NamedTuple):
    """What a process is about to do: the kind of step and the path, relative to the store."""

    name: str
    path: str

    @property
    def room(self) -> str:
        """The folder or file of the store that it concerns."""
        return self.path.partition("/")[0]

    def __str__(self) -> str:
        return f"{self.name} {self.path}".strip()


# How the store itself calls a conflict that the protocol rules out.
_IMPOSSIBLE = "should not happen"
START = Step("start", "")
# What another process can notice, or what notices another process.
_SHARED = {
    *(("create", "leases"), ("lock", "leases"), ("write", "leases"), ("unlink", "leases")),
    *(("try-lock", "leases"), ("list", "leases"), ("list", "packs"), ("map", "packs")),
    *(("rename", "packs"), ("unlink", "packs"), ("lock", "commit.lock"), ("try-lock", "gc.lock")),
    *(("catalog-read", "catalog.db"), ("catalog-commit", "catalog.db")),
}
# What is of no concern to others while gc.lock is held: a lease that pins nothing, and files
# that nobody else may unlink.
_COLLECTOR_SHARED = _SHARED - {
    *(("create", "leases"), ("lock", "leases"), ("write", "leases"), ("map", "packs")),
}


class Process:
    """One process of an exploration.

    Args:
        name: What it is called.
        store: Its own open store.
        body: What it does.
        expected: Errors that are a fair end for it.
        collects: Whether it is a gc or repack.
        mortal: Whether it may be killed.
    """

    def __init__(
        self,
        name: str,
        store: Store,
        body: Callable[[Process], None],
        *,
        expected: tuple[type[Exception], ...] = (),
        collects: bool = False,
        mortal: bool = True,
    ) -> None:
        self.name = name
        self.mortal = mortal
        self.store = store
        self.at = START
        self.seen = hash(name)
        self.said: list[tuple[Any, ...]] = []
        self.memory: dict[str, Any] = {}
        self.begun = self.killed = self.ended = False
        self.failure: BaseException | None = None
        self.leases: set[str] = set()
        self._body = body
        self._expected = expected
        self._shared = _COLLECTOR_SHARED if collects else _SHARED
        self._free = False
        self._ids = 0
        self._root = str(store.path)
        self._go, self._stopped = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._stopped.acquire()
        # No thread of this process may end its sessions by the clock.
        store.sessions.ends_when_idle = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    # --- what the explorer does with it -------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether it will take no step any more."""
        return self.killed or self.ended

    def advance(self) -> None:
        """Let it take the step it stopped before, and go on to the next."""
        self.begun = True
        self._go.release()
        self._stopped.acquire()

    def begin(self) -> None:
        """Go to the first step, which others can notice; what comes before is its own affair."""
        self.advance()
        self.begun = False

    def kill(self) -> None:
        """Kill it where it stands."""
        self.killed = True
        if not self.ended:
            self.advance()
            self._thread.join()
        self.seen = hash(("killed", *self.said))

    def prepare(self, work: Callable[[Process], None]) -> None:
        """Do something as this process before the exploration begins, without stopping."""
        before = getattr(_local, "process", None)
        _local.process, self._free = self, True
        try:
            work(self)
        finally:
            _local.process, self._free = before, False

    def join(self) -> None:
        """Wait for the thread of a process that is over."""
        self._thread.join()

    # --- what its body may use ----------------------------------------------------------------

    def say(self, *what: Any) -> None:
        """State something that the invariants are checked against, such as an acknowledgement."""
        self.said.append(what)

    # --- inside its thread --------------------------------------------------------------------

    def _run(self) -> None:
        _local.process = self
        self._go.acquire()
        try:
            if not self.killed:
                self._body(self)
                self.store.close()
        except Killed:
            self._drop_leases()
        except self._expected as error:
            if _IMPOSSIBLE in (getattr(error, "hint", None) or ""):
                self.failure = error
            self.say("refused", type(error).__name__, str(error))
            self._drop_leases()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the finding
            self.failure = error
            self._drop_leases()
        self.memory.clear()
        if not self.killed:
            self.ended = True
            self.seen = hash(("ended", *self.said))
        self._stopped.release()

    def _drop_leases(self) -> None:
        for lease in list(leases._open_leases):
            if lease.path.name in self.leases and lease._fd >= 0:
                fd, lease._fd = lease._fd, -1
                os.close(fd)

    def announce(self, name: str, path: str) -> None:
        """Stop before a step, if others could notice it."""
        if self.killed:
            raise Killed
        step = Step(name, path[len(self._root) + 1 :])
        if name == "create" and step.room == "leases":
            self.leases.add(os.path.basename(path))
        inside = self.store.catalog._depth and name != "catalog-commit"
        own = name == "try-lock" and os.path.basename(path) in self.leases
        if self._free or inside or own or (name, step.room) not in self._shared:
            return
        self.at = step
        self.seen = hash((self.seen, step))
        self._stopped.release()
        self._go.acquire()
        if self.killed:
            raise Killed
        self.see(_look(step, path))

    def see(self, what: object) -> None:
        """Remember that the future of this process may depend on ``what``."""
        self.seen = hash((self.seen, what))

    def new_id(self) -> uuid.UUID:
        """A uuid that is the same whenever the exploration comes by here again."""
        self._ids += 1
        return id_of(self.name, self._ids)


def id_of(process: str, number: int) -> uuid.UUID:
    """The ``number``-th id that a process makes, counted from 1."""
    return uuid.UUID(bytes=blake3(f"{process} {number}".encode()).digest(16))


def _look(step: Step, path: str) -> object:
    """What a step will find on the disk."""
    if step.name == "list":
        return tuple(sorted(os.listdir(path)))
    if (step.name, step.room) in {("lock", "leases"), ("map", "packs")}:
        return os.path.exists(path)
    if (step.name, step.room) == ("try-lock", "leases"):
        try:
            content = Path(path).read_bytes()
        except FileNotFoundError:
            return None
        return content[_GENERATION], is_locked(Path(path))
    return None


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock on a file; looking is no step of any process."""
    process, _local.process = getattr(_local, "process", None), None
    try:
        with path.open("r+b") as file:
            return not system.try_lock(file.fileno(), str(path))
    finally:
        _local.process = process


# --- the seams ---------------------------------------------------------------------------------


class _NotShared(dict[str, threading.Lock]):
    """The queues for file locks: none, because each thread is a process."""

    def setdefault(self, _: str, default: Any = None) -> Any:
        """The queue that was made for the caller."""
        return default


class _OwnSessions:
    """The read sessions of the process that asks."""

    def add(self, _: session.ReadSessions) -> None:
        """They are found by their process."""

    def __iter__(self) -> Iterator[session.ReadSessions]:
        process = getattr(_local, "process", None)
        return iter([] if process is None else [process.store.sessions])


def _announce(name: str, path: str) -> None:
    process: Process | None = getattr(_local, "process", None)
    if process is not None:
        process.announce(name, path)


def _see(what: object) -> None:
    process: Process | None = getattr(_local, "process", None)
    if process is not None:
        process.see(what)


def _lose_lease(lease: leases.Lease) -> None:
    """What becomes of a lease that nothing holds any more: of a dead process, only its file."""
    process: Process | None = getattr(_local, "process", None)
    if process is not None and not process.killed:
        lease.release()
    elif lease._fd >= 0:
        fd, lease._fd = lease._fd, -1
        os.close(fd)


def _map_file(path: Path) -> memoryview:
    _announce("map", str(path))
    return files.map_file(path)


def _list_folder(folder: Path) -> Iterator[str]:
    _announce("list", str(folder))
    return files.list_folder(folder)


@contextmanager
def as_processes() -> Iterator[None]:
    """Within this block every :class:`Process` lives a life of its own and stops at its steps."""
    real_rows, real_meta, real_uuid = CatalogReader._rows, CatalogReader.meta, uuid.uuid4

    def rows(
        reader: CatalogReader, kind: type[Row], where: str = "", values: Iterable[object] = ()
    ) -> Iterator[Row]:
        for row in real_rows(reader, kind, where, values):
            _see(replace(row, at_us=0) if isinstance(row, OpRow) else row)
            yield row

    def meta(reader: CatalogReader, key: str) -> int | bytes | str:
        value = real_meta(reader, key)
        _see((key, value))
        return value

    def new_id() -> uuid.UUID:
        process: Process | None = getattr(_local, "process", None)
        return real_uuid() if process is None else process.new_id()

    before = system.observe(_announce)
    try:
        with ExitStack() as stack:
            for target, name, value in (
                (CatalogReader, "_rows", rows),
                (CatalogReader, "meta", meta),
                (uuid, "uuid4", new_id),
                (database, "map_file", _map_file),
                (leases.Lease, "__del__", _lose_lease),
                (sweep, "list_folder", _list_folder),
                (leases, "list_folder", _list_folder),
                (locks, "_in_process", _NotShared()),
                (session, "_all_sessions", _OwnSessions()),
            ):
                stack.enter_context(mock.patch.object(target, name, value))
            yield
    finally:
        system.observe(before)

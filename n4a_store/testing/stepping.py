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

Two things are noted on the way (:mod:`n4a_store.testing.seams` sees to it):

* what a process has *seen* of the shared state, as a number for each history of that
  (:class:`Knowledge`): processes of one body with one number will do the same on equal disks;
* what it has *touched* since its last stop: the paths, beyond its own, on whose state it depended.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, NamedTuple

from blake3 import blake3

from n4a_store.repo.store import Store
from n4a_store.storage import leases, system
from n4a_store.testing.sight import COMMITTED

__all__ = ["START", "Killed", "Knowledge", "Process", "Step", "current", "id_of", "is_locked"]

_local = threading.local()
_GENERATION = slice(8, 16)
# More than the steps, and than the calls of a lower level, of any function that is forgotten.
_LEAP = 1_000


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


class Knowledge:
    """A number for each history of what a process has seen; equal histories have one number."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, Hashable], int] = {}
        self._depths = [0]

    def grown(self, history: int, what: Hashable, by: int = 1) -> int:
        """The history in which ``what`` comes after ``history``."""
        key = (history, what)
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self._depths)
            self._depths.append(self._depths[history] + by)
        return found

    def depth(self, history: int) -> int:
        """A number that grows with each step."""
        return self._depths[history]


class Process:
    """One process of an exploration.

    Args:
        name: What it is called.
        store: Its own open store.
        body: What it does.
        knowledge: Where the histories of this exploration are numbered.
        expected: Errors that are a fair end for it.
        collects: Whether it is a gc or repack.
        mortal: Whether it may be killed.
    """

    def __init__(
        self,
        name: str,
        store: Store,
        body: Callable[[Process], None],
        knowledge: Knowledge,
        *,
        expected: tuple[type[Exception], ...] = (),
        collects: bool = False,
        mortal: bool = True,
    ) -> None:
        self.name = name
        self.mortal = mortal
        self.store = store
        self.at = START
        self._knowledge = knowledge
        self._birth = self.seen = knowledge.grown(0, name)
        self.touched: dict[str, None] = {}
        self.began: dict[str, int] = {}
        self.said: list[tuple[Any, ...]] = []
        self.memory: dict[str, Any] = {}
        self.begun = self.killed = self.ended = False
        self.failure: BaseException | None = None
        self.leases: set[str] = set()
        self._body = body
        self._expected = expected
        self._shared = _COLLECTOR_SHARED if collects else _SHARED
        self._free = False
        self._goes_on: Callable[[], bool] = lambda: False
        self.ids = 0
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

    def advance(self, goes_on: Callable[[], bool] = lambda: False) -> None:
        """Let it take the step it stopped before, and go on to the next.

        Args:
            goes_on: Asked at each stop, in the process's thread but not as the process, whether
                to go on at once: to change threads takes longer than most steps.
        """
        self.begun = True
        self.touched.clear()
        self._goes_on = goes_on
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
        self.seen = self._knowledge.grown(self._birth, ("killed", *self.said))

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
            self.seen = self._knowledge.grown(self._birth, ("ended", *self.said))
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
        if self._free:
            return
        inside = self.store.catalog._within is not None and name != "catalog-commit"
        own = name == "try-lock" and os.path.basename(path) in self.leases
        if inside or own or (name, step.room) not in self._shared:
            return
        self.at = step
        self.see(step)
        _local.process = None
        goes_on = self._goes_on()
        _local.process = self
        if goes_on:
            self.touched.clear()
        else:
            self._stopped.release()
            self._go.acquire()
        if self.killed:
            raise Killed
        for touched in _touched_by(step):
            self.touch(touched)
        self.see(_look(step, path))

    def touch(self, path: str) -> None:
        """Note that what this process does until its next stop depends on the state of ``path``."""
        self.touched[path] = None

    def see(self, what: Hashable) -> None:
        """Remember that the future of this process may depend on ``what``."""
        self.seen = self._knowledge.grown(self.seen, what)

    def forget_since(self, before: int, but: Hashable, level: int) -> None:
        """Of all it has seen since ``before``, its future depends on ``but`` alone.

        What is forgotten within ``before`` and now was so at lower levels.
        """
        self.seen = self._knowledge.grown(before, but, _LEAP**level)

    def new_id(self) -> uuid.UUID:
        """A uuid that is the same whenever the exploration comes by here again."""
        self.ids += 1
        return id_of(self.name, self.ids)


def id_of(process: str, number: int) -> uuid.UUID:
    """The ``number``-th id that a process makes, counted from 1."""
    return uuid.UUID(bytes=blake3(f"{process} {number}".encode()).digest(16))


def _touched_by(step: Step) -> tuple[str, ...]:
    """The paths that matter for a step itself, without what it reads and writes meanwhile."""
    if step.name == "catalog-commit":
        return COMMITTED
    if step.name == "catalog-read":
        return ()
    if step.name == "list":
        return (step.path + "/",)
    return (step.path,)


def _look(step: Step, path: str) -> Hashable:
    """What a step will find on the disk."""
    if step.name == "list":
        return tuple(sorted(os.listdir(path)))
    if (step.name, step.room) in {("lock", "leases"), ("map", "packs"), ("unlink", "leases")}:
        return os.path.exists(path)
    if step.name == "try-lock":
        try:
            content = Path(path).read_bytes() if step.room == "leases" else b""
        except FileNotFoundError:
            return None
        return content[_GENERATION], is_locked(Path(path))
    return None


def current() -> Process | None:
    """The process whose thread this is."""
    process: Process | None = getattr(_local, "process", None)
    return process


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock on a file; looking is no step of any process."""
    process, _local.process = getattr(_local, "process", None), None
    try:
        with path.open("r+b") as file:
            return not system.try_lock(file.fileno(), str(path))
    finally:
        _local.process = process

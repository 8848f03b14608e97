"""A process is forked when no thread of it is at work in SQLite, or else its child is told.

SQLite notes once for the whole process which locks it has on a file. A fork copies the note, and
not the locks: a child that was forked beside a transaction would read what others are changing,
never get a lock that it believes to have, and its parent would wait for it. No connection of the
child's own helps against that.

So whoever works with a file holds a mutex from :func:`new_mutex`, and a fork that Python is told of
takes all of them first. It waits for one with no other in hand, so it cannot wait for a thread that
waits for it; and no longer than :data:`PATIENCE_SECONDS` in all, since a thread within SQLite may
wait for another process. A child that was forked without one of them, or by a thread within a
transaction of its own, may not use that file, and :func:`check` tells it so.

The same gate keeps a fork away while a descriptor that carries a lock, or will, is nobody's: nobody
would close the child's copy, which would keep the lock for as long as the child lives.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Iterable
from itertools import compress
from pathlib import Path

from n4a_store.errors import BackendError

__all__ = ["PATIENCE_SECONDS", "check", "new_mutex", "refuse", "undivided"]

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 10.0
"""How long a fork waits at most. A commit takes some milliseconds."""
_A_MOMENT = 1.0
_entrance = threading.RLock()  # for the list of those below, and for what takes a moment
_mutexes: weakref.WeakKeyDictionary[threading.RLock, Path] = weakref.WeakKeyDictionary()
_taken: dict[int, list[threading.RLock]] = {}  # by the thread that is about to fork
_refused: set[tuple[int, int]] = set()


def new_mutex(path: Path) -> threading.RLock:
    """A mutex for whoever works with the SQLite file ``path`` in this process."""
    mutex = threading.RLock()
    with _entrance:
        _mutexes[mutex] = path
    return mutex


def undivided() -> threading.RLock:
    """For a moment in which no process is forked; nothing may be waited for in it."""
    return _entrance


def check(path: Path) -> None:
    """Let only a process use the file that can trust SQLite's locks on it.

    Raises:
        BackendError: This one was forked in the middle of a transaction.
    """
    if _refused and _identity(path) in _refused:
        raise BackendError(
            f"the catalog {path} cannot be used in a forked child: a transaction was going on as "
            "it was forked, and SQLite's locks do not survive that",
            hint="start the process before, or with multiprocessing's 'spawn' or 'forkserver'",
        )


def refuse(path: Path) -> None:
    """In a child: let nothing use the file any more."""
    identity = _identity(path)
    if identity is not None:
        _refused.add(identity)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None  # whoever opens it says why
    return found.st_dev, found.st_ino


def _take(mutex: threading.RLock, into: list[threading.RLock], seconds: float = 0) -> bool:
    # Taken and noted in one call: a Ctrl-C between the two would leave it taken for good.
    into.extend(compress((mutex,), map(mutex.acquire, (True,), (seconds,))))
    return bool(into) and into[-1] is mutex


def _give_back(taken: list[threading.RLock]) -> None:
    while taken:
        mutex = taken[-1]
        del taken[-1]
        mutex.release()


def _first_busy(
    mutexes: Iterable[threading.RLock], taken: list[threading.RLock]
) -> threading.RLock | None:
    """Take all that are free; the first that is not, and then none is taken."""
    for mutex in mutexes:
        if mutex not in taken and not _take(mutex, taken):
            _give_back(taken)
            return mutex
    return None


def _take_all(taken: list[threading.RLock]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        busy = _first_busy((_entrance,), taken) or _first_busy(_known(), taken)
        if busy is None:
            return
        if not _take(busy, taken, max(0.0, end - time.monotonic())):
            break
    log.warning(
        "a transaction has been going on for %s s: a process is forked beside it, and its child "
        "may not use the catalog",
        PATIENCE_SECONDS,
    )
    _take(_entrance, taken, _A_MOMENT)
    for mutex in _known():
        _take(mutex, taken)


def _known() -> list[threading.RLock]:
    """All that there are, also while somebody adds one."""
    return [mutex for ref in _mutexes.keyrefs() if (mutex := ref()) is not None]


def _before() -> None:
    taken = _taken[threading.get_ident()] = []
    _take_all(taken)


def _in_parent() -> None:
    _give_back(_taken.pop(threading.get_ident(), []))


def _in_child() -> None:
    """Who has a mutex makes a new one: it is told as well."""
    global _entrance, _mutexes
    taken = _taken.pop(threading.get_ident(), [])
    for mutex in _known():
        if mutex not in taken:
            refuse(_mutexes[mutex])
    _taken.clear()
    _entrance, _mutexes = threading.RLock(), weakref.WeakKeyDictionary()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)

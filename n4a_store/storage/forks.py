"""Which process this is, told without a system call: how many forks lie behind it.

What remembers :func:`behind` is this process's own as long as the number is the same: each fork
that Python is told of adds one in the child, and none in the parent. (A library that calls the
system's ``fork`` by itself tells nobody: what writes files and what commits asks for the process's
number once more.) That holds before the
child's handlers have run, too: the locals of its parent's other threads go before them, and what
stands in these may end sessions and transactions as it goes. What deletes asks for the process's
number all the same.

And who is told in a child that the other threads are not there: they may have held a lock, which
nobody would ever give back, or have been in the middle of a change.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol

__all__ = ["Forked", "Mutexed", "behind", "own_mutex", "tell_in_child"]

_count = 0
_pid = os.getpid()
_forking: set[int] = set()  # the threads that are about to fork, or have done so this moment


class Forked(Protocol):
    """What has a lock of its own."""

    def _forget_threads(self) -> None:
        """In a child: make the lock anew, and good what a thread may have left half done.

        It drops nothing that has a catalog: that would be closed, and what is open is the parent's.
        """


class Mutexed(Protocol):
    """What has nothing but a mutex to be made anew."""

    _mutex: threading.RLock


_owners: weakref.WeakSet[Forked] = weakref.WeakSet()
_mutexed: weakref.WeakSet[Mutexed] = weakref.WeakSet()


def tell_in_child(owner: Forked) -> None:
    """Call its ``_forget_threads`` in each child that is forked from now on."""
    _owners.add(owner)


def own_mutex(owner: Mutexed) -> threading.RLock:
    """A mutex for ``owner._mutex``, where each child gets another: a load may take long."""
    _mutexed.add(owner)
    return threading.RLock()


def behind() -> int:
    """The number."""
    if _forking and os.getpid() != _pid:
        return _count + 1  # a child in which nothing has been handled yet
    return _count


def _before() -> None:
    _forking.add(threading.get_ident())


def _in_parent() -> None:
    _forking.discard(threading.get_ident())


def _in_child() -> None:
    global _count, _pid
    _count, _pid = _count + 1, os.getpid()
    _forking.clear()
    for owner in list(_owners):
        owner._forget_threads()
    for mutexed in list(_mutexed):
        mutexed._mutex = threading.RLock()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)

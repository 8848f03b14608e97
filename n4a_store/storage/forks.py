"""Which process this is, told without a system call: how many forks lie behind it.

What remembers :func:`behind` is this process's own as long as the number is the same: each fork
that Python is told of adds one in the child, and none in the parent. (A library that calls the
system's ``fork`` by itself tells nobody: what writes files and what commits asks for the process's
number once more.) That holds before the
child's handlers have run, too: the locals of its parent's other threads go before them, and what
stands in these may end sessions and transactions as it goes. What deletes asks for the process's
number all the same.
"""

from __future__ import annotations

import os
import threading

__all__ = ["behind"]

_count = 0
_pid = os.getpid()
_forking: set[int] = set()  # the threads that are about to fork, or have done so this moment


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


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)

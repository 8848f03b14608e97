"""How many forks lie behind a process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from n4a_store.storage import forks
from n4a_store.storage.leases import Lease, LeaseRole


class _AtItsEnd:
    """Calls something when it goes."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call

    def __del__(self) -> None:
        self._call()


def told_by_child(work: Callable[[int], None]) -> str:
    """What ``work`` writes into a pipe in a child, or what goes there by itself does."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work(writing)
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with os.fdopen(reading) as told:
        return told.read()


def test_each_fork_adds_one_in_the_child_and_none_in_the_parent() -> None:
    before = forks.behind()

    def tell(writing: int) -> None:
        mine = forks.behind()
        inner = told_by_child(lambda out: os.write(out, str(forks.behind()).encode()) and None)
        os.write(writing, f"{mine} {inner} {forks.behind()} {forks._forking}".encode())

    # With a thread left among those that fork, each question would be a system call.
    assert told_by_child(tell) == f"{before + 1} {before + 2} {before + 1} set()"
    assert (forks.behind(), forks._forking) == (before, set())


def in_another_thread(make: Callable[[], object], during: Callable[[], None]) -> None:
    """Call ``during`` while a thread has in its own locals what ``make`` made."""
    own, made, done = threading.local(), threading.Event(), threading.Event()

    def live() -> None:
        own.thing = make()
        made.set()
        done.wait()
        own.__dict__.clear()

    thread = threading.Thread(target=live)
    thread.start()
    made.wait()
    try:
        during()
    finally:
        done.set()
        thread.join()


def test_what_goes_before_a_childs_handlers_have_run_knows_that_it_is_in_a_child(
    tmp_path: Path,
) -> None:
    before, parent = forks.behind(), os.getpid()
    told = tmp_path / "told"
    told.touch()

    def tell() -> None:
        if os.getpid() != parent:
            told.write_text(str(forks.behind() - before))

    in_another_thread(lambda: _AtItsEnd(tell), lambda: told_by_child(lambda _: None) and None)
    assert told.read_text() in ("1", "")  # whether it goes at all is Python's choice


def test_a_child_leaves_the_lease_in_the_locals_of_its_parents_thread_alone(
    tmp_path: Path,
) -> None:
    seen: list[bool] = []

    def fork() -> None:
        told_by_child(lambda _: None)
        seen.append(any(tmp_path.iterdir()))

    in_another_thread(lambda: Lease(tmp_path, LeaseRole.READER), fork)
    assert seen == [True]


class _Owner:
    """Has a lock, and counts how often it was told of a fork."""

    def __init__(self) -> None:
        self.told = 0
        forks.tell_in_child(self)

    def _forget_threads(self) -> None:
        self.told += 1


class _OwnerOfAMutex:
    def __init__(self) -> None:
        self._mutex = forks.own_mutex(self)


def test_who_asked_for_it_is_told_in_each_child_and_never_in_the_parent() -> None:
    owner = _Owner()

    def tell(writing: int) -> None:
        inner = told_by_child(lambda out: os.write(out, str(owner.told).encode()) and None)
        os.write(writing, f"{owner.told} {inner}".encode())

    assert told_by_child(tell) == "1 2"
    assert owner.told == 0


def test_a_mutex_that_another_thread_holds_is_free_in_a_child() -> None:
    owner = _OwnerOfAMutex()

    def look(writing: int) -> None:
        os.write(writing, str(owner._mutex.acquire(blocking=False)).encode())

    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with owner._mutex:
            held.set()
            done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)
    try:
        assert told_by_child(look) == "True"
        assert not owner._mutex.acquire(blocking=False)
    finally:
        done.set()
        thread.join()

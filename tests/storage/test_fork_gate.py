"""A fork beside or inside a transaction: SQLite's locks are right in the child, or it is told."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from n4a_store.errors import BackendError
from n4a_store.settings import Durability
from n4a_store.storage import fork_gate, system
from n4a_store.storage.catalog import Catalog
from n4a_store.storage.leases import Lease, LeaseRole, list_leases
from n4a_store.storage.locks import FileLock
from tests.children import child, ended

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")

QUICK = 8.0
"""Seconds: less than a fork waits at most, and than SQLite waits for a lock."""


def make(folder: Path) -> Catalog:
    folder.mkdir(exist_ok=True)
    Catalog.create(folder / "catalog.db")
    return reopen(folder)


def reopen(folder: Path) -> Catalog:
    return Catalog(folder / "catalog.db", folder / "commit.lock", Durability.NONE)


def commit(catalog: Catalog) -> int:
    with catalog.write() as writer:
        writer.next_op("commit", "")
        return writer.sequence()


def commits(catalog: Catalog) -> int:
    with catalog.read() as reader:
        reader.verify()
        return reader.sequence()


@contextmanager
def inside(catalog: Catalog, kind: str, then: Callable[[], object]) -> Iterator[threading.Event]:
    """A thread that does ``then`` within a transaction; the event says that it has ended it."""
    within, over = threading.Event(), threading.Event()

    def live() -> None:
        with catalog.read() if kind == "read" else catalog.write() as reader:
            list(reader.refs())  # so that SQLite has its locks
            within.set()
            then()
            over.set()

    thread = threading.Thread(target=live)
    thread.start()
    assert within.wait(20)
    try:
        yield over
    finally:
        thread.join()


@pytest.mark.parametrize("own", [True, False], ids=["a catalog of its own", "the same catalog"])
@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_fork_waits_for_the_transaction_of_another_thread(
    tmp_path: Path, kind: str, own: bool
) -> None:
    catalog = make(tmp_path)
    commit(catalog)

    def work() -> None:
        mine = reopen(tmp_path) if own else catalog
        for _ in range(3):
            commit(mine)
        commits(mine)

    with inside(catalog, kind, lambda: time.sleep(0.3)) as over:
        pid = child(work)
        assert over.is_set()
    began = time.monotonic()
    commit(catalog)
    assert time.monotonic() - began < QUICK
    assert ended(pid) == 0
    assert commits(catalog) == 5


@pytest.mark.parametrize("own", [True, False], ids=["a catalog of its own", "the same catalog"])
@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_child_beside_a_transaction_that_does_not_end_may_not_use_the_catalog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, own: bool
) -> None:
    monkeypatch.setattr(fork_gate, "PATIENCE_SECONDS", 0.1)
    catalog, unconcerned = make(tmp_path / "one"), make(tmp_path / "other")
    done = threading.Event()

    def work() -> None:
        for _ in range(2):
            with pytest.raises(BackendError, match="forked child") as caught:
                commits(reopen(tmp_path / "one") if own else catalog)
            assert "spawn" in str(caught.value.hint)
        # It stays so in a child of the child, and for this one file.
        refused = child(lambda: commits(reopen(tmp_path / "one")))
        assert ended(refused) == 1
        commit(unconcerned)
        assert commits(reopen(tmp_path / "other")) == 1

    with inside(catalog, kind, lambda: done.wait(20)):
        began = time.monotonic()
        pid = child(work)
        waited = time.monotonic() - began
        status = ended(pid)
        done.set()
    assert status == 0
    assert waited < QUICK
    commit(catalog)
    commit(unconcerned)
    assert (commits(unconcerned), ended(child(lambda: commit(catalog) and None))) == (2, 0)


def test_a_child_beside_a_transaction_that_is_about_to_begin_may_not_use_the_catalog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where in SQLite a thread is that does not come back, nobody can tell."""
    monkeypatch.setattr(fork_gate, "PATIENCE_SECONDS", 0.1)
    catalog = make(tmp_path)
    reached, go_on = threading.Event(), threading.Event()

    def pause(step: str, _: str) -> None:
        if step == "catalog-read" and threading.current_thread() is looking:
            reached.set()
            go_on.wait(20)

    looking = threading.Thread(target=commits, args=(catalog,))
    before = system.observe(pause)
    try:
        looking.start()
        assert reached.wait(20)
        status = ended(child(lambda: commit(reopen(tmp_path)) and None))
    finally:
        system.observe(before)
        go_on.set()
        looking.join()
    assert status == 1
    assert commit(catalog) == 1


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_child_of_a_thread_within_its_own_transaction_may_not_use_the_catalog(
    tmp_path: Path, kind: str
) -> None:
    catalog = make(tmp_path)

    def work() -> None:
        with pytest.raises(BackendError, match="forked child"):
            commits(reopen(tmp_path))

    began = time.monotonic()
    with catalog.read() if kind == "read" else catalog.write() as reader:
        list(reader.refs())
        pid = child(work)
    assert time.monotonic() - began < QUICK
    assert ended(pid) == 0
    before = commits(catalog)
    commit(catalog)
    assert commits(catalog) == before + 1


def test_a_child_is_told_of_a_transaction_whose_end_was_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = make(tmp_path)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "_end", interrupted)
        with pytest.raises(KeyboardInterrupt), catalog.read() as reader:
            list(reader.refs())
    assert ended(child(lambda: commit(reopen(tmp_path)) and None)) == 1
    commit(catalog)
    assert ended(child(lambda: commit(reopen(tmp_path)) and None)) == 0


def test_a_fork_keeps_nobody_from_the_catalog_that_he_needs_to_end(tmp_path: Path) -> None:
    """A thread within one catalog goes on to another, which the fork could have had at once."""
    other, one = make(tmp_path / "other"), make(tmp_path / "one")

    def go_on() -> None:
        time.sleep(0.3)
        commits(other)
        commit(make(tmp_path / "new"))

    began = time.monotonic()
    with inside(one, "read", go_on) as over:
        pid = child(lambda: commit(one) and None)
        assert over.is_set()
    assert time.monotonic() - began < QUICK
    assert ended(pid) == 0


def test_a_fork_does_not_wait_for_who_waits_for_the_commit_lock(tmp_path: Path) -> None:
    """Another process may hold it for long, and nothing of SQLite is in use meanwhile."""
    catalog, other = make(tmp_path), reopen(tmp_path)
    with other.write() as writer:
        writer.next_op("commit", "")
        waiting = threading.Thread(target=commit, args=(catalog,))
        waiting.start()
        time.sleep(0.2)
        assert catalog._mutex.acquire(blocking=False)
        catalog._mutex.release()
    waiting.join()
    assert commits(catalog) == 2


def test_what_begins_while_a_process_is_forked_waits_for_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path)
    real, seen = fork_gate._take_all, list[bool]()
    opened, threads = threading.Event(), list[threading.Thread]()

    def begin() -> None:
        reopen(tmp_path)
        opened.set()

    def take_all(taken: list[threading.RLock]) -> None:
        real(taken)
        threads.append(threading.Thread(target=begin))
        threads[0].start()
        seen.append(opened.wait(0.3))

    monkeypatch.setattr(fork_gate, "_take_all", take_all)
    pid = child(lambda: commit(reopen(tmp_path)) and None)
    monkeypatch.undo()
    assert seen == [False]
    assert opened.wait(20)
    threads[0].join()
    assert ended(pid) == 0


def test_threads_that_commit_and_fork_at_once_get_all_done(tmp_path: Path) -> None:
    catalog, stop = make(tmp_path), threading.Event()
    counts, forked = [0, 0], list[int]()

    def write(number: int) -> None:
        while not stop.is_set():
            commit(catalog)
            counts[number] += 1

    def fork() -> None:
        for _ in range(6):
            forked.append(ended(child(lambda: commit(reopen(tmp_path)) and None)))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    forking = [threading.Thread(target=fork) for _ in range(2)]
    for thread in (*writers, *forking):
        thread.start()
    for thread in forking:
        thread.join()
    stop.set()
    for thread in writers:
        thread.join()
    assert forked == [0] * 12
    assert commits(catalog) == sum(counts) + 12
    assert fork_gate._taken == {}


def take_lock(folder: Path) -> None:
    with FileLock(folder / "gc.lock"):
        pass


def take_lease(folder: Path) -> None:
    (folder / "leases").mkdir(exist_ok=True)
    lease = Lease(folder / "leases", LeaseRole.READER)
    os.link(lease.path, folder / "leases" / "other-name")  # its own is gone with the release
    lease.release()


@pytest.mark.parametrize(
    ("take", "call"), [(take_lock, "open"), (take_lock, "close"), (take_lease, "open")]
)
def test_no_child_has_a_lock_that_nobody_there_knows_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, take: Callable[[Path], None], call: str
) -> None:
    """A fork in the moment in which a descriptor is nobody's yet, or no more."""
    real = getattr(os, call)
    reached = threading.Event()

    def slowly(*args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is not taker or reached.is_set():
            return real(*args, **kwargs)
        if call == "close":
            reached.set()
            time.sleep(0.3)
            return real(*args, **kwargs)
        found = real(*args, **kwargs)
        reached.set()
        time.sleep(0.3)
        return found

    def stay_on() -> None:
        os.write(begun, b"x")
        os.close(go)
        os.read(stay, 1)

    taker = threading.Thread(target=take, args=(tmp_path,))
    (stay, go), (ready, begun) = os.pipe(), os.pipe()
    monkeypatch.setattr(os, call, slowly)
    taker.start()
    assert reached.wait(20)
    pid = child(stay_on)
    taker.join()
    monkeypatch.undo()
    try:
        assert os.read(ready, 1) == b"x"  # it has closed what it closes
        if take is take_lock:
            with FileLock(tmp_path / "gc.lock", wait=False):
                pass
        else:
            assert [info.alive for info in list_leases(tmp_path / "leases")] == [False]
    finally:
        for end in (go, stay, ready, begun):
            os.close(end)
    assert ended(pid) == 0

"""Who is in gc's way: it says so by name, age and weight, and never deletes on a guess."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from n4a_store import BackendError, CorruptionError, LockedError, Store
from n4a_store.repo.gc import collect
from n4a_store.repo.repack import repack
from n4a_store.repo.stats import store_stats
from n4a_store.storage import filesystem
from n4a_store.storage.leases import list_leases
from n4a_store.storage.locks import FileLock
from tests.repo.objects import tag

HOLD = """
import sys, time
from n4a_store import Store
store = Store.open(sys.argv[1])
txn = store.transaction("a long training")
print(flush=True)
time.sleep(600)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.init(tmp_path / "store")


def hold(store: Store) -> subprocess.Popen[str]:
    """Another process with an open transaction."""
    command = [sys.executable, "-c", HOLD, str(store.path)]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    other.stdout.readline()
    return other


def kill(other: subprocess.Popen[str]) -> None:
    other.send_signal(signal.SIGKILL)
    other.communicate()


def drop(store: Store, name: str) -> None:
    with store.transaction("delete") as txn:
        txn.delete_ref(f"refs/tags/{name}")


def test_of_two_gc_the_second_says_who_is_at_it(store: Store) -> None:
    for name, run in (("gc", repack), ("repack", collect)):
        with FileLock(store.layout.gc_lock, note=f"{name}, pid 12345"):
            other = Store.open(store.path)
            held = pytest.raises(LockedError, match=r"gc\.lock is held by")
            with held as caught:
                run(other)
            assert caught.value.hint
    command = [sys.executable, "-c", GC, str(store.path)]
    with FileLock(store.layout.gc_lock, note=f"gc, pid {os.getpid()}"):
        told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    assert f"gc.lock is held by gc, pid {os.getpid()}" in told


GC = """
import sys
from n4a_store import LockedError, Store
from n4a_store.repo.gc import collect
try:
    collect(Store.open(sys.argv[1]))
except LockedError as error:
    print(error)
"""


def test_a_lease_of_hours_is_named_with_what_it_pins(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag(store, "gone")
    other = hold(store)
    try:
        drop(store, "gone")
        tag(store, "kept")
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + 5 * 3600)
        report = collect(store, expire_now=True)
        with store.catalog.read() as reader:
            size = sum(row.stored_bytes for row in reader.packs() if row.id in report.pending)
        (held,) = report.held_by
        assert (held.pid, held.role, held.pinned_bytes) == (other.pid, "writer", size)
        assert held.age_seconds is not None
        assert 5 * 3600 <= held.age_seconds < 6 * 3600
        (lease,) = store_stats(store).leases
        assert (lease.pid, lease.role, lease.pinned_bytes) == (other.pid, "writer", size)
        assert lease.since is not None
    finally:
        kill(other)


def test_a_lease_of_the_dead_is_cleaned_without_asking(store: Store) -> None:
    tag(store, "gone")
    other = hold(store)
    kill(other)
    drop(store, "gone")
    assert [info.alive for info in list_leases(store.layout.leases)] == [False]
    report = collect(store, expire_now=True)
    assert len(report.dropped) == 1
    assert report.held_by == ()
    assert list(store.layout.leases.iterdir()) == []
    assert list(store.layout.transactions.iterdir()) == []


def test_a_root_that_cannot_be_read_stops_gc_by_name(store: Store) -> None:
    for name in ("first", "second", "gone"):
        tag(store, name)
    drop(store, "gone")
    connection = store.catalog._connect()
    connection.execute("UPDATE refs SET oid = zeroblob(32) WHERE name = 'refs/tags/second'")
    packs = sorted(store.layout.packs.iterdir())
    for _ in range(2):
        with pytest.raises(CorruptionError, match="refs/tags/second"):
            collect(store, expire_now=True)
    assert sorted(store.layout.packs.iterdir()) == packs


def test_a_network_file_system_is_refused_with_the_reason(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "filesystem_type", lambda *_: "nfs4")
    with pytest.raises(BackendError, match="nfs4 file system, whose locks are not known") as caught:
        Store.open(store.path)
    assert "allow_network_filesystem" in str(caught.value.hint)
    monkeypatch.setenv("N4A_STORE_ALLOW_NETWORK_FILESYSTEM", "true")
    Store.open(store.path).close()

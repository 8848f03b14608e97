"""Read sessions: what was seen stays readable, and an idle reader pins nothing."""

from __future__ import annotations

import gc
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from n4a_store.errors import CorruptionError
from n4a_store.objects.oid import ObjectId
from n4a_store.repo import session as session_module
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.session import ReadSessions, Use
from n4a_store.repo.store import Store
from n4a_store.storage.leases import LeaseRole, list_leases


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.init(tmp_path / "store") as store:
        with store.transaction() as txn:
            txn.set_ref("refs/tags/a", txn.put_blob(b"data"))
        yield store


def roles(store: Store) -> list[LeaseRole | None]:
    return [info.role for info in list_leases(store.layout.leases) if info.alive]


def test_one_lease_for_nested_sessions_and_threads(store: Store) -> None:
    inside = threading.Barrier(3, timeout=20)
    seen: list[list[LeaseRole | None]] = []

    def read() -> None:
        with store.session():
            inside.wait()
            seen.append(roles(store))
            inside.wait()

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    with store.session(), store.session():
        inside.wait()
        seen.append(roles(store))
        inside.wait()
    for thread in threads:
        thread.join()
    assert seen == [[LeaseRole.READER]] * 3


def test_an_idle_session_ends_by_itself(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.sessions.drop_idle()
    monkeypatch.setattr(session_module, "IDLE_SECONDS", 0.05)
    oid = store.ref("refs/tags/a").oid
    assert store.get(oid) == b"data"
    assert roles(store) == [LeaseRole.READER]
    deadline = time.monotonic() + 20
    while roles(store) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert roles(store) == []
    assert store.get(oid) == b"data"


def test_a_session_in_use_outlives_the_idle_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "IDLE_SECONDS", 0.02)
    with store.session():
        with store.session():
            pass
        time.sleep(0.15)
        assert roles(store) == [LeaseRole.READER]


def test_what_a_session_saw_survives_a_gc_of_another(store: Store) -> None:
    oid = store.ref("refs/tags/a").oid
    with store.session():
        assert store.has(oid)
        with Store.open(store.path) as other:
            with other.transaction() as txn:
                txn.delete_ref("refs/tags/a")
            collect(other, expire_now=True)
        assert store.get(oid) == b"data"
    with Store.open(store.path) as other:
        store.sessions.drop_idle()
        collect(other, expire_now=True)
    assert not store.has(oid)


def test_a_failed_look_holds_no_lease(store: Store) -> None:
    store.sessions.drop_idle()
    assert not store.has(ObjectId(bytes(32)))
    store.sessions.drop_idle()
    stranger = sqlite3.connect(store.layout.catalog)
    stranger.execute("UPDATE packs SET objects = 99")
    stranger.commit()
    stranger.close()
    with pytest.raises(CorruptionError, match="fails its checksum"):
        store.get(ObjectId(bytes(32)))
    assert roles(store) == []


def test_closing_ends_the_session(store: Store) -> None:
    with store.session():
        pass
    store.close()
    assert roles(store) == []


def test_one_thread_watches_the_sessions_of_all_stores(tmp_path: Path) -> None:
    stores = [Store.init(tmp_path / str(number)) for number in range(20)]
    for store in stores:
        assert list(store.objects()) == []
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("n4a_store-idle-sessions") == 1
    for store in stores:
        store.close()


def test_without_a_thread_to_be_had_no_session_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(session_module, "_reaper", None)
    monkeypatch.setattr(session_module, "_watch_idle_sessions", refuse)
    with Store.init(tmp_path / "store") as store:
        assert list(store.objects()) == []
        assert not store.sessions.holds_lease


def test_a_store_that_nobody_closed_leaves_no_lease(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Store.init(tmp_path / "store").close()
    store = Store.open(tmp_path / "store")
    assert list(store.objects()) == []
    leases = store.layout.leases
    assert len(list(leases.iterdir())) == 1
    del store
    gc.collect()
    assert list(leases.iterdir()) == []
    assert "never released" not in caplog.text


_LEFT_OPEN = """
import atexit
import sys
from pathlib import Path

@atexit.register  # before the store's own, so it runs after that, and the interpreter is whole
def look():
    for path in sys.argv[1:]:
        print(*(Path(path) / "leases").iterdir())

from n4a_store import Store

class Holder:
    pass

holders = []
for path in sys.argv[1:]:
    holder = Holder()
    holder.itself, holder.store = holder, Store.open(path)
    holder.store.refs(), holder.store.resolve("t"), holder.store.get(holder.store.resolve("t"))
    holders.append(holder)
"""


def test_stores_that_nobody_closed_leave_quietly(tmp_path: Path) -> None:
    """Before the interpreter takes cycles apart, which it does in an order of its own."""
    paths = [tmp_path / f"store{number}" for number in range(3)]
    for path in paths:
        with Store.init(path) as made, made.transaction() as txn:
            txn.set_ref("refs/tags/t", txn.put_blob(b"t"))
    command = [sys.executable, "-c", _LEFT_OPEN, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == ([], "")
    assert [list((path / "leases").iterdir()) for path in paths] == [[], [], []]


def test_a_store_whose_folder_was_removed_ends_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened = Store.init(tmp_path / "store")
    opened.refs()
    with opened.session():
        shutil.rmtree(tmp_path / "store")
    opened.close()
    assert caplog.text == ""


def test_a_transaction_reads_what_it_adopted_from_a_ref_that_has_moved_on(tmp_path: Path) -> None:
    """Its pack came and was condemned after the transaction began, whose lease alone keeps it."""
    with Store.init(tmp_path / "s") as store, Store.open(tmp_path / "s") as other:
        txn = store.transaction("adopts")
        with other.transaction() as theirs:
            first = theirs.put_tree({"first": theirs.put_blob(b"1")})
            theirs.set_ref("refs/tags/shared", first)
        assert txn.adopt_path("refs/tags/shared").oid == first
        with other.transaction() as theirs:
            theirs.set_ref("refs/tags/shared", theirs.put_tree({"second": theirs.put_blob(b"2")}))
        store.sessions.drop_idle()
        other.sessions.drop_idle()
        assert collect(other, expire_now=True, thorough=True).condemned
        onto = txn.put_tree({"more": txn.put_blob(b"3")}, onto=first)
        txn.set_ref("refs/tags/mine", onto)
        txn.commit()
        assert set(store.get_tree(onto).entries) == {"first", "more"}
        assert fsck(store, full=True).problems == ()


def test_a_child_that_is_forked_inside_a_session_does_not_end_it(store: Store) -> None:
    with store.transaction() as txn:
        txn.set_ref("refs/tags/a", txn.put_blob(b"a"))
    with store.session():
        pid = os.fork()
    if pid == 0:
        os._exit(1 if store.sessions._users else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_who_never_stops_reading_pins_no_more_than_who_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.init(tmp_path / "store") as store:
        store.sessions.ends_when_idle = False  # no thread: only the reads themselves
        with store.transaction() as txn:
            oid = txn.put_blob(b"x")
        leases = []
        for seconds in (1000.0, 1000.0, 0.0):
            monkeypatch.setattr("n4a_store.repo.session.IDLE_SECONDS", seconds)
            store.get(oid)
            leases.append([info.lease_id for info in list_leases(store.layout.leases)])
        assert [len(held) for held in leases] == [1, 1, 1]
        assert leases[0] == leases[1] != leases[2]


@pytest.mark.parametrize("how", ["block", "single"])
def test_a_use_that_a_ctrl_c_met_as_it_began_pins_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """It was counted, and nobody was left who would have taken it back."""
    monkeypatch.setattr(session_module, "IDLE_SECONDS", 0.2)
    with store.transaction() as txn:
        oid = txn.put_blob(b"read")
        txn.set_ref("refs/tags/read", oid)
    store.sessions.drop_idle()
    real = ReadSessions.enter

    def interrupted(sessions: ReadSessions) -> Use:
        monkeypatch.setattr(ReadSessions, "enter", real)
        real(sessions)
        raise KeyboardInterrupt

    monkeypatch.setattr(ReadSessions, "enter", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.copy(oid) if how == "single" else store.session().__enter__()
    assert roles(store) == [LeaseRole.READER]
    gc.collect()
    # Nobody reads any more, and nobody asks: it ends by itself.
    end = time.monotonic() + 20
    while roles(store) and time.monotonic() < end:
        time.sleep(0.05)
    assert roles(store) == []


def test_a_use_that_is_lost_ends_only_itself(store: Store) -> None:
    with store.session():
        lost = store.sessions.enter()
        store.sessions.drop_idle()
        del lost
        store.sessions.drop_idle()
        assert roles(store) == [LeaseRole.READER]
    store.sessions.drop_idle()
    assert roles(store) == []

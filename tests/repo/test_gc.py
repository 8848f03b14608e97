"""gc drops what nothing reaches, keeps the rest, and never drops what somebody may rely on."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from n4a_store import CorruptionError, LockedError, ObjectNotFoundError, Settings, Store
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.storage.leases import list_leases
from n4a_store.storage.locks import FileLock
from n4a_store.storage.rows import PackState
from tests.repo.objects import files, tag, tag_blobs


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.init(tmp_path / "store")


def pack_bytes(store: Store) -> int:
    return sum(path.stat().st_size for path in store.layout.packs.iterdir())


def delete(store: Store, name: str) -> None:
    with store.transaction(f"delete {name}") as txn:
        txn.delete_ref(f"refs/tags/{name}")


def test_an_empty_store_has_no_garbage(store: Store) -> None:
    report = collect(store)
    assert (report.reachable, report.unreachable.objects, report.dropped) == (0, 0, ())


def test_a_dry_run_changes_nothing_and_says_what_the_real_run_does(store: Store) -> None:
    tag(store, "kept")
    with store.transaction() as txn:
        junk = txn.put_blob(os.urandom(5_000))
    before = list(files(store))
    preview = collect(store, dry_run=True)
    assert list(files(store))[: len(before)] == before or set(before) <= set(files(store))
    assert store.has(junk)
    real = collect(store)
    assert preview.unreachable == real.unreachable
    assert preview.unreachable.objects == 1
    assert not store.has(junk)


def test_garbage_beside_living_objects_in_one_pack_gives_its_bytes_back(store: Store) -> None:
    with store.transaction() as txn:
        kept = txn.put_blob(b"kept" * 500)
        junk = txn.put_blob(os.urandom(300_000))
        txn.set_ref("refs/tags/kept", txn.put_tree({"kept": kept}))
    before = pack_bytes(store)
    report = collect(store)
    assert report.rewritten
    assert report.bytes_freed > 290_000
    assert before - pack_bytes(store) == report.bytes_freed
    assert store.get(kept) == b"kept" * 500
    with pytest.raises(ObjectNotFoundError):
        store.get(junk)
    assert fsck(store, full=True).problems == ()


def test_what_was_copied_beside_an_open_transaction_is_freed_later(store: Store) -> None:
    with store.transaction() as txn:
        kept = txn.put_blob(os.urandom(200_000))
        txn.put_blob(os.urandom(300_000))
        txn.set_ref("refs/tags/kept", txn.put_tree({"kept": kept}))
    before = pack_bytes(store)
    with store.transaction():
        report = collect(store)
        assert report.rewritten
        assert report.bytes_freed == 0
        assert report.bytes_pending == before
        assert pack_bytes(store) == before + report.bytes_written
    later = collect(store)
    assert later.bytes_freed == report.bytes_pending
    assert (later.bytes_written, later.bytes_pending) == (0, 0)
    assert pack_bytes(store) == report.bytes_written


def test_undo_keeps_what_was_deleted_until_it_is_told_otherwise(store: Store) -> None:
    data = tag(store, "gone")
    oid = store.resolve("gone:data")
    delete(store, "gone")
    report = collect(store)
    assert (report.unreachable.objects, report.undoable.objects) == (0, 2)
    assert store.get(oid) == data
    report = collect(store, expire_now=True)
    assert report.expired == 2
    assert not store.has(oid)
    store.sessions.drop_idle()
    assert list(files(store)) == []


def test_the_undo_window_passes(tmp_path: Path) -> None:
    store = Store.init(tmp_path / "store", settings=Settings(undo_window_days=0))
    tag(store, "gone")
    oid = store.resolve("gone:data")
    delete(store, "gone")
    time.sleep(0.002)
    collect(store)
    assert not store.has(oid)


def test_a_pin_keeps_its_object(store: Store) -> None:
    with store.transaction() as txn:
        oid = txn.put_blob(b"pinned")
        txn.set_pin("service", oid)
    collect(store, expire_now=True)
    assert store.get(oid) == b"pinned"
    with store.transaction() as txn:
        txn.delete_pin("service")
    collect(store, expire_now=True)
    assert not store.has(oid)


def test_an_open_transaction_keeps_the_garbage_it_relies_on(store: Store) -> None:
    tag_blobs(store, "old", {"shared": b"shared" * 400})
    delete(store, "old")
    txn = store.transaction()
    shared = txn.put_blob(b"shared" * 400)  # a duplicate: found in the pack of the deleted tag
    report = collect(store, expire_now=True)
    assert report.condemned
    assert not report.dropped
    assert report.pending == report.condemned
    assert [held.pid for held in report.held_by] == [os.getpid()]
    txn.set_ref("refs/tags/new", txn.put_tree({"shared": shared}))
    result = txn.commit()
    assert (result.objects_reused, result.objects_added) == (2, 0)  # the tree as well
    assert collect(store).dropped == ()
    assert store.get(shared) == b"shared" * 400
    assert fsck(store, full=True).ok


def test_present_is_not_complete(store: Store) -> None:
    """A dead tree in a living pack: naming it must not trust that its children stay."""
    child_data = os.urandom(3_000)
    with store.transaction() as txn:
        child = txn.put_blob(child_data)
    with store.transaction() as txn:
        # The tree stands in a pack that lives on for another reason; the child's pack is garbage.
        tree = txn.put_tree({"child": child})
        txn.set_ref("refs/tags/other", txn.put_tree({"x": txn.put_blob(b"x")}))
    with store.transaction() as txn:
        txn.set_ref("refs/tags/late", tree)
        report = collect(store)
        assert not report.dropped
    collect(store, expire_now=True)
    assert store.get(store.resolve("late:child")) == child_data
    assert fsck(store, full=True).ok


def test_a_ref_that_moves_while_it_is_adopted_from(store: Store) -> None:
    """What was reached from a ref stays, even if the ref goes and gc runs before the commit."""
    data = tag(store, "source")
    txn = store.transaction()
    entry = txn.adopt_path("refs/tags/source", "data")
    delete(store, "source")
    report = collect(store, expire_now=True)
    assert report.condemned
    txn.set_ref("refs/tags/copy", txn.put_tree({"data": entry}))
    txn.commit()
    collect(store, expire_now=True)
    assert store.get(store.resolve("copy:data")) == data
    assert fsck(store, full=True).ok


def test_adopting_from_a_standing_ref_brings_no_garbage_back(store: Store) -> None:
    tag(store, "source")
    with store.transaction() as txn:
        txn.put_blob(os.urandom(4_000))
    txn = store.transaction()
    entry = txn.adopt_path("refs/tags/source", "data")
    assert len(collect(store).condemned) == 1
    txn.set_ref("refs/tags/copy", txn.put_tree({"data": entry}))
    txn.commit()
    assert len(collect(store).dropped) == 1


def test_a_reader_keeps_what_it_could_reach(store: Store, tmp_path: Path) -> None:
    data = tag(store, "read")
    reader = Store.open(store.path)
    with reader.session():
        oid = reader.resolve("read:data")
        delete(store, "read")
        report = collect(store, expire_now=True)
        assert not report.dropped
        assert report.held_by[0].role == "reader"
        assert reader.get(oid) == data
    assert len(collect(store).dropped) == 1


def test_an_unreadable_lease_counts_as_older_than_everything(store: Store) -> None:
    with store.transaction() as txn:
        txn.put_blob(os.urandom(1_000))
    held = store.layout.leases / ("0" * 32)
    held.write_bytes(b"N4LS, and what is this")
    with FileLock(held):
        report = collect(store)
        assert report.condemned
        assert not report.dropped
        assert [lease.generation for lease in report.held_by] == [None]
    assert collect(store).dropped == report.condemned
    assert not held.exists()


def test_files_of_dead_writers_go_and_those_of_living_ones_stay(store: Store) -> None:
    script = (
        "import os, sys, time\n"
        "from n4a_store import Store\n"
        "txn = Store.open(sys.argv[1]).transaction()\n"
        "txn.put_blob(os.urandom(2_000_000))\n"
        "txn._packs.publish()\n"  # as a writer that is about to commit
        "other = Store.open(sys.argv[1]).transaction()\n"
        "other.put_blob(os.urandom(2_000_000))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(store.path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        alive = list(files(store))
        assert collect(store).tidied == ()
        assert list(files(store)) == alive
        notes = [problem.code for problem in fsck(store).problems]
        assert notes == ["unlisted-pack"]
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
    assert any(not lease.alive for lease in list_leases(store.layout.leases))
    assert len(collect(store).tidied) == 3  # a published pack and two transaction folders
    assert list(files(store)) == []
    assert fsck(store).problems == ()


def _collect_and_die(path: str, step: str) -> None:
    from n4a_store.storage import system

    def die(name: str, subject: str) -> None:
        if name == step and "/packs/" in subject:
            os.kill(os.getpid(), signal.SIGKILL)

    store = Store.open(path)
    system.observe(die)
    collect(store, expire_now=True)


def test_a_gc_that_dies_before_the_unlink_is_finished_by_the_next(store: Store) -> None:
    kept = tag(store, "kept")
    tag(store, "gone")
    delete(store, "gone")
    process = multiprocessing.get_context("spawn").Process(
        target=_collect_and_die, args=(str(store.path), "unlink")
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with store.catalog.read() as reader:
        assert len(reader.packs((PackState.DROPPING,))) == 1
    assert fsck(store, full=True).ok
    report = collect(store)
    assert len(report.dropped) == 1
    assert len(list(store.layout.packs.iterdir())) == 1
    assert store.get(store.resolve("kept:data")) == kept


def test_a_second_gc_says_who_holds_the_lock(store: Store) -> None:
    with (
        FileLock(store.layout.gc_lock, note=f"gc, pid {os.getpid()}"),
        pytest.raises(LockedError, match=f"gc.lock is held by.*{os.getpid()}"),
    ):
        collect(store)


def test_damage_on_the_way_stops_gc_before_it_condemns(store: Store) -> None:
    tag(store, "hurt")
    with store.transaction() as txn:
        txn.put_blob(os.urandom(1_000))
    tree = store.resolve("hurt")
    pack = store.layout.pack(store.info(tree).pack)
    data = bytearray(pack.read_bytes())
    at = data.index(store.get(tree))
    data[at + 5] ^= 1
    pack.write_bytes(data)
    again = Store.open(store.path)
    with pytest.raises(CorruptionError, match=tree.short(12)):
        collect(again)
    with again.catalog.read() as reader:
        assert {row.state for row in reader.packs()} == {PackState.LIVE}


def test_a_damaged_root_stops_gc(store: Store) -> None:
    import sqlite3

    tag(store, "hurt")
    connection = sqlite3.connect(store.layout.catalog)
    connection.execute("UPDATE refs SET oid = zeroblob(32)")
    connection.commit()
    connection.close()
    with pytest.raises(CorruptionError, match="refs/tags/hurt"):
        collect(Store.open(store.path))
    assert len(list(store.layout.packs.iterdir())) == 1


def test_a_vanished_root_stops_gc(store: Store) -> None:
    """SQLite would not miss the row; the table's sum does."""
    import sqlite3

    tag(store, "hurt")
    connection = sqlite3.connect(store.layout.catalog)
    connection.execute("DELETE FROM refs")
    connection.commit()
    connection.close()
    with pytest.raises(CorruptionError, match="refs"):
        collect(Store.open(store.path), expire_now=True)
    assert len(list(store.layout.packs.iterdir())) == 1


def test_a_catalog_from_a_backup_stops_gc_and_fsck_says_so(store: Store) -> None:
    tag(store, "first")
    backup = store.layout.catalog.read_bytes()
    data = tag(store, "second")
    oid = store.resolve("second:data")
    store.close()
    store.layout.catalog.write_bytes(backup)
    again = Store.open(store.path)
    with pytest.raises(CorruptionError, match="nothing was deleted"):
        collect(again)
    assert [problem.code for problem in fsck(again).problems] == ["catalog-older", "unlisted-pack"]
    assert len(list(store.layout.packs.iterdir())) == 2

    from n4a_store.repo.repair import adopt_unlisted_packs

    assert len(adopt_unlisted_packs(again)) == 1
    assert fsck(again, full=True).problems == ()
    assert again.get(oid) == data
    assert collect(again, dry_run=True).unreachable.objects == 2


def test_gc_beside_a_commit_that_comes_while_it_marks(store: Store) -> None:
    """The commit lands between the mark and the condemnation: the news are marked as well."""
    from n4a_store.storage import system

    tag_blobs(store, "old", {"data": b"again" * 300})
    delete(store, "old")
    other = Store.open(store.path)
    done: list[str] = []

    def commit_in_between(name: str, subject: str) -> None:
        # The second write transaction of a gc is the one that condemns.
        if name == "catalog-begin" and len(done) < 2:
            done.append(subject)
            if len(done) == 2:
                system.observe(None)
                tag_blobs(other, "new", {"data": b"again" * 300})

    real_lock = FileLock.__enter__

    def lock_and_tell(lock: FileLock) -> FileLock:
        if lock._path == store.layout.commit_lock:
            commit_in_between("catalog-begin", str(lock._path))
        return real_lock(lock)

    patch = pytest.MonkeyPatch()
    try:
        patch.setattr(FileLock, "__enter__", lock_and_tell)
        report = collect(store, expire_now=True)
    finally:
        patch.undo()
    assert len(done) == 2
    assert store.get(store.resolve("new:data")) == b"again" * 300
    assert fsck(store, full=True).ok
    assert not report.dropped

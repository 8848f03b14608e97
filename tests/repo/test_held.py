"""Worker packs: held for a run, adopted by its next commit, garbage when it dies first."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from n4a_store import ConflictError, InvalidInputError, ObjectId, Store
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.repack import RepackMode, repack
from n4a_store.repo.session import drop_idle_sessions
from n4a_store.storage.rows import PackState


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.init(tmp_path / "store")


def _work(path: str, run_lock: str, number: int) -> bytes:
    with Store.open(path) as store, store.transaction(hold_for=run_lock) as txn:
        blob = txn.put_blob(f"worker {number}".encode() * 50)
        return txn.put_tree({"result": blob}).raw


def test_real_workers_write_and_their_run_adopts(store: Store) -> None:
    lock = store.lock_run()
    jobs = [(str(store.path), lock.lease_id, number) for number in range(4)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        trees = [ObjectId(raw) for raw in pool.starmap(_work, jobs)]
    # Nothing names them yet, but their run is alive.
    assert collect(store, expire_now=True).dropped == ()
    with store.transaction("adopt") as txn:
        assert len(txn.adopt_held(lock.lease_id)) == 4
        tree = txn.put_tree({str(number): tree for number, tree in enumerate(trees)})
        txn.set_ref("refs/runs/r1", tree)
    lock.release()
    collect(store)
    assert store.get(store.resolve("r1:3/result")) == b"worker 3" * 50
    with store.catalog.read() as reader:
        assert {row.state for row in reader.packs()} == {PackState.LIVE}
    assert fsck(store, full=True).problems == ()


def test_a_held_pack_stays_where_a_living_one_has_all_of_it_too(store: Store) -> None:
    """gc marks living copies first. The held pack must not go for that: the copy may go next."""
    lock = store.lock_run()
    tree = ObjectId(_work(str(store.path), lock.lease_id, 1))
    with store.transaction("the same, elsewhere") as txn:
        same = txn.put_tree({"result": txn.put_blob(b"worker 1" * 50)})
        assert same == tree
        txn.set_ref("refs/tags/same", same)
    collect(store, expire_now=True, thorough=True)
    with store.transaction("delete") as txn:
        txn.delete_ref("refs/tags/same")
    collect(store, expire_now=True, thorough=True)
    with store.transaction("adopt") as txn:
        assert len(txn.adopt_held(lock.lease_id)) == 1
        txn.set_ref("refs/runs/r1", txn.put_tree({"0": tree}))
    lock.release()
    collect(store, expire_now=True, thorough=True)
    assert store.get(store.resolve("r1:0/result")) == b"worker 1" * 50
    assert fsck(store, full=True).problems == ()


def test_what_one_worker_made_waits_while_another_is_adopted(store: Store) -> None:
    """All of the run's packs become live at once; those that nothing named yet were garbage."""
    lock = store.lock_run()
    trees = [ObjectId(_work(str(store.path), lock.lease_id, number)) for number in range(3)]
    # Copies of what they hold in several packs of others: an object is marked in one of them only.
    others = [store.transaction("the same, elsewhere") for _ in range(6)]
    for at, other in enumerate(others):
        blobs = {str(n): other.put_blob(f"worker {n}".encode() * 50) for n in range(3)}
        other.set_ref(f"refs/tags/same{at}", other.put_tree({**blobs, f"of {at}": blobs["0"]}))
    for other in others:
        other.commit()
    for number, tree in enumerate(trees):
        with store.transaction("adopt") as txn:
            txn.adopt_held(lock.lease_id)
            txn.set_ref(f"refs/tags/{number}", tree)
        collect(store, expire_now=True, thorough=True)
        for mode in RepackMode:
            repack(store, mode)
            drop_idle_sessions()
            collect(store, expire_now=True, thorough=True)
    for number in range(3):
        assert store.get(store.resolve(f"{number}:result")) == f"worker {number}".encode() * 50
    assert fsck(store, full=True).problems == ()
    # When the run has ended they are packs like all others.
    with store.transaction("remove") as txn:
        for ref in store.refs():
            txn.delete_ref(ref.name)
    assert store.has(trees[2])
    lock.release()
    collect(store, expire_now=True)
    assert not any(store.has(tree) for tree in trees)
    with store.catalog.read() as reader:
        assert reader.packs() == []


def test_a_dead_runs_packs_are_garbage(store: Store) -> None:
    lock = store.lock_run()
    _work(str(store.path), lock.lease_id, 1)
    lock.release()
    report = collect(store)
    assert len(report.dropped) == 1
    assert list(store.layout.packs.iterdir()) == []


def test_packs_of_another_run_are_not_adopted(store: Store) -> None:
    mine, other = store.lock_run(), store.lock_run()
    _work(str(store.path), other.lease_id, 1)
    with store.transaction() as txn:
        assert txn.adopt_held(mine.lease_id) == ()
    with store.catalog.read() as reader:
        assert [row.owner for row in reader.packs((PackState.HELD,))] == [other.lease_id]
    mine.release()
    other.release()


def test_a_worker_changes_no_refs(store: Store) -> None:
    lock = store.lock_run()
    with store.transaction(hold_for=lock.lease_id) as txn:
        oid = txn.put_blob(b"x")
        with pytest.raises(InvalidInputError, match="worker"):
            txn.set_ref("refs/tags/x", oid)
    lock.release()


def test_an_adopter_keeps_packs_whose_run_is_taken_for_dead(store: Store) -> None:
    lock = store.lock_run()
    trees = [ObjectId(_work(str(store.path), lock.lease_id, number)) for number in range(2)]
    txn = store.transaction()
    txn.adopt_held(lock.lease_id)
    lock.release()
    assert len(collect(store).pending) == 2
    txn.set_ref("refs/tags/x", trees[0])  # of the other pack nothing is named
    txn.commit()
    with store.catalog.read() as reader:
        assert [row.state for row in reader.packs()] == [PackState.LIVE] * 2
    assert fsck(store, full=True).ok


def test_what_is_gone_before_it_is_adopted_is_a_conflict(store: Store) -> None:
    lock = store.lock_run()
    _work(str(store.path), lock.lease_id, 1)
    txn = store.transaction()
    txn.adopt_held(lock.lease_id)
    with store.catalog.write() as writer:
        for row in writer.packs((PackState.HELD,)):
            writer.delete(row)
    oid = txn.put_blob(b"mine")
    txn.set_ref("refs/tags/x", oid)
    with pytest.raises(ConflictError, match="gone"):
        txn.commit()
    lock.release()
    assert not store.has(oid)


def test_a_pack_that_is_being_dropped_is_not_adopted(store: Store) -> None:
    lock = store.lock_run()
    _work(str(store.path), lock.lease_id, 1)
    txn = store.transaction()
    (pack,) = txn.adopt_held(lock.lease_id)
    txn.set_ref("refs/runs/r1", txn.put_tree({}))
    with Store.open(store.path) as other, other.catalog.write() as writer:
        row = writer.pack(pack)
        assert row is not None
        writer.set_pack_state(row, PackState.DROPPING)
    with pytest.raises(ConflictError, match="is gone"):
        txn.commit()
    lock.release()
    assert store.refs() == []

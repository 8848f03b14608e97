"""What gc counts although it is new, nearly expired or damaged, and what it leaves alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from n4a_store import CorruptionError, ObjectId, Store
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import GcReport, collect
from n4a_store.repo.undo import undo
from n4a_store.storage.rows import PackState
from tests.repo.objects import tag, tag_blobs

JUNK = b"nobody names this" * 100


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.init(tmp_path / "store")


def collect_while(store: Store, action: Callable[[Store], object]) -> GcReport:
    """A gc during whose mark somebody else does something."""
    waiting = [action]

    def marking(*_: int) -> None:
        if waiting:
            with Store.open(store.path) as other:
                waiting.pop()(other)

    return collect(store, marking=marking)


def garbage(store: Store) -> ObjectId:
    with store.transaction() as txn:
        return txn.put_blob(JUNK)


def flip(store: Store, oid: ObjectId) -> None:
    """Damage an object that is stored raw."""
    path = store.layout.pack(store.info(oid).pack)
    data = bytearray(path.read_bytes())
    data[data.index(store.get(oid))] ^= 1
    path.write_bytes(data)


def test_a_pin_that_is_set_while_gc_marks_keeps_what_was_garbage(store: Store) -> None:
    junk = garbage(store)

    def pin(other: Store) -> None:
        with other.transaction() as txn:
            txn.set_pin("wanted", txn.put_blob(JUNK))

    assert collect_while(store, pin).dropped == ()
    with Store.open(store.path) as fresh:
        assert fresh.get(junk) == JUNK
        assert fsck(fresh, full=True).problems == ()


def test_a_ref_that_comes_and_goes_while_gc_marks_can_be_undone(store: Store) -> None:
    junk = garbage(store)

    def come_and_go(other: Store) -> None:
        with other.transaction() as txn:
            txn.set_ref("refs/tags/short", txn.put_blob(JUNK))
        with other.transaction() as txn:
            txn.delete_ref("refs/tags/short")

    assert collect_while(store, come_and_go).dropped == ()
    with Store.open(store.path) as fresh:
        undo(fresh)
        assert fresh.resolve("refs/tags/short") == junk
        assert fsck(fresh, full=True).problems == ()


def test_the_oldest_change_that_is_kept_can_be_undone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it went away from was set by a change that has expired; its own moment is kept."""
    old = tag_blobs(store, "x", {"data": b"old" * 100})
    tag_blobs(store, "x", {"data": b"new" * 100})
    with store.catalog.read() as reader:
        ops = [reader.op(row.op) for row in reader.reflog()]
    at = [op.at_us for op in ops if op is not None]
    assert at[0] > at[1]
    monkeypatch.setattr("n4a_store.repo.gc.undo_cutoff_us", lambda *_: at[0])
    assert collect(store).expired == 1
    undo(store)
    assert store.resolve("refs/tags/x") == old
    assert fsck(store, full=True).problems == ()


def test_a_damaged_tree_stops_gc(store: Store) -> None:
    data = tag(store, "kept")
    with store.transaction() as txn:  # the tree in a pack of its own
        junk = txn.put_blob(JUNK)
        tree = txn.put_tree({"a": txn.adopt_path("refs/tags/kept", "data")})
        txn.set_ref("refs/tags/kept", tree)
    flip(store, tree)
    with Store.open(store.path) as fresh:
        with pytest.raises(CorruptionError, match="nothing was deleted"):
            collect(fresh, expire_now=True)
        assert fresh.get(junk) == JUNK
        assert data in [fresh.get(oid) for oid, _ in fresh.objects() if oid != tree]


def test_damage_to_what_was_committed_while_gc_marked_stops_it(store: Store) -> None:
    junk = garbage(store)

    def commit_and_damage(other: Store) -> None:
        flip(other, tag_blobs(other, "new", {"data": b"data"}))

    with pytest.raises(CorruptionError, match="nothing was deleted"):
        collect_while(store, commit_and_damage)
    with store.catalog.read() as reader:
        assert {row.state for row in reader.packs()} == {PackState.LIVE}
    assert store.get(junk) == JUNK


def test_a_held_pack_stays_whole_where_a_living_one_has_a_part_of_it(store: Store) -> None:
    lock = store.lock_run()
    with Store.open(store.path) as worker, worker.transaction(hold_for=lock.lease_id) as txn:
        tag_blobs(store, "same", {"shared": JUNK})
        own = txn.put_blob(b"own" * 100)
        tree = txn.put_tree({"own": own, "shared": txn.put_blob(JUNK)})
    collect(store, expire_now=True, thorough=True)
    with store.catalog.read() as reader:
        assert PackState.HELD in {row.state for row in reader.packs()}
    with store.transaction("adopt") as txn:
        assert len(txn.adopt_held(lock.lease_id)) == 1
        txn.set_ref("refs/runs/r1", tree)
    lock.release()
    assert store.get(own) == b"own" * 100
    assert fsck(store, full=True).problems == ()


def test_what_is_no_pack_of_this_store_is_left_alone(store: Store) -> None:
    garbage(store)
    beside = [store.layout.packs / name for name in ("notes.txt", f"{'0' * 16}-x-0.n4p")]
    for path in beside:
        path.write_text("mine")
    assert collect(store).dropped
    assert all(path.exists() for path in beside)


def test_a_writer_that_lost_its_answer_finds_it_after_gc_has_expired_everything(
    store: Store,
) -> None:
    with store.transaction() as txn:
        txn.set_ref("refs/tags/x", txn.put_blob(os.urandom(100)))
    assert collect(store, expire_now=True).expired == 1
    with store.catalog.read() as reader:
        assert reader.op_of_commit(txn.commit_id) is not None

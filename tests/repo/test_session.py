"""Read sessions: what has been seen stays readable, and nobody pins more than a session's worth."""

from __future__ import annotations

from pathlib import Path

import pytest

from n4a_store import Store
from n4a_store.repo import gc, session
from n4a_store.repo.gc import collect
from n4a_store.storage.leases import list_leases
from n4a_store.storage.rows import PackState
from tests.repo.objects import tag_blobs


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.init(tmp_path / "store")


def test_a_ref_read_in_a_session_leads_somewhere_until_its_end(store: Store) -> None:
    other = Store.open(store.path)
    with store.session():
        tree = tag_blobs(other, "late", {"data": b"committed after the session began"})
        assert store.ref("refs/tags/late").oid == tree
        with other.transaction() as txn:
            txn.delete_ref("refs/tags/late")
        report = collect(other, expire_now=True)
        assert len(report.condemned) == 1
        assert report.dropped == ()
        # The first read of it comes only now.
        assert sorted(store.get_tree(tree).entries) == ["data"]
    store.close()
    assert len(collect(other, expire_now=True).dropped) == 1


def test_a_process_that_reads_all_the_time_pins_only_what_is_recent(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(session.time, "monotonic", lambda: clock[0])
    # gc ends the idle sessions of its own process; this one stands for another process.
    monkeypatch.setattr(gc, "drop_idle_sessions", lambda: None)
    tree = tag_blobs(store, "kept", {"data": b"x"})
    other = Store.open(store.path)
    leases = set()
    for _ in range(10):
        store.get(tree)
        leases |= {info.lease_id for info in list_leases(store.layout.leases) if info.alive}
        clock[0] += session.IDLE_SECONDS / 2
    assert len(leases) >= 4
    tag_blobs(other, "gone", {"data": b"y"})
    with other.transaction() as txn:
        txn.delete_ref("refs/tags/gone")
    store.get(tree)
    assert len(collect(other, expire_now=True).pending) == 1
    clock[0] += session.IDLE_SECONDS
    store.get(tree)
    assert len(collect(other, expire_now=True).dropped) == 1


def test_a_nested_session_is_never_renewed_under_its_user(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(session.time, "monotonic", lambda: clock[0])
    tree = tag_blobs(store, "kept", {"data": b"x"})
    with store.session():
        (before,) = list_leases(store.layout.leases)
        clock[0] += 10 * session.IDLE_SECONDS
        store.get(tree)
        assert [info.lease_id for info in list_leases(store.layout.leases)] == [before.lease_id]


def test_a_worker_that_commits_beside_gc_keeps_what_it_relied_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Store.open(store.path)
    tag_blobs(store, "gone", {"data": b"relied on" * 100})
    with store.transaction() as txn:
        txn.delete_ref("refs/tags/gone")
    run = store.lock_run()
    real = gc.mark_store

    def mark_then_work(*arguments: object) -> object:
        found = real(*arguments)  # type: ignore[arg-type]
        # Between gc's mark and its condemnation a worker relies on what looks dead.
        with other.transaction(hold_for=run.lease_id) as worker:
            made.append(worker.put_tree({"data": worker.put_blob(b"relied on" * 100)}))
        return found

    made: list[object] = []
    monkeypatch.setattr(gc, "mark_store", mark_then_work)
    report = collect(store, expire_now=True)
    monkeypatch.undo()
    other.close()
    assert report.condemned == ()
    collect(store, expire_now=True)
    with store.transaction() as txn:
        txn.adopt_held(run.lease_id)
        txn.set_ref("refs/tags/adopted", made[0])  # type: ignore[arg-type]
    run.release()
    collect(store, expire_now=True)
    assert store.get(store.resolve("adopted:data")) == b"relied on" * 100
    with store.catalog.read() as reader:
        assert {row.state for row in reader.packs()} == {PackState.LIVE}

"""A commit that finds a ref moved may plan again: what was put stays, whatever comes of it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from n4a_store.errors import ConflictError, InvalidInputError, RefMovedError
from n4a_store.objects.oid import ObjectId
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.store import Store
from n4a_store.repo.transaction import Transaction
from n4a_store.settings import Settings
from n4a_store.storage import system
from n4a_store.storage.leases import LeaseRole, list_leases

REF = "refs/tags/a"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.init(tmp_path / "store") as store:
        yield store


def put(store: Store, data: bytes, ref: str = REF) -> ObjectId:
    with store.transaction() as txn:
        oid = txn.put_blob(data)
        txn.set_ref(ref, oid)
    return oid


def files(store: Store) -> set[str]:
    return {path.stem for path in store.layout.packs.iterdir()}


def rows(store: Store) -> set[str]:
    with store.catalog.read() as reader:
        return {row.id for row in reader.packs()}


class Adding:
    """Adds a blob to the tree that a ref holds; others may come first."""

    def __init__(self, store: Store, txn: Transaction, data: bytes) -> None:
        self.store, self.txn, self.plans = store, txn, 0
        self.added = txn.put_blob(data)

    def plan(self) -> None:
        self.plans += 1
        ref = self.store.find_ref(REF)
        before = None if ref is None else ref.oid
        entries = {self.added.hex: self.added}
        entries |= {} if before is None else {before.hex: before}
        self.txn.set_ref(REF, self.txn.put_tree(entries), before)


def test_what_was_put_stays_and_all_packs_become_visible(store: Store) -> None:
    first = put(store, b"first")
    before = rows(store)
    with store.transaction() as txn:
        mine = Adding(store, txn, b"mine" * 1000)
        mine.plan()
        second = put(store, b"second")
        others = rows(store) - before

        def again() -> None:
            # They stand in their place by now, and nobody sees them.
            assert not store.has(mine.added)
            assert len(files(store) - rows(store)) == 1
            assert bytes(txn.view(mine.added)) == b"mine" * 1000
            mine.plan()

        result = txn.commit(again)
    assert mine.plans == 2
    assert set(store.get_tree(store.ref(REF).oid)) == {mine.added.hex, second.hex}
    assert set(result.packs) == rows(store) - before - others
    assert len(result.packs) == 2
    assert files(store) == rows(store)
    assert fsck(store, full=True).ok
    collect(store, expire_now=True, thorough=True)
    assert bytes(store.view(mine.added)) == b"mine" * 1000
    assert not store.has(first)


def test_gc_while_it_plans_again_takes_nothing_that_it_needs(store: Store) -> None:
    stale = put(store, b"stale")
    put(store, b"living")
    with store.transaction() as txn:
        assert txn.put_blob(b"stale") == stale
        mine = Adding(store, txn, b"mine")
        mine.plan()
        put(store, b"second")

        def again() -> None:
            collect(store, expire_now=True, thorough=True)
            mine.plan()
            txn.set_ref("refs/tags/stale", stale)

        txn.commit(again)
    assert fsck(store, full=True).ok
    assert bytes(store.view(stale)) == b"stale"
    assert bytes(store.view(mine.added)) == b"mine"


@pytest.mark.parametrize("error", [ConflictError("given up"), InvalidInputError("wrong")])
def test_who_gives_up_has_changed_nothing(store: Store, error: Exception) -> None:
    put(store, b"first")
    with pytest.raises(type(error)), store.transaction() as txn:  # noqa: PT012
        mine = Adding(store, txn, b"mine")
        mine.plan()
        second = put(store, b"second")

        def again() -> None:
            raise error

        txn.commit(again)
    assert store.ref(REF).oid == second
    assert not txn.is_open
    assert all(lease.role is LeaseRole.READER for lease in list_leases(store.layout.leases))
    collect(store)  # what is nobody's goes now, if it has not gone yet
    assert files(store) == rows(store)
    assert not store.has(mine.added)


def test_without_a_second_plan_it_is_a_conflict_and_leaves_no_file(store: Store) -> None:
    put(store, b"first")
    with pytest.raises(RefMovedError, match="expected"), store.transaction() as txn:  # noqa: PT012
        mine = Adding(store, txn, b"mine")
        mine.plan()
        put(store, b"second")
        txn.commit()
    assert files(store) == rows(store)


def test_a_conflict_is_said_although_what_it_leaves_cannot_be_removed(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(step: str, path: str) -> None:
        if step == "unlink" and "/packs/" in path:
            raise OSError(errno.EIO, "Input/output error", path)

    put(store, b"first")
    txn = store.transaction()
    txn.set_ref(REF, txn.put_blob(b"mine"), None)
    before = system.observe(refuse)
    try:
        with pytest.raises(RefMovedError, match="expected"):
            txn.commit()
    finally:
        system.observe(before)
    assert not txn.is_open
    assert list_leases(store.layout.leases) == []
    assert "Input/output error" in caplog.text
    assert len(files(store) - rows(store)) == 1
    collect(store)
    assert files(store) == rows(store)


def test_a_conflict_at_the_last_attempt_leaves_no_file(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("n4a_store.repo.transaction._ATTEMPTS", 3)
    with pytest.raises(RefMovedError), store.transaction() as txn:  # noqa: PT012
        mine = Adding(store, txn, b"mine")
        mine.plan()
        put(store, b"0")

        def again() -> None:
            assert mine.plans < 5, "it never gives up"
            mine.plan()
            put(store, b"%d" % mine.plans)

        txn.commit(again)
    assert mine.plans == 3
    assert files(store) == rows(store)


def test_several_packs_before_and_after(tmp_path: Path) -> None:
    settings = Settings(pack_max_objects=2)
    with Store.init(tmp_path / "small", settings=settings) as store:
        with store.transaction() as txn:
            blobs = [txn.put_blob(b"%d" % at) for at in range(5)]
            mine = Adding(store, txn, b"mine")
            mine.plan()
            put(store, b"other")
            # Read back from packs that have been moved to their place since.
            result = txn.commit(lambda: (mine.plan(), [txn.view(one) for one in blobs])[0])
        assert len(result.packs) >= 4
        assert files(store) == rows(store)
        assert fsck(store, full=True).ok

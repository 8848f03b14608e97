"""What a transaction saw a ref hold as it began: it may be adopted, and the commit looks again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from n4a_store.objects.oid import ObjectId
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.store import Store
from n4a_store.storage.rows import PackState


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.init(tmp_path / "store") as store:
        yield store


def test_what_a_ref_held_at_the_beginning_can_be_adopted_once(store: Store) -> None:
    with store.transaction() as txn:
        tree = txn.put_tree({"a": txn.put_blob(b"a")})
        txn.set_ref("refs/tags/a", tree)
        txn.set_ref("refs/tags/b", tree)
    with store.transaction(look_at=("refs/tags/a", "refs/tags/none")) as txn:
        assert txn.seen_ref("refs/tags/a") == store.find_ref("refs/tags/a")
        assert txn.seen_ref("refs/tags/b") is txn.seen_ref("refs/tags/none") is None
        assert not txn.adopt_seen("refs/tags/b", tree)
        assert not txn.adopt_seen("refs/tags/none", tree)
        assert txn.adopt_seen("refs/tags/a", tree)
        txn.put_tree({"b": txn.put_blob(b"b")}, onto=tree)  # an adopted one
        assert not txn.adopt_seen("refs/tags/a", tree)
    with store.transaction(look_at=("refs/tags/a",)) as txn:
        assert not txn.adopt_seen("refs/tags/a", txn.put_blob(b"another"))


def test_what_is_adopted_as_it_was_at_the_beginning_is_brought_back(store: Store) -> None:
    with store.transaction() as txn:
        tree = txn.put_tree({"a": txn.put_blob(b"a")})
        txn.set_ref("refs/tags/a", tree)
    with store.transaction(look_at=("refs/tags/a",)) as txn:
        with store.transaction() as other:
            other.delete_ref("refs/tags/a")
        assert collect(store, expire_now=True).condemned
        assert txn.adopt_seen("refs/tags/a", tree)
        txn.set_ref("refs/tags/b", tree)
    with store.catalog.read() as reader:
        assert {row.state for row in reader.packs()} == {PackState.LIVE}
    assert store.view(store.get_tree(tree)["a"].oid) == b"a"
    assert fsck(store, full=True).ok


def test_a_ref_that_moved_away_and_came_back_vouches_for_neither(store: Store) -> None:
    """What is adopted from it meanwhile must be brought back, though it holds the first again."""

    def put(other: Store, data: bytes) -> ObjectId:
        with other.transaction() as txn:
            tree = txn.put_tree({"x": txn.put_blob(data)})
            txn.set_ref("refs/tags/a", tree)
        return tree

    with Store.open(store.path) as other:
        one = put(other, b"one")
        with store.transaction(look_at=("refs/tags/a",)) as txn:
            assert txn.adopt_seen("refs/tags/a", one)
            two = put(other, b"two")
            assert txn.adopt_path("refs/tags/a").oid == two
            assert put(other, b"one") == one
            assert collect(other, expire_now=True).condemned
            txn.set_ref("refs/tags/b", txn.put_tree({"1": one, "2": two}))
            txn.commit()
    assert fsck(store, full=True).ok

"""Naming what is only present: its closure is walked, and no more is read than names something."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from n4a_store import ObjectId, Store
from n4a_store.errors import ObjectNotFoundError
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from tests.repo.objects import tag_blobs


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.init(tmp_path / "store") as store:
        yield store


def test_a_tree_that_is_named_by_its_id_reads_no_blob(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = {f"blob{number}": os.urandom(5_000) for number in range(10)}
    with store.transaction() as txn:
        inner = txn.put_tree({name: txn.put_blob(data) for name, data in blobs.items()})
        tree = txn.put_tree({"inner": inner, "other": txn.put_blob(b"x" * 3_000)})
        txn.set_ref("refs/tags/a", tree)
    read: list[bytes] = []
    real = Store.read

    def note(store: Store, oid: bytes) -> object:
        read.append(oid)
        return real(store, oid)

    monkeypatch.setattr(Store, "read", note)
    with store.transaction() as txn:
        txn.set_ref("refs/tags/b", tree)
    assert sorted(read) == sorted([tree.raw, inner.raw])
    with store.transaction() as txn:
        txn.delete_ref("refs/tags/a")
    collect(store, expire_now=True, thorough=True)
    assert fsck(store, full=True).ok
    assert store.get(store.resolve("b:inner/blob3")) == blobs["blob3"]


def test_what_is_relied_on_unread_is_brought_back(store: Store) -> None:
    """The blobs are condemned between the naming and the commit."""
    tree = tag_blobs(store, "a", {"data": os.urandom(4_000)})
    with Store.open(store.path) as other:
        txn = store.transaction()
        txn.set_ref("refs/tags/b", tree)
        with other.transaction() as theirs:
            theirs.delete_ref("refs/tags/a")
        store.sessions.drop_idle()
        assert collect(other, expire_now=True, thorough=True).condemned
        txn.commit()
        collect(other, expire_now=True, thorough=True)
    assert fsck(store, full=True).ok
    assert len(store.get(store.resolve("b:data"))) == 4_000


def test_what_a_transaction_can_read_it_can_name(store: Store) -> None:
    """It came and was condemned after the transaction began, whose lease alone keeps it."""
    data = os.urandom(4_000)
    with Store.open(store.path) as other:
        txn = store.transaction()
        tree = tag_blobs(other, "a", {"data": data})
        with other.transaction() as theirs:
            theirs.delete_ref("refs/tags/a")
        other.sessions.drop_idle()
        assert collect(other, expire_now=True, thorough=True).condemned
        with pytest.raises(ObjectNotFoundError):
            store.get(tree)
        txn.set_ref("refs/tags/b", txn.put_tree({"tree": tree}))
        txn.commit()
        collect(other, expire_now=True, thorough=True)
    assert store.get(store.resolve("b:tree/data")) == data
    assert fsck(store, full=True).ok


def test_a_blob_that_is_nowhere_cannot_be_named(store: Store) -> None:
    with store.transaction() as txn, pytest.raises(ObjectNotFoundError):
        txn.put_tree({"gone": ObjectId(bytes(32))})

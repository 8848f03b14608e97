"""What a transaction need not work out again: trees by their ids, the pipelines of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from n4a_store.errors import ObjectNotFoundError, TransactionClosedError
from n4a_store.objects.model import Run, RunStatus
from n4a_store.objects.oid import ObjectId
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.init(tmp_path / "store") as store:
        yield store


def a_run(pipelines: ObjectId) -> Run:
    return Run(pipelines, "d", "2026-11-23T00:00:00Z", RunStatus.COMPLETE)


def tree_below_a_tag(store: Store) -> tuple[ObjectId, ObjectId]:
    """A tree that ``refs/tags/a`` names, and the blob below it."""
    with store.transaction() as txn:
        leaf = txn.put_blob(b"leaf")
        tree = txn.put_tree({"leaf": leaf})
        txn.set_ref("refs/tags/a", tree)
    return tree, leaf


def test_a_tree_is_reused_by_its_id_where_it_stands_in_a_live_pack(store: Store) -> None:
    with store.transaction() as txn:
        absent = ObjectId(bytes(32))
        assert not txn.reuse_tree(absent)
        with pytest.raises(ObjectNotFoundError):
            txn.put_tree({"x": absent})
    tree, leaf = tree_below_a_tag(store)
    with store.transaction() as txn:
        assert txn.put_blob(b"leaf") == leaf
        assert txn.reuse_tree(tree)
        assert txn.reuse_tree(tree)
        txn.set_ref("refs/tags/b", tree)
        result = txn.commit()
    assert (result.objects_added, result.objects_reused) == (0, 3)
    with pytest.raises(TransactionClosedError):
        txn.reuse_tree(tree)
    with store.transaction() as txn, Store.open(store.path) as other:
        with other.transaction() as theirs:
            newer = theirs.put_tree({"newer": theirs.put_blob(b"newer")})
            theirs.set_ref("refs/tags/c", newer)
        # Our lease does not pin what came after our snapshot.
        assert not txn.reuse_tree(newer)


def test_a_reused_tree_that_was_condemned_meanwhile_is_brought_back(store: Store) -> None:
    with store.transaction() as txn:
        leaf = txn.put_blob(b"leaf")
        txn.set_ref("refs/tags/leaf", leaf)  # in a pack of its own, which stays
    tree, _ = tree_below_a_tag(store)
    with store.transaction() as txn:
        assert txn.put_blob(b"leaf") == leaf
        assert txn.reuse_tree(tree)
        with Store.open(store.path) as other:
            with other.transaction() as theirs:
                theirs.delete_ref("refs/tags/a")
            collect(other, expire_now=True, thorough=True)
        txn.set_ref("refs/tags/b", tree)
        txn.commit()
    with Store.open(store.path) as other:
        assert fsck(other, full=True).ok
        store.sessions.drop_idle()
        collect(other, expire_now=True, thorough=True)
        assert other.get(other.resolve("b:leaf")) == b"leaf"


def test_the_pipelines_of_a_run_are_those_of_the_run_that_the_ref_holds(store: Store) -> None:
    """Also when somebody else has moved it on since this process put the last one."""
    with store.transaction() as txn:
        first = txn.put_tree({"p": txn.put_tree({"x": txn.put_blob(b"1")})})
        txn.set_ref("refs/runs/r", txn.put_run(a_run(first)))
    with Store.open(store.path) as other, other.transaction() as theirs:
        second = theirs.put_tree({"q": theirs.put_tree({"x": theirs.put_blob(b"2")})})
        theirs.set_ref("refs/runs/r", theirs.put_run(a_run(second)))
    with store.transaction() as txn:
        run = txn.adopt_path("refs/runs/r")
        third = txn.put_tree({"s": txn.put_tree({})}, onto=run.oid)
        assert set(txn.get_tree(third)) == {"q", "s"}
        moved = txn.put_run(a_run(third))
        fourth = txn.put_tree({"q": None}, onto=moved)
        assert set(txn.get_tree(fourth)) == {"s"}

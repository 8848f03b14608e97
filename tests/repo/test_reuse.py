"""What a transaction need not work out again: trees by their ids, the pipelines of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from n4a_store.errors import (
    InvalidInputError,
    ObjectNotFoundError,
    TransactionClosedError,
)
from n4a_store.objects.codec import pack_child
from n4a_store.objects.model import Run, RunStatus
from n4a_store.objects.oid import Kind, ObjectId, hash_object
from n4a_store.objects.trees import FANOUT_LIMIT
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


def somebody_deletes_and_collects(store: Store) -> None:
    """What only ``refs/tags/a`` reached is condemned, beside a transaction that is open here."""
    with Store.open(store.path) as other:
        with other.transaction() as theirs:
            theirs.delete_ref("refs/tags/a")
        collect(other, expire_now=True, thorough=True)


@contextmanager
def collected(store: Store) -> Iterator[Store]:
    """The store as another process opens it, sound before and after one more collection."""
    with Store.open(store.path) as other:
        assert fsck(other, full=True).ok
        store.sessions.drop_idle()
        collect(other, expire_now=True, thorough=True)
        assert fsck(other, full=True).ok
        yield other


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
        somebody_deletes_and_collects(store)
        txn.set_ref("refs/tags/b", tree)
        txn.commit()
    with collected(store) as other:
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


def parts(*blobs: bytes) -> list[tuple[bytes, int]]:
    return [(data, 1) for data in blobs]


def child(kind: Kind, oid: ObjectId) -> bytes:
    return pack_child(kind, oid.raw)


def test_parts_are_put_as_blobs_are(store: Store) -> None:
    with store.transaction() as txn:
        first = txn.put_blob(b"first")
        txn.set_ref("refs/tags/a", first)
    with store.transaction() as txn:
        own = txn.put_blob(b"own")
        oids = txn.put_blobs(parts(b"first", b"own", b"new", b"new", b""))
        assert oids == [hash_object(Kind.BLOB, data).raw for data, _ in parts(b"first", b"own")] + [
            hash_object(Kind.BLOB, data).raw for data in (b"new", b"new", b"")
        ]
        tree = txn.put_tree({f"{at}": ObjectId(oid) for at, oid in enumerate(oids)})
        txn.set_ref("refs/tags/b", tree)
        result = txn.commit()
    assert own.raw == oids[1]
    # Three blobs and the tree are new; one stood in a pack, one was known, one came twice.
    assert (result.objects_added, result.objects_reused) == (4, 3)
    assert fsck(store, full=True).ok
    with pytest.raises(TransactionClosedError):
        txn.put_blobs(parts(b"late"))


def test_parts_that_stand_here_already_make_no_file(store: Store) -> None:
    with store.transaction() as txn:
        txn.set_ref("refs/tags/a", txn.put_blob(b"part"))
    with store.transaction() as txn:
        (part,) = txn.put_blobs(parts(b"part"))
        assert not list(store.layout.transactions.iterdir())
        txn.set_ref("refs/tags/b", ObjectId(part))


def test_parts_that_were_condemned_meanwhile_are_brought_back(store: Store) -> None:
    with store.transaction() as txn:
        txn.set_ref("refs/tags/a", txn.put_blob(b"part"))
    with store.transaction() as txn:
        part = ObjectId(txn.put_blobs(parts(b"part"))[0])
        somebody_deletes_and_collects(store)
        txn.set_ref("refs/tags/b", part)
        assert txn.commit().objects_added == 0
    with collected(store) as other:
        assert other.get(other.resolve("b")) == b"part"


def test_parts_in_packs_beyond_the_snapshot_are_written_again(store: Store) -> None:
    with store.transaction() as txn:
        txn.set_ref("refs/tags/a", txn.put_blob(b"a"))
    with store.transaction() as txn, Store.open(store.path) as other:
        with other.transaction() as theirs:
            theirs.set_ref("refs/tags/theirs", theirs.put_blob(b"newer"))
        store.refs()
        store.get(store.resolve("theirs"))  # this process knows the pack, our lease does not
        txn.set_ref("refs/tags/b", ObjectId(txn.put_blobs(parts(b"newer"))[0]))
        assert txn.commit().objects_added == 1


def test_a_packed_tree_is_the_tree(store: Store) -> None:
    with store.transaction() as txn:
        blob, tree = txn.put_blob(b"x"), txn.put_tree({})
        entries = {"a": child(Kind.BLOB, blob), "b": child(Kind.TREE, tree)}
        packed = txn.put_packed(entries)
        assert packed == txn.put_tree({"b": tree, "a": blob})
        assert txn.put_packed({}) == tree
        txn.set_ref("refs/tags/a", packed)


def test_a_packed_tree_names_what_may_be_named_only(store: Store) -> None:
    tree, leaf = tree_below_a_tag(store)
    with store.transaction() as txn:
        with pytest.raises(ObjectNotFoundError):
            txn.put_packed({"x": pack_child(Kind.BLOB, bytes(32))})
        # What is only present is put again or adopted with all that is below it.
        named = txn.put_packed({"x": child(Kind.TREE, tree)})
        with pytest.raises(InvalidInputError, match="is a tree, not a blob"):
            txn.put_packed({"x": child(Kind.BLOB, tree)})
        somebody_deletes_and_collects(store)
        txn.set_ref("refs/tags/b", named)
        txn.commit()
    with collected(store) as other:
        assert other.get(leaf) == b"leaf"


@pytest.mark.parametrize(
    "entries",
    [
        {"b": bytes((1, *bytes(32))), "a": bytes((1, *bytes(32)))},
        {"a/b": bytes((1, *bytes(32)))},
        {"": bytes((1, *bytes(32)))},
        {"a": b"short"},
        {f"{at:08d}": bytes((1, *bytes(32))) for at in range(FANOUT_LIMIT + 1)},
    ],
)
def test_what_is_no_packed_tree_is_refused(store: Store, entries: dict[str, bytes]) -> None:
    with store.transaction() as txn, pytest.raises(InvalidInputError):
        txn.put_packed(entries)


def test_a_packed_entry_of_no_kind_is_refused(store: Store) -> None:
    with store.transaction() as txn, pytest.raises(InvalidInputError, match="unknown kind"):
        txn.put_packed({"a": bytes((9, *bytes(32)))})

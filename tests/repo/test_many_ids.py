"""A transaction of more ids than its tables keep at hand: nothing is forgotten on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from n4a_store.errors import ObjectNotFoundError
from n4a_store.objects.codec import encode_value
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import Kind, ObjectId, raw_hash
from n4a_store.packs.id_table import IdTable
from n4a_store.repo import commit, mark
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.history import reach
from n4a_store.repo.reachability import preview
from n4a_store.repo.store import Store

FEW = 5


@pytest.fixture(autouse=True)
def few_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IdTable.__init__, "__defaults__", (FEW,))
    monkeypatch.setattr(commit, "FANOUT_LIMIT", FEW)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.init(tmp_path / "store") as store:
        yield store


def put_many(store: Store, first: int, last: int, name: str) -> ObjectId:
    with store.transaction() as txn:
        blobs = {str(n): TreeEntry(Kind.BLOB, txn.put_blob(b"%d" % n)) for n in range(first, last)}
        tree = txn.put_tree(blobs)
        txn.set_ref(name, tree)
    return tree


def test_what_was_put_first_is_known_at_the_end_and_written_once(store: Store) -> None:
    with store.transaction() as txn:
        blobs = [txn.put_blob(b"%d" % n) for n in range(100)]
        assert [txn.put_blob(b"%d" % n) for n in range(100)] == blobs
        tree = txn.put_tree({str(n): TreeEntry(Kind.BLOB, oid) for n, oid in enumerate(blobs)})
        with pytest.raises(ObjectNotFoundError):
            txn.put_tree({"never": TreeEntry(Kind.BLOB, ObjectId(b"\x07" * 32))})
        txn.set_ref("refs/tags/a", tree)
        result = txn.commit()
    assert (result.objects_added, result.objects_reused) == (101, 100)
    assert fsck(store, full=True).ok
    assert len(list(reach(store, [TreeEntry(Kind.TREE, tree)]))) == 101


def test_a_closure_that_is_only_present_is_put_whole(store: Store) -> None:
    with store.transaction() as txn:
        with Store.open(store.path) as other:
            inner = put_many(other, 0, 40, "refs/tags/inner")
        txn.set_ref("refs/tags/outer", txn.put_tree({"inner": inner}))
        result = txn.commit()
    assert result.objects_added == 42, "the tree, what it names, and all below that"
    with store.transaction() as txn:
        txn.delete_ref("refs/tags/inner")
    collect(store, expire_now=True)
    assert fsck(store, full=True).ok
    assert store.get(store.resolve("outer:inner/39")) == b"39"


def test_what_a_worker_relied_on_outlives_a_gc_before_its_run_adopts_it(store: Store) -> None:
    for first in range(0, 40, FEW):  # each in a pack of its own
        put_many(store, first, first + FEW, f"refs/tags/theirs{first}")
    run = store.lock_run()
    with store.transaction(hold_for=run.lease_id) as txn:
        blobs = {str(n): TreeEntry(Kind.BLOB, txn.put_blob(b"%d" % n)) for n in range(40)}
        blobs["new"] = TreeEntry(Kind.BLOB, txn.put_blob(b"new"))
    with store.transaction() as txn:
        for first in range(0, 40, FEW):
            txn.delete_ref(f"refs/tags/theirs{first}")
    collect(store, expire_now=True)
    with store.transaction() as txn:
        txn.adopt_held(run.lease_id)
        txn.set_ref("refs/tags/mine", txn.put_tree(blobs))
    run.release()
    collect(store, expire_now=True)
    assert fsck(store, full=True).ok
    assert store.get(store.resolve("mine:39")) == b"39"


def test_a_worker_whose_adoption_failed_commits_what_it_has_all_the_same(store: Store) -> None:
    put_many(store, 0, 1, "refs/tags/theirs")
    with Store.open(store.path) as other, other.transaction() as theirs:
        torn = encode_value(
            {
                "entries": {
                    "a": bytes((Kind.BLOB,)) + raw_hash(Kind.BLOB, b"0"),
                    "z": bytes((Kind.BLOB,)) + b"\x07" * 32,
                }
            }
        )
        theirs._packs.add(raw_hash(Kind.TREE, torn), Kind.TREE, torn)
    run = store.lock_run()
    with store.transaction(hold_for=run.lease_id) as txn:
        mine = txn.put_blob(b"mine")
        with pytest.raises(ObjectNotFoundError):
            txn.put_tree({"torn": ObjectId(raw_hash(Kind.TREE, torn))})
    with store.transaction() as txn:
        txn.adopt_held(run.lease_id)
        txn.set_ref("refs/tags/mine", mine)
    run.release()
    assert store.get(store.resolve("mine")) == b"mine"


def test_many_packs_are_asked_as_few_are(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one they took a walk from milliseconds to minutes, where a run was open."""
    for number in range(6):
        put_many(store, 3 * number, 3 * number + 8, f"refs/tags/t{number}")
    with store.session():
        marker = preview(store).kept
        oids = [oid for oid, _ in store.objects()] + [ObjectId(b"\x07" * 32)]
        answers = []
        for few in (100, 0):
            monkeypatch.setattr(mark, "_FEW_PACKS", few)
            places = [marker.locate(oid.raw) for oid in oids]
            here = [None if at is None else at[0].index.oid_at(at[1]) for at in places]
            answers.append((here, [marker.is_marked(oid.raw) for oid in oids]))
    assert answers[0] == answers[1]
    assert answers[0][0] == [*(oid.raw for oid in oids[:-1]), None]

"""Transactions: the order of the protocol, what may be named, and what failure leaves behind."""

from __future__ import annotations

import array
import errno
import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from n4a_store.errors import (
    BackendError,
    ConflictError,
    CorruptionError,
    InvalidInputError,
    InvalidNameError,
    ObjectNotFoundError,
    RefNotFoundError,
    TransactionClosedError,
)
from n4a_store.objects.codec import encode_run, encode_value
from n4a_store.objects.model import Run, RunStatus, Tree, TreeEntry
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.store import Store
from n4a_store.settings import Durability, Settings
from n4a_store.storage import system
from n4a_store.storage.leases import list_leases
from n4a_store.storage.rows import PackState
from tests.descriptors import open_files

MISSING = ObjectId(bytes(32))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.init(tmp_path / "store") as store:
        yield store
    system.observe(None)


def kind_of(path: str) -> str:
    name = Path(path).name
    if name.endswith(".n4p"):
        return "pack"
    return {"leases": "lease", "txn": "folder"}.get(Path(path).parent.name, name)


def record(steps: list[str]) -> None:
    system.observe(lambda step, path: steps.append(f"{step} {kind_of(path)}"))


def put_one(store: Store, data: bytes = b"data", name: str = "refs/tags/a") -> ObjectId:
    with store.transaction() as txn:
        oid = txn.put_blob(data)
        txn.set_ref(name, oid)
    return oid


def leases(store: Store) -> int:
    store.sessions.drop_idle()
    return len(list_leases(store.layout.leases))


def leftovers(store: Store) -> list[str]:
    return [path.name for path in store.layout.transactions.rglob("*")]


def test_the_steps_of_a_commit_in_their_order(store: Store) -> None:
    steps: list[str] = []
    record(steps)
    put_one(store)
    system.observe(None)
    assert steps == [
        "create lease", "lock lease",  # first be seen,
        "catalog-read catalog.db",  # then look,
        "write lease",  # then say what is pinned
        "mkdir folder", "create pack", "write pack", "fsync pack",
        "rename pack", "fsync packs",  # durable under its name before anybody is told of it
        "open commit.lock", "lock commit.lock",
        "catalog-begin catalog.db", "catalog-commit catalog.db",
        "write commit.lock",
        "rmdir folder",
        "unlink lease",  # while it is still locked
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("durability", "fsyncs"),
    [(Durability.FULL, 2), (Durability.RELAXED, 2), (Durability.NONE, 0)],
)
def test_how_often_a_commit_syncs(tmp_path: Path, durability: Durability, fsyncs: int) -> None:
    settings = Settings(durability=durability, pack_max_objects=100)
    with Store.init(tmp_path / "store", settings=settings) as store:
        steps: list[str] = []
        record(steps)
        put_one(store)
        assert [step for step in steps if step.startswith("fsync")] == (
            ["fsync pack", "fsync packs"] if fsyncs else []
        )
        steps.clear()
        with store.transaction() as txn:
            for number in range(250):
                txn.put_blob(b"%d" % number)
        # One for each pack and one for the folder, however many objects.
        assert sum(step.startswith("fsync") for step in steps) == (3 + 1 if fsyncs else 0)
        steps.clear()
        put_one(store, b"data", "refs/tags/b")  # nothing new: a commit of refs alone
        assert not any(step.startswith(("fsync", "create pack")) for step in steps)
        system.observe(None)


def test_an_empty_transaction_leaves_nothing(store: Store) -> None:
    with store.transaction() as txn:
        pass
    assert txn.commit_id
    assert not txn.is_open
    assert leases(store) == 0
    with store.transaction() as txn:
        result = txn.commit()
    assert (result.op, result.packs, result.objects_added) == (None, (), 0)
    assert leases(store) == 0
    assert store.reflog() == []


def test_what_a_commit_reports(store: Store) -> None:
    with store.transaction("why") as txn:
        blob = txn.put_blob(b"data")
        assert txn.put_blob(bytearray(b"data")) == blob
        txn.set_ref("refs/tags/a", txn.put_tree({"b": blob}))
        result = txn.commit()
    assert (result.op, result.objects_added, result.objects_reused) == (1, 2, 1)
    assert result.bytes_added == sum(p.stat().st_size for p in store.layout.packs.iterdir())
    assert result.commit_id == txn.commit_id
    with store.catalog.read() as reader:
        op = reader.op_of_commit(txn.commit_id)
    assert op is not None
    assert (op.op, op.message) == (1, "why")
    with store.transaction() as txn:
        txn.put_blob(b"data")
        again = txn.commit()
    assert (again.op, again.objects_added, again.objects_reused) == (None, 0, 1)


def test_nothing_is_visible_before_the_commit_and_nothing_after_an_abort(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.transaction() as txn:  # noqa: PT012
        oid = txn.put_blob(b"data" * 1000)
        txn.set_ref("refs/tags/a", oid)
        assert not store.has(oid)
        assert store.refs() == []
        assert txn.get(oid) == b"data" * 1000
        _ = 1 // 0
    assert not store.has(oid)
    assert (store.refs(), leftovers(store), leases(store)) == ([], [], 0)
    for use in (txn.commit, lambda: txn.put_blob(b""), lambda: txn.set_ref("refs/tags/a", oid)):
        with pytest.raises(TransactionClosedError):
            use()
    txn.abort()


def test_a_lost_transaction_pins_nothing(store: Store) -> None:
    txn = store.transaction()
    txn.put_blob(b"data")
    fds = open_files()
    del txn
    gc.collect()
    assert leases(store) == 0
    assert open_files() < fds


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytearray(b"x"),
        memoryview(b"xyz")[1:],
        array.array("d", [1.0, 2.0]),
        memoryview(array.array("d", [])),
    ],
)
def test_any_contiguous_buffer_is_a_blob(store: Store, data: Any) -> None:
    with store.transaction() as txn:
        oid = txn.put_blob(data)
        assert txn.get(oid) == bytes(data)
    assert store.get(oid) == bytes(data)


@pytest.mark.parametrize("data", ["text", 7, None, [1], memoryview(b"abcd")[::2]])
def test_anything_else_is_not(store: Store, data: Any) -> None:
    with store.transaction() as txn, pytest.raises(InvalidInputError, match="contiguous"):
        txn.put_blob(data)


def test_what_does_not_exist_cannot_be_named(store: Store) -> None:
    with store.transaction() as txn:
        run = Run(MISSING, "d", "2026-11-23T00:00:00Z", RunStatus.COMPLETE)
        tree = encode_value({"entries": {"a": b"\x01" + bytes(32)}})
        for attempt in (
            lambda: txn.put_tree({"a": MISSING}),
            lambda: txn.put_run(run),
            lambda: txn.put(Kind.TREE, tree),
            lambda: txn.put(Kind.RUN, encode_run(run)),
            lambda: txn.set_ref("refs/tags/a", MISSING),
        ):
            with pytest.raises(ObjectNotFoundError):
                attempt()
        with pytest.raises(CorruptionError):
            txn.put(Kind.TREE, b"no tree")
        blob = txn.put_blob(b"x")
        with pytest.raises(InvalidInputError, match="is a blob, not a tree"):
            txn.put_tree({"a": TreeEntry(Kind.TREE, blob)})
        with pytest.raises(InvalidInputError, match="is a blob, not a tree"):
            txn.put_run(Run(blob, "d", "2026-11-23T00:00:00Z", RunStatus.COMPLETE))
        with pytest.raises(InvalidNameError):
            txn.set_ref("tags/a", blob)
        with pytest.raises(InvalidInputError):
            txn.put_tree({"a/b": blob})


def test_messages_are_text(store: Store) -> None:
    for message in ("\ud800", None, b"x"):
        with pytest.raises(InvalidInputError, match="message"):
            store.transaction(message)  # type: ignore[arg-type]
    assert leases(store) == 0


def test_walking_from_a_ref(store: Store) -> None:
    with store.transaction() as txn:
        leaf = txn.put_blob(b"leaf")
        inner = txn.put_tree({"leaf": leaf})
        pipelines = txn.put_tree({"p": inner})
        run = txn.put_run(Run(pipelines, "d", "2026-11-23T00:00:00Z", RunStatus.COMPLETE))
        txn.set_ref("refs/runs/r", run)
    with store.transaction() as txn:
        assert txn.adopt_path("refs/runs/r") == TreeEntry(Kind.RUN, run)
        assert txn.adopt_path("refs/runs/r", "p", "leaf") == TreeEntry(Kind.BLOB, leaf)
        found = txn.adopt_path("refs/runs/r", "p")
        assert list(txn.adopt_children(found.oid)) == ["leaf"]
        txn.set_ref("refs/tags/a", txn.put_tree({"again": found}))
        with pytest.raises(RefNotFoundError):
            txn.adopt_path("refs/tags/none")
        with pytest.raises(ObjectNotFoundError, match="none"):
            txn.adopt_path("refs/runs/r", "p", "none")
        with pytest.raises(InvalidInputError, match="is a blob"):
            txn.adopt_path("refs/runs/r", "p", "leaf", "below")
        with pytest.raises(InvalidInputError, match="not a tree that was adopted"):
            txn.adopt_children(leaf)
        assert txn.commit().objects_added == 1
    assert fsck(store, full=True).problems == ()


def test_what_is_present_but_not_in_the_snapshot_is_put_again_with_its_closure(
    store: Store,
) -> None:
    with store.transaction() as txn:
        with Store.open(store.path) as other, other.transaction() as theirs:
            leaf = theirs.put_blob(b"leaf")
            inner = theirs.put_tree({"leaf": leaf})
        # gc may drop that pack before we commit: our lease is older and pins nothing of it.
        outer = txn.put_tree({"inner": inner})
        txn.set_ref("refs/tags/a", outer)
        result = txn.commit()
    assert result.objects_added == 3
    for path in store.layout.packs.iterdir():
        if path.stem not in result.packs:
            path.unlink()
    with Store.open(store.path) as again:
        assert again.get(again.resolve("a:inner/leaf")) == b"leaf"


@pytest.mark.parametrize("how", ["duplicate", "by id", "adopted"])
def test_what_was_condemned_while_a_transaction_relied_on_it_is_brought_back(
    store: Store, how: str
) -> None:
    put_one(store)
    with store.transaction() as txn:
        if how == "adopted":
            entry = txn.adopt_path("refs/tags/a")
        else:
            entry = TreeEntry(Kind.BLOB, store.ref("refs/tags/a").oid)
            if how == "duplicate":
                assert txn.put_blob(b"data") == entry.oid
            txn.put_tree({"x": entry})
        with Store.open(store.path) as other:
            with other.transaction() as theirs:
                theirs.delete_ref("refs/tags/a")
            collect(other, expire_now=True, thorough=True)
            with other.catalog.read() as reader:
                assert [row.state for row in reader.packs()] == [PackState.CONDEMNED]
        txn.set_ref("refs/tags/b", entry)
        txn.commit()
    with Store.open(store.path) as other:
        assert fsck(other, full=True).ok
        store.sessions.drop_idle()
        collect(other, expire_now=True, thorough=True)
        assert other.get(other.resolve("b")) == b"data"


def test_packs_are_closed_at_their_limits_and_read_back_meanwhile(tmp_path: Path) -> None:
    settings = Settings(pack_max_bytes=4096, pack_max_objects=7)
    with Store.init(tmp_path / "store", settings=settings) as store:
        with store.transaction() as txn:
            oids = [txn.put_blob(os.urandom(size)) for size in (0, 10, 5000, 100, 5000, *range(20))]
            contents = {oid: txn.get(oid) for oid in oids}
            assert {txn.kind(oid) for oid in oids} == {Kind.BLOB}
            tree = txn.put_tree({f"{n:02}": oid for n, oid in enumerate(oids)})
            assert len(txn.get_tree(tree)) == len(oids)
            txn.set_ref("refs/tags/a", tree)
            result = txn.commit()
        assert len(result.packs) >= 5
        assert result.objects_added == len(set(oids)) + 1
        for oid, data in contents.items():
            assert store.get(oid) == data
        assert fsck(store, full=True).problems == ()


def test_a_large_tree_is_put_and_read_in_shards(store: Store) -> None:
    with store.transaction() as txn:
        leaf = txn.put_blob(b"")
        names = [f"n{n}" for n in range(1025)]
        tree = txn.put_tree(dict.fromkeys(names, leaf))
        assert len(txn.get_tree(tree)) == 1025
        txn.set_ref("refs/tags/a", tree)
        assert txn.commit().objects_added == 1 + 17
    assert store.get_tree(tree) == Tree(dict.fromkeys(names, TreeEntry(Kind.BLOB, leaf)))
    assert store.get_entry(tree, "n7") == TreeEntry(Kind.BLOB, leaf)
    assert store.get_entry(tree, "none") is None


STEPS = [
    ("create", "lease"), ("lock", "lease"), ("write", "lease"), ("mkdir", "folder"),
    ("create", "pack"), ("write", "pack"), ("fsync", "pack"), ("rename", "pack"),
    ("fsync", "packs"), ("open", "commit.lock"), ("lock", "commit.lock"),
]  # fmt: skip


@pytest.mark.parametrize(("step", "what"), STEPS, ids=["-".join(step) for step in STEPS])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_refuses_leaves_the_store_as_it_was(
    store: Store, step: str, what: str, number: int
) -> None:
    kept = put_one(store)
    assert store.get(kept)
    leases(store)
    fds = open_files()

    def refuse(name: str, path: str) -> None:
        if (name, kind_of(path)) == (step, what):
            raise OSError(number, os.strerror(number))

    system.observe(refuse)
    with pytest.raises(BackendError) as caught:
        put_one(store, b"other", "refs/tags/a")
    system.observe(None)
    assert caught.value.hint
    assert store.ref("refs/tags/a").oid == kept
    assert leases(store) <= (what == "lease")
    assert leftovers(store) == []
    assert open_files() <= fds  # sessions of other tests may end meanwhile
    assert fsck(store, full=True).ok
    other = put_one(store, b"other", "refs/tags/a")
    assert store.get(other) == b"other"
    assert fsck(store, full=True).ok


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_a_transaction_whose_write_was_cut_off_cannot_go_on(
    store: Store, error: BaseException
) -> None:
    # Half of a payload has reached the file, and cannot be taken back: whatever came after it would
    # stand elsewhere than the index says, and a commit would acknowledge garbage.
    txn = store.transaction()
    txn.put_blob(b"before")
    once = [error]
    real = os.write

    def half(fd: int, data: memoryview) -> int:
        if once and len(data) > 1000:
            real(fd, bytes(data)[:500])
            raise once.pop()
        return real(fd, data)

    def refused(fd: int, length: int) -> None:
        raise OSError(errno.EIO, "broken")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", half)
        patch.setattr(os, "ftruncate", refused)
        with pytest.raises((BackendError, KeyboardInterrupt)):
            txn.put_blob(os.urandom(2_000_000))
    for go_on in (lambda: txn.put_blob(b"after"), txn.commit):
        with pytest.raises(BackendError, match="cannot go on"):
            go_on()
    txn.abort()
    assert list(store.objects()) == []
    assert (leftovers(store), leases(store)) == ([], 0)


def test_a_conflict_leaves_no_pack_behind(store: Store) -> None:
    first = put_one(store)
    packs = sorted(store.layout.packs.iterdir())
    for expect in (None, MISSING):
        with pytest.raises(ConflictError) as caught, store.transaction() as txn:
            txn.set_ref("refs/tags/a", txn.put_blob(b"other"), expect=expect)
        assert caught.value.hint
    assert sorted(store.layout.packs.iterdir()) == packs
    assert store.ref("refs/tags/a").oid == first
    assert (leftovers(store), leases(store)) == ([], 0)


def test_a_commit_whose_answer_was_lost_can_be_found_again(store: Store) -> None:
    real = type(store.catalog)._note_sequence

    def lose(*_: object) -> None:
        raise BackendError("the answer was lost")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(store.catalog), "_note_sequence", lose)
        with store.transaction() as txn:
            oid = txn.put_blob(b"data")
            txn.set_ref("refs/tags/a", oid)
            assert txn.commit().op == 1
    assert type(store.catalog)._note_sequence is real
    assert store.ref("refs/tags/a").oid == oid


def test_a_transaction_belongs_to_the_process_that_began_it(store: Store) -> None:
    txn = store.transaction()
    oid = txn.put_blob(b"data")
    txn.set_ref("refs/tags/a", oid)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with pytest.raises(TransactionClosedError, match="fork"):
                txn.commit()
            txn.abort()
            put_one(store, b"child", "refs/tags/child")
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    txn.commit()
    assert [ref.name for ref in store.refs()] == ["refs/tags/a", "refs/tags/child"]
    assert fsck(store, full=True).problems == ()

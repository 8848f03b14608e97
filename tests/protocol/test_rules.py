"""Single rules of the protocol, each in the one order of steps that breaks when it is dropped.

Several processes are several open stores here; where the order matters inside a gc, the step at
which somebody else comes in between is chosen by the observer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from n4a_store import BackendError, ConflictError, CorruptionError, ObjectId, Store
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.repair import salvage_pack
from n4a_store.storage import system
from n4a_store.storage.catalog import Catalog
from n4a_store.storage.leases import Lease, LeaseRole
from n4a_store.storage.locks import FileLock
from n4a_store.storage.rows import PackState
from tests.repo.objects import tag_blobs

STALE = b"stale" * 100
OTHER = b"other" * 100


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.init(tmp_path / "store") as store:
        yield store


@pytest.fixture
def other(store: Store) -> Iterator[Store]:
    """Another process."""
    with Store.open(store.path) as other:
        yield other


def delete(store: Store, name: str) -> None:
    with store.transaction() as txn:
        txn.delete_ref(f"refs/tags/{name}")


def gc(store: Store) -> tuple[str, ...]:
    """What a gc of everything that only undo keeps has dropped."""
    store.sessions.drop_idle()
    return collect(store, expire_now=True).dropped


def states(store: Store) -> list[PackState]:
    with store.catalog.read() as reader:
        return [row.state for row in reader.packs()]


@contextmanager
def at_step(wanted: str, place: str, number: int, work: Callable[[], object]) -> Iterator[None]:
    """Do ``work`` before the ``number``-th step of that name on a path that ends so."""
    seen = 0

    def look(name: str, path: str) -> None:
        nonlocal seen
        if name == wanted and place in path:
            seen += 1
            if seen == number:
                system.observe(None)
                try:
                    work()
                finally:
                    system.observe(look)

    before = system.observe(look)
    try:
        yield
        assert seen >= number
    finally:
        system.observe(before)


def test_commits_wait_for_the_disk_and_truncate_their_journal(store: Store) -> None:
    connection = store.catalog._connect()
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("truncate",)


def _steps_of_beginning(store: Store, wanted: str, place: str) -> int:
    """How many such steps the beginning of a transaction takes."""
    seen: list[str] = []
    before = system.observe(lambda name, path: seen.append(f"{name} {path}"))
    store.transaction().abort()
    system.observe(before)
    return sum(line.startswith(wanted) and place in line for line in seen)


@pytest.mark.parametrize(
    ("wanted", "place"), [("create", "leases"), ("catalog-read", ""), ("write", "leases")]
)
def test_a_gc_while_a_writer_begins(store: Store, other: Store, wanted: str, place: str) -> None:
    """Before each step of the beginning, and again after it: the writer relies on nothing lost."""
    tag_blobs(store, "gone", {"a": STALE})
    assert store.get(store.resolve("gone:a")) == STALE  # its pack is open, so it would be found
    delete(store, "gone")
    store.sessions.drop_idle()
    number = _steps_of_beginning(store, wanted, place)
    with at_step(wanted, place, number, lambda: gc(other)):
        txn = store.transaction()
    oid = txn.put_blob(STALE)
    gc(other)
    txn.set_ref("refs/tags/again", oid)
    txn.commit()
    assert fsck(other, full=True).ok
    assert other.get(other.resolve("again")) == STALE


@pytest.mark.parametrize(("wanted", "place"), [("catalog-read", ""), ("write", "leases")])
def test_a_gc_while_a_rested_writer_goes_on(
    store: Store, other: Store, wanted: str, place: str
) -> None:
    """Before each step of a seat's second beginning, and again after it."""
    tag_blobs(store, "gone", {"a": STALE})
    assert store.get(store.resolve("gone:a")) == STALE
    seat = store.seat()
    store.transaction(seat=seat).abort()
    delete(store, "gone")
    store.sessions.drop_idle()
    for number in range(1, 3 if wanted == "write" else 2):  # claimed, then published
        with at_step(wanted, place, number, lambda: gc(other)):
            txn = store.transaction(seat=seat)
        oid = txn.put_blob(STALE)
        gc(other)
        txn.set_ref("refs/tags/again", oid)
        txn.commit()
        assert fsck(other, full=True).ok
        assert other.get(other.resolve("again")) == STALE
        delete(store, "again")
        store.sessions.drop_idle()
    seat.leave()


def test_a_resting_seat_keeps_nothing(store: Store, other: Store) -> None:
    seat = store.seat()
    with store.transaction(seat=seat) as txn:
        txn.set_ref("refs/tags/first", txn.put_blob(STALE))
    delete(store, "first")
    assert len(gc(other)) == 1
    # And the names of its packs go on, whatever became of a transaction.
    for number in range(3):
        txn = store.transaction(seat=seat)
        txn.set_ref("refs/tags/second", txn.put_blob(OTHER + bytes([number])))
        txn.abort() if number == 1 else txn.commit()
    seat.leave()
    with other.catalog.read() as reader:
        assert len({row.id for row in reader.packs()}) == 2
    store.sessions.drop_idle()
    other.sessions.drop_idle()
    assert not list(store.layout.leases.iterdir())
    assert not list(store.layout.transactions.iterdir())


def test_only_what_has_moved_altogether_stands_elsewhere(store: Store, other: Store) -> None:
    tag_blobs(store, "gone", {"a": STALE, "b": OTHER})
    delete(store, "gone")
    txn = store.transaction()
    blobs = {"a": txn.put_blob(STALE), "b": txn.put_blob(OTHER)}
    assert len(gc(other)) == 0
    assert states(store) == [PackState.CONDEMNED]
    tag_blobs(other, "half", {"a": STALE})
    txn.set_ref("refs/tags/whole", txn.put_tree(blobs))
    txn.commit()
    assert fsck(other).ok  # before a gc, which would mend it
    gc(other)
    assert store.get(store.resolve("whole:b")) == OTHER
    assert fsck(other, full=True).ok


def test_nothing_outside_the_snapshot_is_relied_upon(store: Store, other: Store) -> None:
    """The store still knows a pack that was condemned before its transaction began."""
    tag_blobs(store, "gone", {"a": STALE})
    assert store.get(store.resolve("gone:a")) == STALE
    store.sessions.drop_idle()
    pinned = other.transaction()
    delete(store, "gone")
    assert gc(store) == ()
    with store.transaction() as txn:
        txn.set_ref("refs/tags/again", txn.put_blob(STALE))
        pinned.abort()
        assert len(gc(other)) == 1
    assert fsck(other, full=True).ok
    assert other.get(other.resolve("again")) == STALE


def test_a_pack_that_was_dropped_after_all_is_a_loud_conflict(store: Store) -> None:
    tag_blobs(store, "gone", {"a": STALE})
    txn = store.transaction()
    txn.set_ref("refs/tags/again", txn.put_blob(STALE))
    with store.catalog.write() as writer:
        for row in writer.packs():
            writer.set_pack_state(row, PackState.DROPPING)
    with pytest.raises(ConflictError, match="dropped while this transaction relied on it"):
        txn.commit()


def test_a_commit_whose_answer_was_lost_is_found_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(*_: object) -> None:
        raise BackendError("the answer of the disk was lost")

    monkeypatch.setattr(Catalog, "_note_sequence", lose)
    txn = store.transaction()
    txn.set_ref("refs/tags/one", txn.put_blob(STALE))
    result = txn.commit()
    with store.catalog.read() as reader:
        op = reader.op_of_commit(txn.commit_id)
    assert op is not None
    assert result.op == op.op


def test_what_is_marked_after_it_was_copied_keeps_its_pack(store: Store, other: Store) -> None:
    with store.transaction() as txn:
        txn.set_ref("refs/tags/living", txn.put_blob(b"living" * 100))
        txn.put_blob(STALE)
    with at_step("rename", "packs", 1, lambda: tag_blobs(other, "again", {"a": STALE})):
        assert gc(store) == ()
    assert store.get(store.resolve("again:a")) == STALE
    assert fsck(store, full=True).ok


def test_the_oldest_lease_counts(store: Store, other: Store) -> None:
    tag_blobs(store, "gone", {"a": STALE})
    oid = store.resolve("gone:a")
    with Store.open(store.path) as late, other.session():
        delete(store, "gone")
        assert gc(store) == ()
        with late.session():
            assert gc(store) == ()
            assert other.get(oid) == STALE


def test_a_lease_taken_after_the_condemnation_keeps_nothing(store: Store, other: Store) -> None:
    tag_blobs(store, "gone", {"a": STALE})
    with other.session():
        delete(store, "gone")
        assert gc(store) == ()
        late = store.transaction()
    other.sessions.drop_idle()
    assert len(gc(other)) == 1
    late.abort()


def test_the_lease_of_a_dead_process_keeps_nothing(store: Store) -> None:
    tag_blobs(store, "gone", {"a": STALE})
    dead = Lease(store.layout.leases, LeaseRole.WRITER)
    dead.publish(0, bytes(8))
    os.close(dead._fd)
    dead._fd = -1
    delete(store, "gone")
    assert len(gc(store)) == 1
    assert not dead.path.exists()


def test_a_writer_that_begins_while_gc_condemns(store: Store, other: Store) -> None:
    """It has read the pack as live; gc must see its lease when it looks afterwards."""
    tag_blobs(store, "gone", {"a": STALE})
    delete(store, "gone")
    found: list[ObjectId] = []

    txns = []

    def begin() -> None:
        txns.append(other.transaction())
        found.append(txns[0].put_blob(STALE))

    # The commits of a gc: expiry, then condemnation.
    with at_step("catalog-commit", "", 2, begin):
        assert gc(store) == ()
    txns[0].set_ref("refs/tags/again", found[0])
    txns[0].commit()
    assert store.get(store.resolve("again")) == STALE


def test_what_came_back_after_the_look_at_the_leases_stays(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No writer can do it by the protocol; the second look costs nothing and believes nobody."""
    tag_blobs(store, "gone", {"a": STALE})
    delete(store, "gone")

    def bring_back() -> None:
        with other.catalog.write() as writer:
            for row in writer.packs():
                writer.set_pack_state(row, PackState.LIVE, gc_gen=0)

    # The write transactions of a gc: expiry, condemnation, dropping. Here and not at a step,
    # because within one process the lock is taken before it is announced.
    real, entered = FileLock.__enter__, []

    def enter(lock: FileLock) -> FileLock:
        if lock._path == store.layout.commit_lock:
            entered.append(lock)
            if len(entered) == 3:
                bring_back()
        return real(lock)

    monkeypatch.setattr(FileLock, "__enter__", enter)
    assert gc(store) == ()
    monkeypatch.undo()
    assert states(store) == [PackState.LIVE]


def test_something_reachable_in_a_condemned_pack_brings_it_back(store: Store) -> None:
    """A catalog that says so was not written by this protocol; gc mends it all the same."""
    tag_blobs(store, "kept", {"a": STALE})
    with store.catalog.write() as writer:
        generation = writer.next_generation()
        for row in writer.packs():
            writer.set_pack_state(row, PackState.CONDEMNED, gc_gen=generation)
    assert gc(store) == ()
    assert states(store) == [PackState.LIVE]
    assert store.get(store.resolve("kept:a")) == STALE


def test_what_a_worker_found_is_held_like_what_it_wrote(store: Store, other: Store) -> None:
    tag_blobs(store, "gone", {"a": STALE})
    delete(store, "gone")
    run = store.lock_run()
    with other.transaction(hold_for=run.lease_id) as txn:
        oid = txn.put_blob(STALE)
    gc(other)
    with store.transaction() as txn:
        assert txn.adopt_held(run.lease_id)
        txn.set_ref("refs/tags/again", oid)
    run.release()
    assert fsck(other, full=True).ok
    assert store.get(store.resolve("again")) == STALE


def test_gc_stops_where_something_reachable_is_missing(store: Store) -> None:
    """Salvage leaves a ref with a hole; nothing is garbage until somebody has decided about it."""
    tag_blobs(store, "hurt", {"a": STALE, "b": OTHER})
    tag_blobs(store, "gone", {"c": b"garbage" * 100})
    delete(store, "gone")
    info = store.info(store.resolve("hurt:a"))
    path = store.layout.pack(info.pack)
    data = bytearray(path.read_bytes())
    at = data.index(store.resolve("hurt:a").raw)
    data[at + 40] ^= 1
    path.write_bytes(data)
    with Store.open(store.path) as again:
        assert salvage_pack(again, info.pack).lost
    packs = sorted(store.layout.packs.iterdir())
    with pytest.raises(CorruptionError, match="nothing was deleted"):
        gc(store)
    assert sorted(store.layout.packs.iterdir()) == packs


def test_packs_of_another_history_are_left_alone(store: Store) -> None:
    foreign = store.layout.packs / f"{'0' * 16}-{'1' * 32}-0.n4p"
    orphan = store.layout.packs / f"{_epoch(store)}-{'1' * 32}-0.n4p"
    for path in (foreign, orphan):
        path.write_bytes(b"what a lost catalog may have known")
    gc(store)
    assert foreign.exists()
    assert not orphan.exists()


def _epoch(store: Store) -> str:
    with store.catalog.read() as reader:
        return reader.epoch().hex()


def test_a_reader_that_looks_again_forgets_nothing(store: Store, other: Store) -> None:
    tag_blobs(store, "gone", {"a": STALE})
    oid = store.resolve("gone:a")
    store.sessions.drop_idle()
    with store.session():
        store.kind(oid)
        delete(other, "gone")
        assert gc(other) == ()
        assert not store.has(ObjectId(bytes(32)))  # makes it look again
        assert store.get(oid) == STALE


def test_a_reader_finds_what_came_and_went_since_it_began(store: Store, other: Store) -> None:
    with store.session():
        assert store.refs() == []
        tag_blobs(other, "brief", {"a": STALE})
        oid = store.ref("refs/tags/brief").oid
        delete(other, "brief")
        assert gc(other) == ()
        assert list(store.get_tree(oid)) == ["a"]


def test_an_identical_pack_written_again_is_not_the_condemned_one(
    store: Store, other: Store
) -> None:
    """It would be dropped under its writer, if packs were named after what they hold."""
    with other.session():
        tag_blobs(store, "gone", {"a": STALE})
        delete(store, "gone")
        assert gc(store) == ()
        tag_blobs(store, "again", {"a": STALE})
    other.sessions.drop_idle()
    assert len(gc(other)) == 1
    assert fsck(store, full=True).ok
    assert store.get(store.resolve("again:a")) == STALE


def test_a_childs_copy_of_a_lease_is_no_hold_on_it(store: Store) -> None:
    """The child neither unlocks its parent's lease nor keeps it alive after the parent."""
    lease = Lease(store.layout.leases, LeaseRole.WRITER)
    lease.publish(0, bytes(8))
    read, write = os.pipe()
    begun, begin = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - in the child
        os.close(write)
        os.write(begin, b"!")  # what is done after a fork has been done
        os.read(read, 1)  # until the parent has looked
        os._exit(0)
    try:
        assert os.read(begun, 1) == b"!"
        tag_blobs(store, "gone", {"a": STALE})
        delete(store, "gone")
        assert gc(store) == ()  # the lease still lives
        os.close(lease._fd)  # the parent dies; its lease must not live on in the child
        lease._fd = -1
        assert len(gc(store)) == 1
    finally:
        for end in (write, read, begun, begin):
            os.close(end)
        os.waitpid(child, 0)


def test_a_child_leaves_its_parents_journal_alone(store: Store) -> None:
    """Closing the inherited connection would roll back, and empty the journal under the parent."""
    journal = store.layout.catalog.with_name(store.layout.catalog.name + "-journal")
    with store.catalog.write() as writer:
        writer.next_op("test", "")
        before = journal.stat().st_size
        assert before
        child = os.fork()
        if child == 0:  # pragma: no cover - in the child
            os._exit(0)
        os.waitpid(child, 0)
        assert journal.stat().st_size == before

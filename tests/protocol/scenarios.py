"""The scenarios that the explorer runs: small stores, and the processes that meet in them.

Everything is stored through the public door. ``stale`` objects are garbage that a writer may
still find; a *sparse* pack holds something living beside something dead.
"""

from __future__ import annotations

from collections.abc import Callable

from n4a_store.errors import ConflictError, LockedError, NotFoundError
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import Kind, ObjectId, hash_object
from n4a_store.objects.trees import encode_tree
from n4a_store.repo.gc import collect
from n4a_store.repo.history import reach
from n4a_store.repo.repack import RepackMode, repack
from n4a_store.repo.store import Store
from n4a_store.repo.transaction import Transaction
from n4a_store.repo.undo import newest_undoable, undo
from n4a_store.testing.scenario import Role, Scenario
from n4a_store.testing.stepping import Process, id_of

__all__ = ["SCENARIOS"]

STALE = b"stale"
LIVING = b"living"


def blob(data: bytes) -> ObjectId:
    return hash_object(Kind.BLOB, data)


def tree_of(*blobs: bytes) -> ObjectId:
    """The id of the tree that :func:`put` makes of these blobs."""
    entries = {data.decode(): TreeEntry(Kind.BLOB, blob(data)) for data in blobs}
    return encode_tree(entries, {}, lambda data: hash_object(Kind.TREE, data))


def put(store: Store, ref: str, *blobs: bytes) -> ObjectId:
    """One commit, hence one pack: a tree of blobs under a ref."""
    with store.transaction() as txn:
        tree = txn.put_tree({data.decode(): txn.put_blob(data) for data in blobs})
        txn.set_ref(ref, tree)
    return tree


def drop(store: Store, ref: str) -> None:
    with store.transaction() as txn:
        txn.delete_ref(ref)


def commit(process: Process, txn: Transaction, ref: str, oid: ObjectId | None) -> None:
    """Commit what sets ``ref`` to ``oid``, and tell before and afterwards."""
    process.say("will", ref, oid)
    result = txn.commit()
    process.say("did", ref, oid, result.op)


# --- what processes do -------------------------------------------------------------------------


def write(ref: str, *blobs: bytes) -> Callable[[Process], None]:
    """Put a tree of blobs; those that are there already are relied upon."""

    def body(process: Process) -> None:
        with process.store.transaction() as txn:
            tree = txn.put_tree({data.decode(): txn.put_blob(data) for data in blobs})
            txn.set_ref(ref, tree)
            commit(process, txn, ref, tree)

    return body


def write_twice(ref: str, *blobs: bytes) -> Callable[[Process], None]:
    """Two transactions on one seat: the second relies on what is there already."""

    def body(process: Process) -> None:
        seat = process.store.seat()
        try:
            for number, data in enumerate(blobs):
                with process.store.transaction(seat=seat) as txn:
                    tree = txn.put_tree({data.decode(): txn.put_blob(data)})
                    txn.set_ref(f"{ref}{number}", tree)
                    commit(process, txn, f"{ref}{number}", tree)
        finally:
            seat.leave()

    return body


def name_stale_tree(ref: str, *blobs: bytes) -> Callable[[Process], None]:
    """Put a tree by bytes that name a tree which is only known to be present."""

    def body(process: Process) -> None:
        inner = tree_of(*blobs)
        with process.store.transaction() as txn:
            tree = txn.put_tree({"inner": TreeEntry(Kind.TREE, inner)})
            txn.set_ref(ref, tree)
            commit(process, txn, ref, tree)

    return body


def adopt(source: str, ref: str, *path: str) -> Callable[[Process], None]:
    """Name what another ref reaches, by walking from it."""

    def body(process: Process) -> None:
        with process.store.transaction() as txn:
            entry = txn.adopt_path(source, *path)
            tree = txn.put_tree({"adopted": entry})
            txn.set_ref(ref, tree)
            commit(process, txn, ref, tree)

    return body


def delete(ref: str) -> Callable[[Process], None]:
    def body(process: Process) -> None:
        with process.store.transaction() as txn:
            txn.delete_ref(ref)
            commit(process, txn, ref, None)

    return body


def write_and_delete(ref: str, *blobs: bytes) -> Callable[[Process], None]:
    """A ref that stands for a moment."""

    def body(process: Process) -> None:
        write(ref, *blobs)(process)
        delete(ref)(process)

    return body


def gc(process: Process) -> None:
    collect(process.store, expire_now=True)


def merge(process: Process) -> None:
    repack(process.store, RepackMode.ALL)


def read(process: Process) -> None:
    """In one session: whatever a ref reaches can be read."""
    store = process.store
    with store.session():
        for ref in store.refs():
            for found in reach(store, [ref.entry]):
                store.get(found.oid)


def read_late(process: Process) -> None:
    """In one session: look at the refs, and again later; both times all can be read."""
    store = process.store
    with store.session():
        refs = store.refs()
        store.refs()
        for ref in refs:
            for found in reach(store, [ref.entry]):
                store.get(found.oid)


def take_back(ref: str) -> Callable[[Process], None]:
    """Undo the newest change of a ref."""

    def body(process: Process) -> None:
        op = newest_undoable(process.store, ref)
        with process.store.catalog.read() as reader:
            row = next(iter(reader.reflog_of(op)), None)
        if row is None:
            raise NotFoundError("expired")
        old = None if row.old is None else ObjectId(row.old)
        process.say("will", ref, old)
        undone = undo(process.store, op)
        process.say("did", ref, old, undone.by)

    return body


def writer(name: str, body: Callable[[Process], None], *, mortal: bool = True) -> Role:
    return Role(name, body, expected=(ConflictError, NotFoundError), mortal=mortal)


def collector(
    name: str = "gc", body: Callable[[Process], None] = gc, *, mortal: bool = True
) -> Role:
    return Role(name, body, expected=(LockedError,), collects=True, mortal=mortal)


def reader(name: str = "reader", body: Callable[[Process], None] = read) -> Role:
    return Role(name, body, mortal=False)


# --- the scenarios -----------------------------------------------------------------------------


def _stale_pack(store: Store) -> None:
    """One pack is living, another is garbage that nobody has collected yet."""
    put(store, "refs/tags/living", LIVING)
    put(store, "refs/tags/stale", STALE)
    drop(store, "refs/tags/stale")


DEDUPE = Scenario(
    "dedupe against a pack that is being condemned",
    _stale_pack,
    (
        writer("writer1", write("refs/tags/one", STALE, b"new")),
        writer("writer2", write("refs/tags/two", STALE)),
        collector(),
        reader(),
    ),
)


def _two_refs(store: Store) -> None:
    put(store, "refs/tags/living", LIVING)
    put(store, "refs/tags/going", STALE)


ADOPT = Scenario(
    "adopt from a ref that is being deleted",
    _two_refs,
    (
        writer("writer1", adopt("refs/tags/going", "refs/tags/kept", "stale")),
        writer("writer2", delete("refs/tags/going")),
        collector(),
        reader(),
    ),
)


ADOPT_FROM_MOVING = Scenario(
    "adopt from a ref that is being moved",
    _two_refs,
    (
        writer("writer1", adopt("refs/tags/going", "refs/tags/kept", "stale")),
        writer("writer2", write("refs/tags/going", b"elsewhere")),
        collector(),
        reader(),
    ),
)


def _dead_tree_in_living_pack(store: Store) -> None:
    """The tree stands beside something living; its child stands in a pack that is all garbage."""
    with store.transaction() as txn:
        txn.set_ref("refs/tags/child", txn.put_blob(STALE))
    with store.transaction() as txn:
        txn.put_tree({STALE.decode(): txn.put_blob(STALE)})
        txn.set_ref("refs/tags/living", txn.put_tree({"living": txn.put_blob(LIVING)}))
    drop(store, "refs/tags/child")


INCOMPLETE = Scenario(
    "present is not complete",
    _dead_tree_in_living_pack,
    (
        writer("writer1", name_stale_tree("refs/tags/one", STALE)),
        writer("writer2", write("refs/tags/two", STALE)),
        collector(),
        reader(),
    ),
)


def _moved_ref(store: Store) -> None:
    put(store, "refs/tags/moved", STALE)
    put(store, "refs/tags/moved", LIVING)


UNDO = Scenario(
    "undo against expiry",
    _moved_ref,
    (
        writer("writer1", take_back("refs/tags/moved")),
        writer("writer2", write("refs/tags/two", STALE)),
        collector(),
        reader(),
    ),
)


def _take_run_lock(process: Process) -> None:
    process.memory["lock"] = process.store.lock_run()


def _work(process: Process) -> None:
    """A worker of the process ``run``: what it puts is held, and relies on what is stale."""
    with process.store.transaction(hold_for=id_of("run", 1).hex) as txn:
        blobs = (STALE, b"result")
        txn.put_tree({data.decode(): txn.put_blob(data) for data in blobs})


def _adopt_held(process: Process) -> None:
    """The run adopts what its worker has committed by now."""
    lock = process.memory.pop("lock")
    tree = tree_of(STALE, b"result")
    with process.store.transaction() as txn:
        if txn.adopt_held(lock.lease_id):
            txn.set_ref("refs/runs/run", tree)
            commit(process, txn, "refs/runs/run", tree)
    lock.release()


HELD = Scenario(
    "held packs, adopted by their run",
    _stale_pack,
    (
        Role("run", _adopt_held, before=_take_run_lock),
        writer("worker", _work),
        collector(),
        reader(),
    ),
)

HELD_TWICE = Scenario(
    "two workers hold the same object",
    _stale_pack,
    (
        Role("run", _adopt_held, before=_take_run_lock),
        writer("worker1", _work),
        writer("worker2", _work),
        collector(),
    ),
)


def _two_small_packs(store: Store) -> None:
    put(store, "refs/tags/living", LIVING)
    put(store, "refs/tags/other", STALE, b"other")


REPACK = Scenario(
    "repack beside a writer that relies on what it merges",
    _two_small_packs,
    (
        writer("writer1", write("refs/tags/one", STALE)),
        writer("writer2", delete("refs/tags/other")),
        collector("repack", merge),
        reader(),
    ),
)

REPACK_THEN_GC = Scenario(
    "gc after repack, one of them killed",
    _two_small_packs,
    (
        writer("writer1", write("refs/tags/one", STALE)),
        collector("repack", merge),
        collector(),
    ),
)

TWO_GCS = Scenario(
    "a gc that dies, and the next",
    _stale_pack,
    (
        collector("gc1"),
        collector("gc2"),
        writer("writer1", write("refs/tags/one", STALE)),
        reader(),
    ),
)


def _sparse_pack(store: Store) -> None:
    with store.transaction() as txn:
        txn.set_ref("refs/tags/living", txn.put_tree({"living": txn.put_blob(LIVING)}))
        txn.set_ref("refs/tags/going", txn.put_tree({"stale": txn.put_blob(STALE)}))
    drop(store, "refs/tags/going")


SPARSE = Scenario(
    "a sparse pack is rewritten beside writers and a reader",
    _sparse_pack,
    (
        writer("writer1", write("refs/tags/one", STALE)),
        writer("writer2", adopt("refs/tags/living", "refs/tags/two", "living")),
        collector(),
        reader(),
    ),
)

READER = Scenario(
    "a reader of a ref that comes and goes",
    _stale_pack,
    (
        writer("writer1", write_and_delete("refs/tags/one", b"new")),
        collector(),
        reader("reader1", read_late),
    ),
)

SEAT = Scenario(
    "a writer that keeps its seat",
    _stale_pack,
    (
        writer("writer1", write_twice("refs/tags/seat", b"new", STALE)),
        writer("writer2", write("refs/tags/two", STALE)),
        collector(),
    ),
)


def append(ref: str, *blobs: bytes) -> Callable[[Process], None]:
    """Add to the tree that a ref holds, whoever adds to it in the same moment."""

    def body(process: Process) -> None:
        before = tree = blob(b"")
        with process.store.transaction() as txn:
            # What is put once stands in a pack of its own, whatever is planned again.
            added = {data.decode(): txn.put_blob(data) for data in blobs}

            def plan() -> None:
                nonlocal before, tree
                before = txn.adopt_path(ref).oid
                tree = txn.put_tree(added, onto=before)
                txn.set_ref(ref, tree, expect=before)
                process.say("will", ref, tree)

            plan()
            op = txn.commit(plan).op
            process.say("did", ref, tree, op)
        assert op is not None
        with process.store.catalog.read() as rows:
            for row in rows.reflog_of(op):  # unless it has expired
                assert row.old == before.raw, "an update is lost"

    return body


APPEND = Scenario(
    "two writers add to one ref",
    _stale_pack,
    (
        writer("writer1", append("refs/tags/living", STALE)),
        writer("writer2", append("refs/tags/living", b"new")),
        collector(),
        reader(),
    ),
)

SCENARIOS = (
    *(DEDUPE, ADOPT, ADOPT_FROM_MOVING, INCOMPLETE, UNDO),
    *(HELD, HELD_TWICE, REPACK, REPACK_THEN_GC, TWO_GCS),
    *(SPARSE, READER, SEAT, APPEND),
)

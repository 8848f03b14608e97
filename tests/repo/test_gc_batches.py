"""A gc of several batches beside a lease: room for one of them, and nothing comes back unasked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from n4a_store import Store
from n4a_store.objects.oid import Kind, hash_object
from n4a_store.repo import gc, rewriting
from n4a_store.repo.fsck import fsck
from n4a_store.storage.rows import PackRow, PackState, RefRow

PACKS = 4


def junk(number: int) -> bytes:
    return b"junk %d" % number * 20


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Packs of which each holds some garbage, and each is a batch of its own."""
    monkeypatch.setattr(rewriting, "_BATCH_BYTES", 3_000)
    store = Store.init(tmp_path / "store")
    for number in range(PACKS):
        with store.transaction() as txn:
            txn.set_ref(f"refs/tags/kept{number}", txn.put_blob(os.urandom(2_000)))
            txn.set_ref(f"refs/tags/junk{number}", txn.put_blob(junk(number)))
    with store.transaction() as txn:
        for number in range(PACKS):
            txn.delete_ref(f"refs/tags/junk{number}")
    return store


@pytest.fixture
def reader(store: Store) -> Iterator[Store]:
    """Another process that reads; its lease is as old as the packs."""
    with Store.open(store.path) as other, other.session():
        yield other


@pytest.fixture
def without_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the lease came between the look for it and the next batch."""
    monkeypatch.setattr(gc._Collector, "_is_held_up", lambda _: False)


def packs(store: Store, *states: PackState) -> list[PackRow]:
    with store.catalog.read() as catalog:
        return [row for row in catalog.packs() if row.state in states]


def test_each_batch_is_rewritten_where_no_lease_is_in_the_way(store: Store) -> None:
    report = gc.collect(store, expire_now=True)
    assert len(report.rewritten) == len(report.dropped) == PACKS
    assert fsck(store, full=True).problems == ()


def test_beside_a_lease_it_takes_room_for_one_batch(store: Store, reader: Store) -> None:
    report = gc.collect(store, expire_now=True)
    assert len(report.rewritten) == len(report.pending) == 1
    assert gc.collect(store, expire_now=True).rewritten == ()
    assert fsck(reader, full=True).problems == ()


@pytest.mark.usefixtures("without_a_look", "reader")
def test_what_is_copied_and_condemned_stays_condemned(store: Store) -> None:
    """It was made live again by the next batch: then both stayed, lease or no lease."""
    report = gc.collect(store, expire_now=True)
    assert len(report.rewritten) == PACKS
    assert {row.id for row in packs(store, PackState.CONDEMNED)} == set(report.rewritten)
    assert sum(row.objects for row in packs(store, PackState.LIVE)) == PACKS
    assert fsck(store, full=True).problems == ()


@pytest.mark.usefixtures("without_a_look", "reader")
def test_unless_something_that_was_not_copied_is_reached_meanwhile(store: Store) -> None:
    """A catalog that says so was not written by this protocol; gc mends it all the same."""
    wanted: list[bytes] = []

    def name_what_was_garbage(*_: int) -> None:
        condemned = packs(store, PackState.CONDEMNED)
        if condemned and not wanted:
            held = set(store.odb.reader(condemned[0].id).index.oids())
            ids = [hash_object(Kind.BLOB, junk(number)).raw for number in range(PACKS)]
            wanted.extend(oid for oid in ids if oid in held)
            with store.catalog.write() as writer:
                op = writer.next_op("test", "names it").op
                writer.put(RefRow("refs/tags/wanted", Kind.BLOB, wanted[0], op))

    gc.collect(store, expire_now=True, progress=name_what_was_garbage)
    with Store.open(store.path) as fresh:
        assert fresh.get(fresh.resolve("wanted")).startswith(b"junk")
        assert fsck(fresh, full=True).problems == ()

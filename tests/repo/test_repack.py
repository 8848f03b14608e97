"""Repack merges packs geometrically, loses nothing, and is safe beside writers and readers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from n4a_store import CorruptionError, Store
from n4a_store.repo import mark
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.geometry import choose_geometric
from n4a_store.repo.maintenance import PACKS_BEFORE_REPACK, maintain
from n4a_store.repo.repack import RepackMode, repack
from n4a_store.storage.rows import PackRow, PackState
from tests.repo.objects import tag, tag_blobs


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.init(tmp_path / "store")


def rows(*sizes: int) -> list[PackRow]:
    return [
        PackRow(f"p{number}", PackState.LIVE, 0, "", 1, size, size)
        for number, size in enumerate(sizes)
    ]


@pytest.mark.parametrize(
    ("sizes", "merged"),
    [
        ((), 0),
        ((10,), 0),
        ((10, 10), 2),
        ((10, 20), 0),
        ((10, 19), 2),
        ((1, 1, 100), 2),
        ((1, 2, 6, 18), 0),
        ((5, 10, 29), 3),
    ],
)
def test_what_is_merged(sizes: tuple[int, ...], merged: int) -> None:
    chosen = choose_geometric(rows(*sizes))
    assert len(chosen) == merged
    rest = sorted(set(sizes) - {row.stored_bytes for row in chosen})
    assert all(row.stored_bytes <= min(rest, default=10**9) for row in chosen)


def test_everything_is_still_there(store: Store) -> None:
    data = {f"t{number}": tag(store, f"t{number}") for number in range(12)}
    before = {ref.name: ref.oid for ref in store.refs()}
    report = repack(store)
    assert (report.packs_before, report.packs_after) == (12, 1)
    assert set(report.dropped) == set(report.merged)
    assert {ref.name: ref.oid for ref in store.refs()} == before
    assert {name: store.get(store.resolve(f"{name}:data")) for name in data} == data
    assert len(list(store.layout.packs.iterdir())) == 1
    assert list(store.layout.transactions.iterdir()) == []
    assert fsck(store, full=True).problems == ()
    assert repack(store).merged == ()


def test_a_duplicate_in_two_packs_is_kept_once(store: Store) -> None:
    """Two writers that did not see each other store the same object twice; a merge keeps one."""
    first, second = store.transaction(), store.transaction()
    for number, txn in enumerate((first, second)):
        oid = txn.put_blob(b"twin" * 500)
        txn.set_ref(f"refs/tags/t{number}", txn.put_tree({str(number): oid}))
    first.commit()
    second.commit()
    assert len(store.odb.find_all(oid.raw)) == 2
    repack(store)
    assert len(store.odb.find_all(oid.raw)) == 1
    assert store.get(oid) == b"twin" * 500


def test_a_writer_that_relies_on_a_merged_pack_follows_its_objects(store: Store) -> None:
    tag_blobs(store, "a", {"data": b"shared" * 300})
    tag_blobs(store, "b", {"data": b"SHARED" * 300})
    txn = store.transaction()
    shared = txn.put_blob(b"shared" * 300)
    report = repack(store)
    assert report.merged
    assert not report.dropped  # the writer's lease is older
    txn.set_ref("refs/tags/c", txn.put_tree({"again": shared}))
    txn.commit()
    with store.catalog.read() as reader:
        states = [reader.pack(pack_id).state for pack_id in report.merged]  # type: ignore[union-attr]
    # Everything it relied on stands in the new pack: nothing is brought back.
    assert states == [PackState.CONDEMNED] * 2
    repack(store)
    assert store.get(store.resolve("c:again")) == b"shared" * 300
    assert fsck(store, full=True).ok


def test_a_compaction_has_no_more_packs_open_than_it_may(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("n4a_store.repo.repack.COMPACTED_AT_ONCE", 3)
    data = {f"t{number}": tag(store, f"t{number}", size=200) for number in range(7)}
    assert repack(store, RepackMode.COMPACT).packs_after == 3
    assert {name: store.get(store.resolve(f"{name}:data")) for name in data} == data
    assert fsck(store, full=True).problems == ()


def test_a_reader_goes_on_beside_it(store: Store) -> None:
    data = [tag(store, f"t{number}") for number in range(5)]
    reader = Store.open(store.path)
    with reader.session():
        oids = [reader.resolve(f"t{number}:data") for number in range(5)]
        assert repack(store).dropped == ()
        assert [reader.get(oid) for oid in oids] == data
    fresh = Store.open(store.path)
    assert [fresh.get(oid) for oid in oids] == data


@pytest.mark.parametrize("large", [10**6, 30])
def test_gc_keeps_what_it_merged_while_a_reader_holds_the_originals(
    store: Store, monkeypatch: pytest.MonkeyPatch, large: int
) -> None:
    monkeypatch.setattr(mark, "_LARGE_PACK", large)
    for number in range(6):
        with store.transaction() as txn:
            blobs = {str(n): txn.put_blob(b"%d-%d" % (number, n)) for n in range(8)}
            txn.set_ref(f"refs/tags/t{number}", txn.put_tree(blobs))
    with Store.open(store.path) as other, other.session():
        report = repack(store)
        collect(store)
        with store.catalog.read() as reader:
            live = [row.objects for row in reader.packs((PackState.LIVE,))]
    assert (report.packs_after, live) == (1, [54]), "a living copy is marked before another"
    collect(store)
    assert fsck(store, full=True).ok


def test_a_damaged_object_stops_it_and_nothing_is_lost(store: Store) -> None:
    tag(store, "a")
    tag(store, "b")
    oid = store.resolve("a:data")
    path = store.layout.pack(store.info(oid).pack)
    raw = bytearray(path.read_bytes())
    raw[raw.index(store.get(oid)) + 7] ^= 1
    path.write_bytes(raw)
    again = Store.open(store.path)
    with pytest.raises(CorruptionError, match=oid.short(12)):
        repack(again)
    assert len(list(store.layout.packs.iterdir())) == 2
    assert [problem.subject for problem in fsck(again, full=True).problems] == [oid.hex]


def test_packs_that_pile_up_are_merged_by_themselves(store: Store) -> None:
    for number in range(PACKS_BEFORE_REPACK):
        tag(store, f"t{number}", size=200)
    assert maintain(store) is None
    tag(store, "one-more", size=200)
    report = maintain(store)
    assert report is not None
    assert report.packs_after == 1
    assert maintain(store) is None
    assert fsck(store, full=True).ok


def test_maintenance_never_fails_a_run(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(PACKS_BEFORE_REPACK + 1):
        tag(store, f"t{number}", size=200)
    path = next(store.layout.packs.iterdir())
    path.write_bytes(os.urandom(300))
    assert maintain(Store.open(store.path)) is None
    assert "not merged" in caplog.text

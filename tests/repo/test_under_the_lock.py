"""Repack, salvage and adoption of packs: alone, by rules that are known, and on from a death."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from n4a_store import CorruptionError, LockedError, Store, UnsupportedFormatError
from n4a_store.repo.gc import collect
from n4a_store.repo.repack import RepackMode, repack
from n4a_store.repo.repair import adopt_unlisted_packs, salvage_pack
from n4a_store.storage import system
from n4a_store.storage.locks import FileLock
from n4a_store.storage.rows import PackState
from tests.repo.objects import tag


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.init(tmp_path / "store")


@pytest.mark.parametrize(
    "work",
    [collect, repack, adopt_unlisted_packs, lambda store: salvage_pack(store, "any")],
    ids=["gc", "repack", "adopt", "salvage"],
)
def test_only_one_of_them_works_at_a_time(store: Store, work: Callable[[Store], object]) -> None:
    with FileLock(store.layout.gc_lock), pytest.raises(LockedError):
        work(store)


@pytest.mark.parametrize("work", [collect, repack])
def test_unknown_rules_of_collecting_are_refused(
    store: Store, work: Callable[[Store], object]
) -> None:
    store.format = replace(store.format, required_gc=("tricolour-1",))
    with pytest.raises(UnsupportedFormatError, match="tricolour-1"):
        work(store)


@pytest.mark.parametrize("work", [Store.transaction, Store.seat, Store.lock_run])
def test_unknown_rules_of_writing_are_refused(
    store: Store, work: Callable[[Store], object]
) -> None:
    store.format = replace(store.format, required_write=("leases-9",))
    with pytest.raises(UnsupportedFormatError, match="leases-9"):
        work(store)


def test_repack_finishes_what_a_dead_gc_had_begun_to_drop(store: Store) -> None:
    tag(store, "kept")
    with store.transaction() as txn:
        junk = txn.put_blob(b"junk")
    pack = store.info(junk).pack
    with store.catalog.write() as writer:
        row = writer.pack(pack)
        assert row is not None
        writer.set_pack_state(row, PackState.DROPPING)
    repack(store)
    with store.catalog.read() as reader:
        assert reader.pack(pack) is None
    assert not store.layout.pack(pack).exists()


def test_a_pack_of_other_objects_than_the_catalog_says_is_not_merged(store: Store) -> None:
    for name in ("a", "b"):
        tag(store, name)
    with store.catalog.write() as writer:
        row = writer.packs()[0]
        writer.put(replace(row, objects=row.objects + 1), replaced=row)
    with Store.open(store.path) as fresh:
        with pytest.raises(CorruptionError, match="is not the one that the catalog lists"):
            repack(fresh, RepackMode.ALL)
        with fresh.catalog.read() as reader:
            assert {row.state for row in reader.packs()} == {PackState.LIVE}


def test_a_damaged_pack_is_safe_in_quarantine_before_it_goes(store: Store) -> None:
    tag(store, "a")
    pack = store.info(store.resolve("a:data")).pack
    names: list[tuple[str, str]] = []
    system.observe(lambda step, path: names.append((step, "/".join(Path(path).parts[-2:]))))
    try:
        salvage_pack(store, pack)
    finally:
        system.observe(None)
    link = names.index(("link", f"quarantine/{pack}.n4p"))
    synced = names.index(("fsync", "store/quarantine"))
    assert link < synced < names.index(("unlink", f"packs/{pack}.n4p"))


def test_numbers_of_a_lost_catalog_are_not_used_twice(store: Store, tmp_path: Path) -> None:
    tag(store, "a")
    store.close()
    shutil.copy(store.layout.catalog, tmp_path / "old")
    with Store.open(store.path) as later:
        for name in ("b", "c", "d"):
            tag(later, name)
        lost = later.reflog()[0].op
    shutil.copy(tmp_path / "old", store.layout.catalog)
    with Store.open(store.path) as again:
        with again.catalog.read() as reader:
            generation = reader.generation()
        assert len(adopt_unlisted_packs(again)) == 3
        with again.catalog.read() as reader:
            assert reader.sequence() > lost
            assert reader.generation() > generation

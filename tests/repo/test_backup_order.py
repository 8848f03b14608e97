"""A backup beside gc, on a disk that may lose power, and of a catalog that is damaged."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from n4a_store import CorruptionError, Store
from n4a_store.repo.backup import backup
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.storage import system
from tests.repo.objects import tag


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.init(tmp_path / "store")
    for name in ("a", "b"):
        tag(store, name)
    return store


def test_it_is_on_the_disk_before_it_has_its_name(store: Store, tmp_path: Path) -> None:
    seen: list[tuple[str, str]] = []
    system.observe(lambda step, path: seen.append((step, Path(path).name)))
    try:
        backup(store, tmp_path / "copy")
    finally:
        system.observe(None)
    published = seen.index(("rename", "copy"))
    before, after = seen[:published], seen[published + 1 :]
    packs = [path.name for path in store.layout.packs.iterdir()]
    assert len(packs) == 2
    for name in (*packs, "catalog.db", "leases", "txn", "packs"):
        assert ("fsync", name) in before
    assert before[-1][0] == "fsync"
    assert before[-1][1].startswith(".copy.")
    assert ("fsync", tmp_path.name) in after


def test_what_gc_would_drop_meanwhile_is_still_copied(store: Store, tmp_path: Path) -> None:
    wanted = store.resolve("b:data")

    def forget_all(step: str, path: str) -> None:
        if step == "create" and path.endswith(".n4p"):
            system.observe(None)
            with Store.open(store.path) as other:
                with other.transaction() as txn:
                    txn.delete_ref("refs/tags/a")
                    txn.delete_ref("refs/tags/b")
                collect(other, expire_now=True)

    store.sessions.drop_idle()
    system.observe(forget_all)
    try:
        backup(store, tmp_path / "copy")
    finally:
        system.observe(None)
    assert store.refs() == []
    with Store.open(tmp_path / "copy") as copy:
        assert copy.resolve("b:data") == wanted
        assert fsck(copy, full=True).problems == ()


def test_a_damaged_ref_is_not_backed_up(store: Store, tmp_path: Path) -> None:
    store.close()
    connection = sqlite3.connect(store.layout.catalog)
    with connection:
        connection.execute("DELETE FROM refs WHERE name = 'refs/tags/b'")
    connection.close()
    with Store.open(store.path) as damaged, pytest.raises(CorruptionError, match="refs"):
        backup(damaged, tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]

"""What must be on the disk before what: checked at every commit of the catalog, whoever makes it.

The observer sees the storage steps and keeps what a power cut would take: files written since
their last fsync, and folders whose names changed since theirs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from n4a_store import Store
from n4a_store.repo.gc import collect
from n4a_store.repo.repack import RepackMode, repack
from n4a_store.repo.repair import salvage_pack
from n4a_store.repo.undo import undo
from n4a_store.storage import system
from n4a_store.storage.rows import PackState
from tests.repo.objects import tag


class Disk:
    """What a power cut would take now, and which commits would then be untrue."""

    def __init__(self, store: Store) -> None:
        self._packs = store.layout.packs
        self._root = store.path
        self.unsynced: set[str] = set()
        self.commits = 0
        self.unlinks = 0

    def __call__(self, name: str, path: str) -> None:
        """One step."""
        where = Path(path)
        pack = where.suffix == ".n4p" and "quarantine" not in where.parts
        if name == "write" and pack:
            self.unsynced.add(path)
        elif name == "fsync":
            self.unsynced.discard(path)
        elif name == "rename" and pack:
            # The content comes along under its new name; the name itself is in the folder.
            source = self._root / "txn" / where.stem.split("-")[1] / where.name
            assert str(source) not in self.unsynced, f"{where.name} is renamed before it is synced"
            self.unsynced.add(str(self._packs))
        elif name in ("mkdir", "link") and "quarantine" in where.parts:
            self.unsynced.add(str(where.parent))
        elif name == "unlink" and where.parent == self._packs:
            self.unlinks += 1
            self._check_dropping(where)
            self.unsynced.add(str(self._packs))
        elif name == "catalog-commit":
            self.commits += 1
            assert not self.unsynced, f"a commit relies on what is not on the disk: {self.unsynced}"

    def _check_dropping(self, path: Path) -> None:
        with Store.open(self._root) as other:
            before = system.observe(None)
            with other.catalog.read() as reader:
                row = reader.pack(path.stem)
            system.observe(before)
        assert row is None or row.state is PackState.DROPPING, f"{path.name} goes before its row"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.init(tmp_path / "store") as store:
        yield store


def _collect(store: Store) -> None:
    assert collect(store, expire_now=True).dropped


def _repack(store: Store) -> None:
    assert repack(store, RepackMode.ALL).dropped


def _sparse(store: Store) -> None:
    with store.transaction() as txn:
        txn.put_blob(os.urandom(3_000))
        txn.set_ref("refs/tags/beside", txn.put_blob(b"living" * 100))
    assert collect(store, expire_now=True).rewritten


def _salvage(store: Store) -> None:
    pack = store.info(store.resolve("kept:data")).pack
    assert salvage_pack(store, pack).objects == 2


@pytest.mark.parametrize(
    "work",
    [lambda store: tag(store, "new"), _collect, _sparse, _repack, _salvage, undo],
    ids=["commit", "gc", "gc of a sparse pack", "repack", "salvage", "undo"],
)
def test_a_commit_relies_on_nothing_that_a_power_cut_takes(
    store: Store, work: Callable[[Store], object]
) -> None:
    tag(store, "kept")
    tag(store, "gone")
    with store.transaction() as txn:
        txn.delete_ref("refs/tags/gone")
    store.sessions.drop_idle()
    disk = Disk(store)
    before = system.observe(disk)
    try:
        work(store)
    finally:
        system.observe(before)
    assert disk.commits

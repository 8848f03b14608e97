"""Nothing outside of a store is deleted or written to, whatever leads there."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from n4a_store import BackendError, Store
from n4a_store.repo.gc import collect
from n4a_store.repo.sweep import Unlisted, drop_condemned, list_unlisted, remove_unlisted
from n4a_store.storage.layout import StoreLayout
from tests.repo.objects import tag

ID = "0" * 32
PRECIOUS = {"thesis.tex", f"{ID}/data", ID[:-1] + "1"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.init(tmp_path / "store")
    tag(store, "kept")
    yield store
    store.close()


@pytest.fixture
def precious(tmp_path: Path) -> Iterator[Path]:
    """A folder outside of the store, which must stay as it is."""
    folder = tmp_path / "precious"
    (folder / ID).mkdir(parents=True)
    for name in PRECIOUS:
        (folder / name).write_text("years of work")
    yield folder
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == PRECIOUS


def swap_for_link(folder: Path, target: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to(target)


def test_a_link_in_the_place_of_a_transaction_goes_and_what_it_leads_to_stays(
    store: Store, precious: Path
) -> None:
    link = store.layout.transactions / ID
    link.symlink_to(precious)
    assert collect(store).tidied == (ID,)
    assert not link.is_symlink()


def test_a_link_deeper_in_a_transaction_goes_and_what_it_leads_to_stays(
    store: Store, precious: Path
) -> None:
    folder = store.layout.transactions / ID
    folder.mkdir()
    (folder / "link").symlink_to(precious)
    assert collect(store).tidied == (ID,)
    assert not folder.exists()


@pytest.mark.parametrize("name", ["thesis", ".DS_Store", "A" * 32])
def test_what_is_no_transaction_is_left_alone(store: Store, name: str) -> None:
    (store.layout.transactions / name).mkdir()
    assert collect(store).tidied == ()
    assert (store.layout.transactions / name).exists()


@pytest.mark.parametrize("name", ["packs", "txn", "leases", "quarantine"])
def test_a_store_with_a_linked_folder_is_not_opened(
    store: Store, precious: Path, name: str
) -> None:
    (store.path / name).mkdir(exist_ok=True)
    swap_for_link(store.path / name, precious)
    with pytest.raises(BackendError, match=f"{name} is a link") as caught:
        Store.open(store.path)
    assert "as a whole may be a link" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["packs", "txn", "leases"])
def test_gc_of_an_open_store_notices_that_a_folder_has_become_a_link(
    store: Store, precious: Path, name: str
) -> None:
    swap_for_link(store.path / name, precious)
    with pytest.raises(BackendError, match="is a link"):
        collect(store)


@pytest.mark.parametrize("name", ["packs", "txn", "leases"])
def test_a_folder_that_becomes_a_link_after_it_was_listed_is_noticed(
    store: Store, tmp_path: Path, name: str
) -> None:
    """A copy of the store has everything under the same names."""
    (pack,) = store.layout.packs.iterdir()
    unlisted = f"{pack.name[:16]}-{ID}-0.n4p"
    for top in (store.path, tmp_path / "copy"):
        for folder in StoreLayout(top).folders():
            folder.mkdir(parents=True, exist_ok=True)
        (top / "packs" / unlisted).write_bytes(b"mine")
        (top / "txn" / ID).mkdir()
        (top / "txn" / ID / unlisted).write_bytes(b"mine")
        (top / "leases" / ID).write_bytes(b"")
    found = list_unlisted(store)
    assert found == Unlisted((unlisted,), (ID,), (ID,))
    before = sorted((tmp_path / "copy").rglob("*"))
    swap_for_link(store.path / name, tmp_path / "copy" / name)
    with pytest.raises(BackendError, match="is a link"):
        remove_unlisted(store, found)
    assert sorted((tmp_path / "copy").rglob("*")) == before


def test_dropping_notices_that_the_packs_have_become_a_link(store: Store, tmp_path: Path) -> None:
    """A backup of the store has packs of the same names."""
    with store.transaction() as txn:
        txn.put_blob(os.urandom(2_000))
    copy = tmp_path / "backup"
    copy.mkdir()
    for path in store.layout.packs.iterdir():
        os.link(path, copy / path.name)
    before = {path.name for path in copy.iterdir()}

    with store.transaction():  # a lease that keeps on the disk what is condemned now
        assert collect(store).condemned
    swap_for_link(store.layout.packs, copy)
    with pytest.raises(BackendError, match="is a link"):
        drop_condemned(store)
    assert {path.name for path in copy.iterdir()} == before


def test_a_file_that_is_no_lease_outlives_gc(store: Store) -> None:
    mine = store.layout.leases / "notes.txt"
    mine.write_text("mine")
    collect(store)
    assert mine.read_text() == "mine"


def test_a_store_that_is_reached_through_a_link_works_as_any_other(
    store: Store, tmp_path: Path
) -> None:
    store.close()
    store.path.rename(tmp_path / "disk")
    store.path.symlink_to(tmp_path / "disk")
    with Store.open(store.path) as linked:
        tag(linked, "another")
        with linked.transaction() as txn:
            junk = txn.put_blob(os.urandom(1_000))
        assert len(collect(linked).condemned) == 1
        assert not linked.has(junk)


def test_a_link_in_the_place_of_the_catalog_is_refused(store: Store, tmp_path: Path) -> None:
    """To open what it led to took the write-ahead log from somebody else's database."""
    others = tmp_path / "others.db"
    connection = sqlite3.connect(others)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE work (years)")
    connection.close()
    before = others.read_bytes()
    store.close()
    store.layout.catalog.unlink()
    store.layout.catalog.symlink_to(others)
    with pytest.raises(BackendError, match="is a link"):
        Store.open(store.path)
    assert others.read_bytes() == before

"""Refs that are remembered: as good as asking the catalog, whoever commits."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n4a_store.errors import (
    BackendError,
    CorruptionError,
    InvalidInputError,
    InvalidNameError,
)
from n4a_store.repo.store import Store
from n4a_store.storage import system
from n4a_store.storage.catalog import Catalog
from n4a_store.storage.locks import FileLock

NAME = "refs/tags/a"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.init(tmp_path / "store") as store:
        yield store


def put(store: Store, data: bytes | None, name: str = NAME) -> None:
    with store.transaction() as txn:
        if data is None:
            txn.delete_ref(name)
        else:
            txn.set_ref(name, txn.put_blob(data))


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.one_of(st.none(), st.binary(max_size=2)), st.booleans())
    )
)
@settings(max_examples=15, deadline=None)
def test_it_says_what_the_catalog_says(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, bytes | None, bool]]
) -> None:
    path = tmp_path_factory.mktemp("known") / "store"
    with Store.init(path) as store, Store.open(path) as other:
        for name, data, elsewhere in changes:
            full = f"refs/tags/{name}"
            if data is not None or store.find_ref(full) is not None:
                put(other if elsewhere else store, data, full)
            for ref in ("refs/tags/a", "refs/tags/b"):
                assert store.known_ref(ref) == store.find_ref(ref) == other.known_ref(ref)


def test_the_catalog_is_asked_once_between_two_commits(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, b"one")
    first = store.known_ref(NAME)
    absent = "refs/tags/b"
    assert store.known_ref(absent) is None
    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "read", None)
        assert store.known_ref(NAME) == first
        assert store.known_ref(absent) is None
    put(store, b"two", absent)
    assert store.known_ref(absent) == store.find_ref(absent)


def looks(store: Store, names: list[str]) -> int:
    """How often the catalog is asked while these refs are, each of them as it says."""
    asked: list[str] = []
    expected = [store.find_ref(name) for name in names]
    before = system.observe(lambda step, _: asked.append(step))
    try:
        assert [store.known_ref(name) for name in names] == expected
    finally:
        system.observe(before)
    return asked.count("catalog-read")


def test_refs_that_are_asked_for_in_their_order_are_read_together(store: Store) -> None:
    names = [f"refs/tags/{number:03d}" for number in range(100)]
    with store.transaction() as txn:
        for name in names:
            txn.set_ref(name, txn.put_blob(name.encode()))
    with Store.open(store.path) as other:
        assert looks(other, names) == 7  # 1, 2, 4, 8, 16, 32, 64
        assert looks(other, names) == 0
    with Store.open(store.path) as other:
        assert looks(other, names[::-7]) == len(names[::-7])
    put(store, None, names[50])
    put(store, b"other", names[70])
    assert looks(store, [*names, "refs/tags/0500", "refs/tags/zzz"]) < 20


def test_a_damaged_row_is_no_neighbours_fault(store: Store) -> None:
    names = [f"refs/tags/{letter}" for letter in "abcdefgh"]
    for name in names:
        put(store, name.encode(), name)
    store.close()
    with sqlite3.connect(store.layout.catalog) as connection:
        connection.execute("UPDATE refs SET op = op + 1 WHERE name = ?", (names[5],))
    with Store.open(store.path) as other:
        for name in names:
            if name == names[5]:
                with pytest.raises(CorruptionError, match="checksum"):
                    other.known_ref(name)
            else:
                assert other.known_ref(name) == other.find_ref(name)


def test_a_commit_whose_number_could_not_be_left_is_seen(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, b"one")
    before = store.known_ref(NAME)
    time.sleep(0.05)  # the file system's clock is slower than a commit

    def refuse(lock: FileLock, note: str) -> None:
        raise BackendError("no space left")

    monkeypatch.setattr(FileLock, "write_note", refuse)
    put(store, b"two")
    assert store.known_ref(NAME) == store.find_ref(NAME) != before


def test_without_the_file_of_the_lock_the_catalog_is_asked(store: Store) -> None:
    put(store, b"one")
    store.layout.commit_lock.unlink()
    with Store.open(store.path) as other:
        assert other.known_ref(NAME) == store.find_ref(NAME)
        put(store, b"two")
        assert other.known_ref(NAME) == store.find_ref(NAME)


def test_bad_names_and_closed_stores_are_refused(store: Store) -> None:
    with pytest.raises(InvalidNameError):
        store.known_ref("not a ref")
    store.close()
    with pytest.raises(InvalidInputError, match="closed"):
        store.known_ref(NAME)


def test_a_commit_within_one_tick_of_the_clock_is_noticed(store: Store) -> None:
    with store.transaction() as txn:
        txn.set_ref("refs/tags/x", txn.put_blob(b"one"))
    assert store.known_ref("refs/tags/x") is not None
    before = store.layout.catalog.stat()
    with Store.open(store.path) as other, other.transaction() as txn:
        two = txn.put_blob(b"two")
        txn.set_ref("refs/tags/x", two)
    os.utime(store.layout.catalog, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.layout.catalog.stat().st_size == before.st_size
    found = store.known_ref("refs/tags/x")
    assert found is not None
    assert found.oid == two

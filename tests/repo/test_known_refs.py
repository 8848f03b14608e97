"""Refs that are remembered: as good as asking the catalog, whoever commits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n4a_store.errors import BackendError, InvalidInputError, InvalidNameError
from n4a_store.repo.store import Store
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

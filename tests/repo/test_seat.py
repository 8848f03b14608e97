"""A writer's seat: for one transaction after another, never for two."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from n4a_store import InvalidInputError, Store
from n4a_store.repo.fsck import fsck
from n4a_store.storage import system
from n4a_store.storage.leases import list_leases


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.init(tmp_path / "store") as store:
        yield store


def test_a_seat_serves_one_transaction_at_a_time(store: Store) -> None:
    seat = store.seat()
    with store.transaction(seat=seat) as first:
        with pytest.raises(InvalidInputError, match="another transaction's"):
            store.transaction(seat=seat)
        first.set_ref("refs/tags/first", first.put_blob(b"still seated"))
    with store.transaction(seat=seat) as second:
        second.set_ref("refs/tags/second", second.put_blob(b"after it"))
    seat.leave()
    with pytest.raises(InvalidInputError, match="has been left"):
        store.transaction(seat=seat)
    assert [ref.name for ref in store.refs()] == ["refs/tags/first", "refs/tags/second"]


@pytest.fixture
def watch() -> Iterator[Callable[[Callable[[str, str], None]], object]]:
    """Sets an observer of all steps for the length of the test."""
    before = system.observe(None)
    yield system.observe
    system.observe(before)


def test_a_commit_whose_lease_cannot_rest_has_happened(
    store: Store,
    watch: Callable[[Callable[[str, str], None]], object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    seat = store.seat()
    txn = store.transaction(seat=seat)
    txn.set_ref("refs/tags/a", txn.put_blob(b"a"))
    done: list[str] = []

    def refuse(step: str, path: str) -> None:
        done.append(step)
        if step == "write" and "/leases/" in path and "catalog-commit" in done:
            raise OSError(errno.ENOSPC, "No space left on device", path)

    watch(refuse)
    with caplog.at_level(logging.WARNING):
        assert txn.commit().op is not None
    assert [ref.name for ref in store.refs()] == ["refs/tags/a"]
    assert "seat is left" in caplog.text
    assert not seat.held  # a lease that cannot rest would pin all
    assert list_leases(store.layout.leases) == []
    assert fsck(store, full=True).ok


def test_a_transaction_that_fails_says_why_although_its_lease_cannot_rest(
    store: Store, watch: Callable[[Callable[[str, str], None]], object]
) -> None:
    seat = store.seat()

    def fail() -> None:
        with store.transaction(seat=seat):
            watch(refuse)
            raise ZeroDivisionError

    def refuse(step: str, path: str) -> None:
        if step == "write":
            raise OSError(errno.ENOSPC, "No space left on device", path)

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not seat.held

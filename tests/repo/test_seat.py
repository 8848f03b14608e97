"""A writer's seat: for one transaction after another, never for two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from n4a_store import InvalidInputError, Store


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

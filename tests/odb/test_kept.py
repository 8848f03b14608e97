"""Kept blobs: bounded by bytes, the least recently used goes first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from n4a_store.odb.kept import KeptBlobs


def test_what_was_used_last_stays() -> None:
    kept = KeptBlobs(40)
    for name in (b"a", b"b", b"c", b"d"):
        kept.put(name, bytes(10))
    assert kept.get(b"a") == bytes(10)
    kept.put(b"e", bytes(10))
    assert kept.get(b"b") is None
    assert [kept.get(name) is not None for name in (b"a", b"c", b"d", b"e")] == [True] * 4
    kept.clear()
    assert len(kept) == 0
    assert kept.get(b"a") is None


def test_what_is_large_is_not_kept_at_all() -> None:
    kept = KeptBlobs(40)
    kept.put(b"small", bytes(10))
    kept.put(b"large", bytes(11))
    assert kept.get(b"large") is None
    assert kept.get(b"small") is not None


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)), max_size=60))
def test_it_never_keeps_more_than_it_may(puts: list[tuple[int, int]]) -> None:
    kept = KeptBlobs(100)
    last: dict[bytes, bytes] = {}
    for number, size in puts:
        name, data = bytes((number,)), bytes(size)
        kept.put(name, data)
        if size <= 25:
            last[name] = data
        held = {key: found for key in last if (found := kept.get(key)) is not None}
        assert sum(map(len, held.values())) <= 100
        assert all(last[key] == found for key, found in held.items())

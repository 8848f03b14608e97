"""What is kept: blobs bounded by bytes, trees by entries."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.objects.trees import TreeNode
from n4a_store.odb.kept import KeptBlobs, KeptNodes


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
        name, data = bytes((number, size)), bytes(size)
        kept.put(name, data)
        if size <= 25:
            last[name] = data
        held = {key: found for key in last if (found := kept.get(key)) is not None}
        assert sum(map(len, held.values())) <= 100
        assert all(last[key] == found for key, found in held.items())


def _node(entries: int) -> TreeNode:
    child = TreeEntry(Kind.BLOB, ObjectId(bytes(32)))
    return TreeNode({str(at): child for at in range(entries)}, entries)


def test_a_few_large_trees_push_many_small_ones_out() -> None:
    kept = KeptNodes(1_000)
    for number in range(100):
        kept.put(b"%d" % number, _node(2))
    assert len(kept) == 100
    kept.put(b"large", _node(800))
    assert kept.get(b"large") is not None
    assert kept.get(b"0") is None
    assert kept.get(b"99") is not None
    assert len(kept) == 1 + (1_000 - 804) // 6


def test_one_tree_that_is_too_large_is_kept_alone() -> None:
    kept = KeptNodes(100)
    kept.put(b"a", _node(2))
    kept.put(b"b", _node(500))
    assert (kept.get(b"a"), kept.get(b"b")) == (None, _node(500))


def test_attributes_count_too() -> None:
    """Else trees of two entries, with attributes by the million, would fill the memory."""
    kept = KeptNodes(1_000)
    for number in range(10):
        node = replace(_node(2), attrs={"a": [[], {"b": [0] * 100}], "c": "x" * 5_000})
        kept.put(b"%d" % number, node)
    assert len(kept) == 1_000 // (6 + 127 - 32)
    kept.clear()
    usual = {"serial": 1, "measures": {"types": ["model", "transformer"], "each": bytes(1_000)}}
    for number in range(100):
        kept.put(b"usual %d" % number, replace(_node(2), attrs=usual))
    assert len(kept) == 100


def test_what_is_put_twice_counts_once() -> None:
    kept = KeptNodes(100)
    for _ in range(50):
        kept.put(b"a", _node(10))
    kept.put(b"b", _node(10))
    assert kept.get(b"a") is not None


def test_one_takes_what_another_keeps() -> None:
    other = KeptNodes()
    other.put(b"a", _node(1))
    kept = KeptNodes()
    kept.take(other)
    assert kept.get(b"a") == _node(1)
    kept.clear()
    assert (len(kept), len(other)) == (0, 1)
    for number in range(9):
        other.put(b"%d" % number, _node(16))
    small = KeptNodes(100)
    small.take(other)
    assert len(small) == 100 // 20

"""Trees: one shape for one set of entries, whatever its size and history."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Mapping
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n4a_store.errors import CorruptionError, InvalidInputError
from n4a_store.objects import trees
from n4a_store.objects.children import named_children, packed_children, raw_children
from n4a_store.objects.codec import MAX_BYTES, encode_value, pack_child, pack_entry
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import Kind, ObjectId, hash_object
from n4a_store.objects.trees import (
    FANOUT_LIMIT,
    TreeNode,
    check_node,
    decode_node,
    empty_tree_id,
    encode_tree,
    iter_entries,
    lookup,
    shard_digit,
    update_tree,
)

LEAF = TreeEntry(Kind.BLOB, ObjectId(bytes(32)))


class Nodes:
    """A store of tree nodes in a dict, which counts what is loaded."""

    def __init__(self) -> None:
        self.data: dict[ObjectId, bytes] = {}
        self.loads = 0

    def emit(self, data: bytes) -> ObjectId:
        oid = hash_object(Kind.TREE, data)
        self.data[oid] = data
        return oid

    def load(self, oid: ObjectId) -> TreeNode:
        self.loads += 1
        return decode_node(self.data[oid])

    def put(
        self, entries: Mapping[str, TreeEntry], attrs: Mapping[str, Any] | None = None
    ) -> ObjectId:
        return encode_tree(entries, attrs or {}, self.emit)

    def get(self, oid: ObjectId) -> dict[str, TreeEntry]:
        return dict(iter_entries(self.load(oid), self.load))


def leaf(number: int) -> TreeEntry:
    return TreeEntry(Kind.BLOB, ObjectId(number.to_bytes(32, "big")))


def many(count: int) -> dict[str, TreeEntry]:
    return {f"entry-{number}": leaf(number) for number in range(count)}


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(trees, "FANOUT_LIMIT", 4)
    return 4


NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=8
)


@given(st.dictionaries(NAMES, st.integers(0, 99).map(leaf), max_size=40))
def test_round_trip_at_any_size(entries: dict[str, TreeEntry]) -> None:
    for limit in (1, 4, FANOUT_LIMIT):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trees, "FANOUT_LIMIT", limit)
            nodes = Nodes()
            root = nodes.put(entries)
            assert nodes.get(root) == entries
            node = nodes.load(root)
            assert node.total == len(entries)
            for name, entry in entries.items():
                assert lookup(node, name, nodes.load) == entry
            assert lookup(node, "no such name", nodes.load) is None


def test_exactly_1024_entries_are_one_node_and_one_more_is_sharded() -> None:
    nodes = Nodes()
    whole = nodes.load(nodes.put(many(FANOUT_LIMIT)))
    assert (whole.is_shard, len(nodes.data)) == (False, 1)
    sharded = nodes.load(nodes.put(many(FANOUT_LIMIT + 1)))
    assert (sharded.is_shard, sharded.depth, sharded.total) == (True, 0, FANOUT_LIMIT + 1)
    assert set(sharded.entries) == set("0123456789abcdef")
    assert {entry.kind for entry in sharded.entries.values()} == {Kind.TREE}
    assert len(nodes.data) == 1 + 17


def test_golden_ids_of_small_and_sharded_trees() -> None:
    nodes = Nodes()
    assert nodes.put({}) == empty_tree_id()
    found = [nodes.put(many(count)).short(16) for count in (0, 1, 1024, 1025, 20_000)]
    assert found == [
        "b2ea4d3c529455d6",
        "e8dab21ef8a8b785",
        "b89c74153738a075",
        "090ba10556f24eea",
        "31a67fbe692f48d7",
    ]
    assert nodes.put(many(1), {"serial": 1}).short(16) == "bf14f2d53135a738"


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=60))
def test_the_shape_remembers_nothing_of_growing_and_shrinking(
    changes: list[tuple[bool, int]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trees, "FANOUT_LIMIT", 4)
        entries: dict[str, TreeEntry] = {}
        nodes = Nodes()
        for add, number in changes:
            if add:
                entries[f"e{number}"] = leaf(number)
            else:
                entries.pop(f"e{number}", None)
            root = nodes.put(entries)
            fresh = Nodes()
            assert fresh.put(dict(sorted(entries.items(), reverse=True))) == root
            # Every node is there because it is needed, and no other would do.
            assert fresh.data.keys() <= nodes.data.keys()


@settings(max_examples=10)
@given(st.integers(1020, 1030), st.randoms(use_true_random=False))
def test_the_limit_can_be_crossed_in_both_directions(count: int, random: Any) -> None:
    nodes = Nodes()
    entries = list(many(1030).items())
    random.shuffle(entries)
    grown = nodes.put(dict(entries))
    shrunk = nodes.put(dict(entries[:count]))
    assert nodes.load(shrunk).is_shard == (count > FANOUT_LIMIT)
    assert nodes.put(dict(sorted(entries[:count]))) == shrunk
    assert (grown == shrunk) == (count == 1030)


def test_a_look_up_reads_only_the_shards_on_its_path() -> None:
    nodes = Nodes()
    root = nodes.load(nodes.put(many(20_000)))  # 1,250 a shard: two levels
    nodes.loads = 0
    assert lookup(root, "entry-77", nodes.load) == leaf(77)
    assert nodes.loads == 2
    for name in ("no such", "", "a/b", "\ud800", "x" * 5000):
        assert lookup(root, name, nodes.load) is None


def test_names_chosen_to_fall_into_one_shard_end_in_an_error(small_limit: int) -> None:
    wanted: list[str] = []
    number = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trees, "MAX_SHARD_DEPTH", 2)
        while len(wanted) <= small_limit:
            name = f"n{number}"
            number += 1
            if shard_digit(name, 0) == shard_digit(name, 1) == "7":
                wanted.append(name)
        with pytest.raises(InvalidInputError, match="collide"):
            Nodes().put(dict.fromkeys(wanted, LEAF))


@pytest.mark.parametrize("name", ["", "a/b", "a\0b", "\ud800", "x" * 1025, b"a", 7, None])
def test_names_that_cannot_be_stored_are_refused_before_anything_is(name: Any) -> None:
    nodes = Nodes()
    for others in (1, 20):  # the names of a large tree are looked at together
        with pytest.raises(InvalidInputError, match="name"):
            nodes.put({**many(others), name: LEAF})
    assert nodes.data == {}


def test_a_name_that_is_known_is_refused_in_another_type() -> None:
    class Text(str):
        __slots__ = ()

    nodes = Nodes()
    nodes.put({"known": LEAF})
    with pytest.raises(InvalidInputError, match="needs a name"):
        nodes.put({Text("known"): LEAF})


def plain(**change: Any) -> bytes:
    return encode_value({"entries": {"a": pack_entry(LEAF)}, **change})


def shard(**change: Any) -> bytes:
    child = pack_entry(TreeEntry(Kind.TREE, ObjectId(bytes(32))))
    return encode_value({"depth": 0, "entries": {"0": child}, "total": 2000, **change})


@pytest.mark.parametrize(
    "data",
    [
        encode_value(None),
        encode_value([]),
        encode_value({}),
        encode_value({"entries": []}),
        plain(extra=1),
        plain(attrs={}),  # no attributes is no field
        plain(attrs=[]),
        plain(entries={"a": b"short"}),
        plain(entries={"a": b"\x09" + bytes(32)}),
        plain(entries={"a/b": pack_entry(LEAF)}),
        plain(entries={"": pack_entry(LEAF)}),
        plain(entries={f"{n}": pack_entry(LEAF) for n in range(1025)}),
        plain(depth=0),
        plain(total=2000),
        shard(depth=-1),
        shard(depth=16),
        shard(depth=0.0),
        shard(depth=True),
        shard(total=1024),
        shard(total=2000.0),
        shard(extra=1),
        shard(attrs={}),
        shard(entries={"g": pack_entry(TreeEntry(Kind.TREE, ObjectId(bytes(32))))}),
        shard(entries={"00": pack_entry(TreeEntry(Kind.TREE, ObjectId(bytes(32))))}),
        shard(entries={"0": pack_entry(LEAF)}),
    ],
)
def test_what_no_tree_encodes_to_is_damage(data: bytes) -> None:
    assert decode_node(plain()).total == 1
    assert decode_node(shard()).total == 2000
    check_node(plain())
    check_node(shard())
    for check in (decode_node, check_node):
        with pytest.raises(CorruptionError):
            check(data)


def test_what_swells_when_it_is_decoded_is_refused_before(swelling: bytes) -> None:
    """Some hundred bytes of a pack are enough for one: a walk must not build it."""
    tracemalloc.start()
    try:
        for read in (packed_children, raw_children, named_children):
            for kind in (Kind.TREE, Kind.RUN):
                with pytest.raises(CorruptionError, match="too many values"):
                    read(kind, swelling)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * len(swelling)


def test_a_walk_refuses_what_is_larger_than_anything_stored() -> None:
    large = msgpack.packb({"entries": {}, "attrs": {"a": bytes(MAX_BYTES)}})
    for read in (packed_children, raw_children):
        with pytest.raises(CorruptionError, match="too large"):
            read(Kind.TREE, large)


def test_a_walk_reads_large_attributes() -> None:
    """Measures of a manifest with very many artifacts: large, and few values."""
    large = encode_value({"entries": {"a": pack_child(1, bytes(32))}, "attrs": {"m": bytes(2**23)}})
    assert raw_children(Kind.TREE, large) == [(1, bytes(32))]
    assert packed_children(Kind.TREE, large) == pack_child(1, bytes(32))


@given(st.binary(max_size=120))
def test_arbitrary_bytes_are_damage_or_a_tree(data: bytes) -> None:
    for read in (decode_node, check_node, lambda raw: raw_children(Kind.TREE, raw)):
        try:
            read(data)
        except CorruptionError:
            continue


def test_shards_that_disagree_with_their_parent_are_damage(small_limit: int) -> None:
    nodes = Nodes()
    root = nodes.load(nodes.put(many(40)))
    digits = sorted(root.entries)
    swapped = dict(root.entries) | {
        digits[0]: root.entries[digits[1]],
        digits[1]: root.entries[digits[0]],
    }
    deep = nodes.put(many(400))
    cases: dict[str, TreeNode] = {
        "wrong shard": TreeNode(swapped, root.total, {}, 0),
        "declares": TreeNode(root.entries, root.total + 1, {}, 0),
        "wrong depth": TreeNode({"0": TreeEntry(Kind.TREE, deep)}, 400, {}, 0),
    }
    for said, node in cases.items():
        with pytest.raises(CorruptionError, match=said):
            list(iter_entries(node, nodes.load))
    name = next(f"x{n}" for n in range(100) if shard_digit(f"x{n}", 0) == "0")
    with pytest.raises(CorruptionError, match="wrong depth"):
        lookup(cases["wrong depth"], name, nodes.load)


def test_raw_children_agree_with_the_decoded_ones() -> None:
    nodes = Nodes()
    mixed = {
        "b": LEAF,
        "t": TreeEntry(Kind.TREE, empty_tree_id()),
        "r": TreeEntry(Kind.RUN, LEAF.oid),
    }
    nodes.put(mixed)
    nodes.put(many(1500))
    for data in nodes.data.values():
        expected = [(entry.kind, entry.oid.raw) for entry in decode_node(data).entries.values()]
        assert raw_children(Kind.TREE, data) == expected
    assert raw_children(Kind.BLOB, b"\xc1") == []
    run = encode_value({"pipelines": bytes(32)})
    assert raw_children(Kind.RUN, run) == [(Kind.TREE, bytes(32))]


@pytest.mark.parametrize("kind", [Kind.TREE, Kind.RUN])
@pytest.mark.parametrize(
    "value", [None, [], {}, {"entries": 1, "pipelines": 1}, {"entries": {"a": 1}, "pipelines": "x"}]
)
def test_raw_children_of_what_is_neither_are_damage(kind: Kind, value: Any) -> None:
    read: Callable[[], object] = lambda: raw_children(kind, encode_value(value))  # noqa: E731
    with pytest.raises(CorruptionError):
        read()
    with pytest.raises(CorruptionError):
        packed_children(kind, encode_value(value))


def test_children_of_another_length_or_kind_are_damage() -> None:
    # Together as long as two children: their sum says nothing.
    lengths = plain(entries={"a": b"\1" + bytes(31), "b": b"\1" + bytes(33)})
    unknown = plain(entries={"a": b"\x09" + bytes(32)})
    for read in (packed_children, raw_children):
        with pytest.raises(CorruptionError, match="malformed child"):
            read(Kind.TREE, lengths)
    with pytest.raises(CorruptionError, match="malformed child"):
        raw_children(Kind.TREE, unknown)
    with pytest.raises(CorruptionError, match="malformed child"):
        packed_children(Kind.RUN, encode_value({"pipelines": bytes(31)}))


@given(
    st.dictionaries(NAMES, st.integers(0, 99).map(leaf), max_size=30),
    st.dictionaries(NAMES, st.none() | st.integers(100, 199).map(leaf), max_size=30),
    st.integers(0, 30),
    st.sampled_from([1, 4, 16]),
    st.sampled_from([{}, {"serial": 1}]),
)
def test_changing_entries_gives_what_encoding_all_gives(
    before: dict[str, TreeEntry],
    changes: dict[str, TreeEntry | None],
    out: int,
    limit: int,
    attrs: dict[str, Any],
) -> None:
    changes = {**dict.fromkeys(sorted(before)[:out]), **changes}
    after = {name: one for name, one in {**before, **changes}.items() if one is not None}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trees, "FANOUT_LIMIT", limit)
        nodes = Nodes()
        root = nodes.load(nodes.put(before, attrs))
        updated = update_tree(root, changes, nodes.load, nodes.emit)
        assert nodes.get(updated) == after
        assert updated == nodes.put(after, attrs)


@pytest.mark.parametrize("change", [LEAF, None])
def test_changing_an_entry_touches_only_the_nodes_on_its_way(change: TreeEntry | None) -> None:
    nodes = Nodes()
    root = nodes.load(nodes.put(many(20_000)))
    nodes.loads, stored = 0, len(nodes.data)
    update_tree(root, {"entry-7": change}, nodes.load, nodes.emit)
    assert nodes.loads <= 2
    assert len(nodes.data) - stored <= 3


def test_a_shard_that_becomes_empty_is_left_out_and_never_put() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trees, "FANOUT_LIMIT", 2)
        nodes = Nodes()
        names = [f"entry-{k}" for k in range(6)]
        root = nodes.load(nodes.put(dict.fromkeys(names, LEAF)))
        digit = min(root.entries, key=lambda one: nodes.load(root.entries[one].oid).total)
        alone = dict.fromkeys(nodes.load(root.entries[digit].oid).entries)
        updated = nodes.load(update_tree(root, alone, nodes.load, nodes.emit))
        assert set(updated.entries) == set(root.entries) - {digit}
        assert empty_tree_id() not in nodes.data


def test_a_shard_of_the_wrong_depth_is_not_built_upon() -> None:
    nodes = Nodes()
    deep = nodes.put(many(20_000))
    shards = {digit: TreeEntry(Kind.TREE, deep) for digit in "0123456789abcdef"}
    root = TreeNode(shards, 20_000 * 16, depth=0)
    with pytest.raises(CorruptionError, match="wrong depth"):
        update_tree(root, {"entry-7": LEAF}, nodes.load, nodes.emit)


@given(
    st.dictionaries(NAMES, st.integers(0, 99).map(leaf), max_size=12),
    st.lists(
        st.dictionaries(NAMES, st.none() | st.integers(100, 199).map(leaf), max_size=3),
        min_size=2,
        max_size=8,
    ),
    st.sampled_from([1, 4, 16]),
)
def test_changes_one_after_the_other_go_on_from_what_is_remembered(
    before: dict[str, TreeEntry], each: list[dict[str, TreeEntry | None]], limit: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trees, "FANOUT_LIMIT", limit)
        nodes = Nodes()
        known: dict[ObjectId, TreeNode] = {}

        def load(oid: ObjectId) -> TreeNode:
            return known.get(oid) or nodes.load(oid)

        oid = nodes.put(before, {"serial": 1})
        for changes in each:
            oid = update_tree(load(oid), changes, load, nodes.emit, known.__setitem__)
            before = {k: one for k, one in {**before, **changes}.items() if one is not None}
            assert oid == nodes.put(before, {"serial": 1})
            assert all(node == nodes.load(at) for at, node in known.items())

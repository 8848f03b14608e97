"""Trees to nodes and back: the one shape that a set of entries can have.

A tree of at most :data:`FANOUT_LIMIT` entries is one object. A larger one becomes a *shard
node* of up to 16 subtrees, chosen by successive hex digits of ``blake3(name)`` (derive-key
context ``"n4a_store v1 shard"``), and each of those is sharded again where it is too large. The
shape depends on the set of entries alone, never on the order in which they came or went, so
equal trees have equal ids however they were built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, KeysView, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, TypeVar

from blake3 import blake3

from n4a_store.errors import CorruptionError, InvalidInputError
from n4a_store.objects.codec import (
    ENTRY_BYTES,
    decode_value,
    encode_value,
    normal_value,
    pack_entry,
    pack_normal,
    unpack_entry,
)
from n4a_store.objects.entry_names import MANY_NAMES, check_entry_name, check_entry_names
from n4a_store.objects.model import TreeEntry, Value
from n4a_store.objects.oid import BytesLike, Kind, ObjectId, raw_hash

__all__ = [
    "FANOUT_LIMIT",
    "TreeNode",
    "check_node",
    "checked_children",
    "decode_node",
    "decode_packed",
    "empty_tree_id",
    "encode_packed",
    "encode_tree",
    "iter_entries",
    "lookup",
    "update_tree",
]

FANOUT_LIMIT = 1024
MAX_SHARD_DEPTH = 16
# Names that were looked at: the trees of artifacts, of payloads and of one run's pipelines have the
# same few.
_sound_names: set[str] = set()
_MOST_SOUND = 1_024
_SHARD_SEED = blake3(derive_key_context="n4a_store v1 shard")
_PLAIN_KEYS = ({"entries"}, {"entries", "attrs"})
_SHARD_KEYS = ({"depth", "entries", "total"}, {"depth", "entries", "total", "attrs"})
Made = TypeVar("Made")
_DIGITS = frozenset("0123456789abcdef")
_KINDS = frozenset(int(kind) for kind in Kind)
_KIND_OF = {int(kind): kind for kind in Kind}
_TEXT = frozenset((str,))
_FIRST = itemgetter(0)


@dataclass(frozen=True, slots=True)
class TreeNode:
    """One tree object as it is stored: a whole small tree, or one shard node of a large one.

    Args:
        entries: Children by name, or, in a shard node, subtrees by hex digit.
        attrs: The attributes of the tree; only on its root.
        depth: Which hex digit the shards are told apart by; None in a plain node.
        total: How many entries the whole subtree holds.
        packed: The entries of a plain node as they are stored, sorted, where the node came about
            by a change: a run's tree, which grows with every commit, need not be packed anew.
    """

    entries: Mapping[str, TreeEntry]
    total: int
    attrs: Mapping[str, Value] = field(default_factory=dict)
    depth: int | None = None
    packed: dict[str, bytes] | None = field(default=None, compare=False, repr=False)

    @property
    def is_shard(self) -> bool:
        """Whether the entries are subtrees of one large tree."""
        return self.depth is not None


def shard_digit(name: str, depth: int) -> str:
    """Which shard at ``depth`` the entry called ``name`` belongs to."""
    hasher = _SHARD_SEED.copy()
    hasher.update(name.encode("utf-8"))
    return hasher.hexdigest()[depth]


def _forget(oid: ObjectId, node: TreeNode) -> None:
    """What is done with a node that nobody wants to remember."""


def encode_tree(
    entries: Mapping[str, TreeEntry],
    attrs: Mapping[str, Value],
    emit: Callable[[bytes], ObjectId],
    remember: Callable[[ObjectId, TreeNode], None] = _forget,
) -> ObjectId:
    """Encode a tree, handing every node to ``emit``, children before parents.

    Args:
        entries: The children by name.
        attrs: Attributes of the tree.
        emit: Called with the canonical bytes of each node; returns its id.
        remember: Called with the id of each node and the node, as decoding would give it.

    Returns:
        The id of the root node.

    Raises:
        InvalidInputError: A name or an attribute cannot be stored.
    """
    _check_names(entries.keys())
    return _encode(entries, attrs, 0, emit, remember)


def encode_packed(entries: Mapping[str, bytes]) -> bytes:
    """The canonical bytes of a tree of one object, without attributes, from encoded entries.

    Args:
        entries: Kind byte and id by name, in the order of the names.

    Raises:
        InvalidInputError: They are not in order, too many, or a name cannot be stored.
    """
    names = list(entries)
    if len(names) > FANOUT_LIMIT or names != sorted(names):
        raise InvalidInputError("a packed tree has few entries, in the order of their names")
    _check_names(entries.keys())
    if not set(map(len, entries.values())) <= {ENTRY_BYTES}:
        raise InvalidInputError(f"a packed tree entry has {ENTRY_BYTES} bytes")
    return pack_normal({"entries": entries})


def _encode(
    entries: Mapping[str, TreeEntry],
    attrs: Mapping[str, Value],
    depth: int,
    emit: Callable[[bytes], ObjectId],
    remember: Callable[[ObjectId, TreeNode], None],
) -> ObjectId:
    if len(entries) <= FANOUT_LIMIT:
        # The names have been checked and sort like their bytes, so this is the canonical form.
        packed = {name: pack_entry(entries[name]) for name in sorted(entries)}
        oid = emit(_plain_node(packed, attrs))
        remember(oid, TreeNode(entries, len(entries), attrs))
        return oid
    if depth >= MAX_SHARD_DEPTH:
        raise InvalidInputError("names chosen to collide in every shard")
    groups: dict[str, dict[str, TreeEntry]] = {}
    for name, entry in entries.items():
        groups.setdefault(shard_digit(name, depth), {})[name] = entry
    shards = {
        digit: TreeEntry(Kind.TREE, _encode(group, {}, depth + 1, emit, remember))
        for digit, group in sorted(groups.items())
    }
    return _emit_shard(TreeNode(shards, len(entries), attrs, depth), emit, remember)


def _plain_node(packed: dict[str, bytes], attrs: Mapping[str, Value]) -> bytes:
    """The bytes of a plain node whose entries have been packed and sorted."""
    if not attrs:
        return pack_normal({"entries": packed})
    # "attrs" sorts before "entries", whose own form is canonical already.
    return pack_normal({"attrs": normal_value(attrs), "entries": packed})


def _emit_shard(
    node: TreeNode,
    emit: Callable[[bytes], ObjectId],
    remember: Callable[[ObjectId, TreeNode], None],
) -> ObjectId:
    oid = emit(_shard_node(node))
    remember(oid, node)
    return oid


def update_tree(
    root: TreeNode,
    changes: Mapping[str, TreeEntry | None],
    load: Callable[[ObjectId], TreeNode],
    emit: Callable[[bytes], ObjectId],
    remember: Callable[[ObjectId, TreeNode], None] = _forget,
) -> ObjectId:
    """Change a tree that is stored: new names, new children for names it has, names taken out.

    Gives what :func:`encode_tree` gives for all entries together, and loads and emits only the
    nodes on the way to those that change; the whole tree where it becomes small enough for one.

    Args:
        root: The tree; its attributes stay.
        changes: The entries; None takes a name out, if the tree has it.
        load, emit, remember: As elsewhere here.

    Raises:
        InvalidInputError: A name cannot be stored.
        CorruptionError: The shards disagree about their depths.
    """
    check_entry_names(changes.keys())
    return _update(root, changes, 0, load, emit, remember)[0]


def _update(
    node: TreeNode,
    changes: Mapping[str, TreeEntry | None],
    depth: int,
    load: Callable[[ObjectId], TreeNode],
    emit: Callable[[bytes], ObjectId],
    remember: Callable[[ObjectId, TreeNode], None],
) -> tuple[ObjectId, int]:
    """The id of the changed node, and how many entries it holds."""
    if not node.is_shard:
        merged = _changed(node.entries, changes)
        if depth and not merged:
            return empty_tree_id(), 0  # no shard is empty: the caller leaves it out
        if len(merged) > FANOUT_LIMIT:
            return _encode(merged, node.attrs, depth, emit, remember), len(merged)
        packed = _packed_changed(node, changes)
        oid = emit(_plain_node(packed, node.attrs))
        remember(oid, TreeNode(merged, len(merged), node.attrs, packed=packed))
        return oid, len(merged)
    groups: dict[str, dict[str, TreeEntry | None]] = {}
    for name, entry in changes.items():
        groups.setdefault(shard_digit(name, depth), {})[name] = entry
    shards, total = dict(node.entries), node.total
    for digit, group in groups.items():
        child = TreeNode({}, 0) if digit not in shards else load(shards[digit].oid)
        if child.is_shard and child.depth != depth + 1:
            raise CorruptionError(f"tree shard {shards[digit].oid.short()} has the wrong depth")
        oid, count = _update(child, group, depth + 1, load, emit, remember)
        shards[digit] = TreeEntry(Kind.TREE, oid)
        total += count - child.total
        if not count:
            del shards[digit]
    changed = TreeNode(shards, total, node.attrs, depth)
    if total <= FANOUT_LIMIT:
        left = dict(iter_entries(changed, load))
        return _encode(left, node.attrs, depth, emit, remember), total
    return _emit_shard(changed, emit, remember), total


def _changed(before: Mapping[str, Made], changes: Mapping[str, Made | None]) -> dict[str, Made]:
    """What is left when some of the values change, come, or (None) go."""
    after = dict(before)
    for name, value in changes.items():
        if value is None:
            after.pop(name, None)
        else:
            after[name] = value
    return after


def _packed_changed(node: TreeNode, changes: Mapping[str, TreeEntry | None]) -> dict[str, bytes]:
    """The entries of a plain node after some changes, packed and sorted."""
    before = node.packed
    if before is None:
        before = {name: pack_entry(node.entries[name]) for name in sorted(node.entries)}
    after = _changed(
        before, {name: None if one is None else pack_entry(one) for name, one in changes.items()}
    )
    # What is new has come to the end, where it belongs if it is greater than all before.
    last = next(reversed(before), "")
    if any(name < last and name not in before for name in changes) or len(changes) > 1:
        after = {name: after[name] for name in sorted(after)}
    return after


def _shard_node(node: TreeNode) -> bytes:
    packed: dict[str, Value] = {name: pack_entry(entry) for name, entry in node.entries.items()}
    extra: dict[str, Value] = {"attrs": dict(node.attrs)} if node.attrs else {}
    return encode_value({"depth": node.depth, "entries": packed, "total": node.total, **extra})


def decode_node(data: BytesLike) -> TreeNode:
    """The tree node whose canonical bytes are ``data``.

    Raises:
        CorruptionError: ``data`` is not the encoding of a tree node.
    """
    value = _checked_node(data)
    # As unpack_entry does, without a call and a second check for each.
    entries = {
        name: TreeEntry(_KIND_OF[packed[0]], ObjectId(packed[1:]))
        for name, packed in value["entries"].items()
    }
    return TreeNode(
        entries, value.get("total", len(entries)), value.get("attrs", {}), value.get("depth")
    )


def decode_packed(data: BytesLike) -> dict[str, bytes] | None:
    """The entries of a tree of one object as :func:`encode_packed` takes them; None of a shard.

    Raises:
        CorruptionError: ``data`` is not the encoding of a tree node.
    """
    value = _checked_node(data)
    entries: dict[str, bytes] = value["entries"]
    return None if "depth" in value else entries


def check_node(data: BytesLike) -> None:
    """Refuse what :func:`decode_node` refuses, in half the time.

    Raises:
        CorruptionError: ``data`` is not the encoding of a tree node.
    """
    _checked_node(data)


def checked_children(data: BytesLike) -> bytes:
    """The children of a tree node one after the other, 33 bytes each, as :func:`check_node` goes.

    Raises:
        CorruptionError: ``data`` is not the encoding of a tree node.
    """
    return b"".join(_checked_node(data)["entries"].values())


def _checked_node(data: BytesLike) -> dict[str, Any]:
    """The fields of a tree node, sound in themselves; the entries are still packed."""
    value = decode_value(data)
    if type(value) is not dict or type(value.get("entries")) is not dict:
        raise CorruptionError("not a tree object: wrong fields")
    entries = value["entries"]
    kinds = _entry_kinds(entries)
    attrs = value.get("attrs", {})
    if type(attrs) is not dict or ("attrs" in value and not attrs):
        raise CorruptionError("not a tree object: bad attributes")
    if value.keys() in _PLAIN_KEYS:
        _check_plain(entries)
        return value
    if value.keys() not in _SHARD_KEYS:
        raise CorruptionError("not a tree object: wrong fields")
    depth, total = value["depth"], value["total"]
    if type(depth) is not int or not 0 <= depth < MAX_SHARD_DEPTH:
        raise CorruptionError("not a tree object: bad shard depth")
    if type(total) is not int or total <= FANOUT_LIMIT:
        raise CorruptionError("not a tree object: a shard node of too few entries")
    if not (entries.keys() <= _DIGITS and kinds <= {Kind.TREE}):
        raise CorruptionError("not a tree object: bad shard")
    return value


def _entry_kinds(entries: Mapping[str, Any]) -> set[int]:
    """The kinds of packed entries, every one of which is sound."""
    packed = entries.values()
    if set(map(type, packed)) <= {bytes} and set(map(len, packed)) <= {ENTRY_BYTES}:
        kinds = set(map(_FIRST, packed))
        if kinds <= _KINDS:
            return kinds
    for one in packed:
        unpack_entry(one)  # says what is wrong with it
    raise AssertionError("unreachable")


def _check_plain(names: Mapping[str, object]) -> None:
    if len(names) > FANOUT_LIMIT:
        raise CorruptionError("not a tree object: a large tree that is not sharded")
    if names.keys() <= _sound_names:  # what was decoded is text
        return
    try:
        _check_names(names.keys())
    except InvalidInputError as error:
        raise CorruptionError(f"not a tree object: {error}") from error


def _check_names(names: KeysView[str]) -> None:
    """As :func:`check_entry_names`; the names of artifacts' and payloads' trees come again."""
    if not (names <= _sound_names and _TEXT.issuperset(map(type, names))):
        check_entry_names(names)
        if len(names) < MANY_NAMES and len(_sound_names) < _MOST_SOUND:
            _sound_names.update(names)


def iter_entries(
    node: TreeNode, load: Callable[[ObjectId], TreeNode]
) -> Iterator[tuple[str, TreeEntry]]:
    """All entries below ``node``, shards flattened, in no particular order.

    Raises:
        CorruptionError: The shards disagree with their counts or their names.
    """
    if not node.is_shard:
        yield from node.entries.items()
        return
    seen = 0
    for digit, entry in node.entries.items():
        shard = load(entry.oid)
        if shard.is_shard and shard.depth != (node.depth or 0) + 1:
            raise CorruptionError(f"tree shard {entry.oid.short()} has the wrong depth")
        for name, child in iter_entries(shard, load):
            if shard_digit(name, node.depth or 0) != digit:
                raise CorruptionError(f"entry {name!r} stands in the wrong shard")
            seen += 1
            yield name, child
    if seen != node.total:
        raise CorruptionError(f"a sharded tree declares {node.total} entries and holds {seen}")


def lookup(node: TreeNode, name: str, load: Callable[[ObjectId], TreeNode]) -> TreeEntry | None:
    """The entry called ``name`` below ``node``, reading only the shards on its path."""
    try:
        check_entry_name(name)
    except InvalidInputError:
        return None  # no tree holds such a name
    while node.depth is not None:
        entry = node.entries.get(shard_digit(name, node.depth))
        if entry is None:
            return None
        child = load(entry.oid)
        if child.is_shard and child.depth != node.depth + 1:
            raise CorruptionError(f"tree shard {entry.oid.short()} has the wrong depth")
        node = child
    return node.entries.get(name)


def empty_tree_id() -> ObjectId:
    """The id of the tree without entries."""
    return ObjectId(raw_hash(Kind.TREE, encode_value({"entries": {}})))

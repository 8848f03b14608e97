"""The links blob of a pipeline manifest: what is true of its artifacts only here.

Canonical msgpack of a map::

    "schema"    1
    "keys"      {key: {"since", ["deps"], ["inner"], ["sources"], ["producer"], ["origin"],
                       ["foreign"], ["notes"]}}
    "branches"  {"0:2": name}          names of branches; left out when nobody named one
    "retired"   {key: last version}    of keys that earlier manifests had; left out when empty

``since`` is the serial number of the manifest in which the key's count of versions began: in a
manifest of serial *n* the version is ``n - since + 1``. So a training that is repeated without a
change has the same links, although every version has gone up by one; what differs (serial,
clock, run) stands in the attributes of the manifest's tree.

``deps`` are the ids of the children of the artifact's ``deps`` tree, in the same order.
``inner`` gives the same, by tree id, for those below them that this manifest does not hold as
they were, so that a dependency keeps its name when its own pipeline is gone. ``foreign`` says, by
tree id, which of all that an artifact depends on was not made here, and where it came from: it
is trusted no more when it is reached through what was made here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from n4a_store.errors import CorruptionError, UnsupportedFormatError
from n4a_store.objects.codec import decode_value, encode_value, pack_normal
from n4a_store.objects.oid import BytesLike

__all__ = ["KeyLinks", "Links", "decode_links", "encode_links"]

SCHEMA = 1
_USUAL = frozenset(("since", "deps", "producer"))
_TEXT = frozenset((str,))
_NO_DEPS: list[str] = []


@dataclass(frozen=True, slots=True)
class KeyLinks:
    """The links of one artifact.

    Args:
        since: Where its count of versions began.
        deps: Ids of what it depends on, in the order of the ``deps`` tree.
        inner: Ids below those that are not in this manifest, by their tree's id in hex.
        sources: For a meta-model, the ids of its sources, in order.
        producer: What registered it.
        origin: Where it came from when it was not made here; empty when it was.
        foreign: Origins of what it depends on, by tree id in hex; all of it, when it has an
            origin itself and this is empty.
        notes: What its runner calls it, text by name. Nothing here interprets them.
    """

    since: int
    deps: tuple[str, ...] = ()
    inner: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    producer: str = ""
    origin: str = ""
    foreign: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Links:
    """See the module."""

    keys: Mapping[str, KeyLinks] = field(default_factory=dict)
    branches: Mapping[str, str] = field(default_factory=dict)
    retired: Mapping[str, int] = field(default_factory=dict)

    def version(self, key: str, serial: int) -> int:
        """The version of a key in the manifest of serial number ``serial``."""
        return serial - self.keys[key].since + 1

    def origin(self, key: str) -> str:
        """Where the artifact under ``key`` came from; empty when it was made here."""
        keys = self.keys
        return keys.origin(key) if type(keys) is _Decoded else keys[key].origin

    def last_version(self, key: str, serial: int) -> int:
        """The last version that ``key`` ever had; 0 when it never existed."""
        return self.version(key, serial) if key in self.keys else self.retired.get(key, 0)


def encode_links(links: Links) -> bytes:
    """The canonical bytes."""
    keys = links.keys
    usual = not (links.branches or links.retired) and _TEXT.issuperset(map(type, keys))
    if usual and "".join(keys).isascii() and all(map(_is_usual, keys.values())):
        # Sorted, and of plain text and numbers: the normal form that would be made of it.
        value = {"keys": {key: _encode_usual(keys[key]) for key in sorted(keys)}, "schema": SCHEMA}
        with suppress(OverflowError):  # what is too large is said below
            return pack_normal(value)
    value = {"schema": SCHEMA, "keys": {key: _encode_key(entry) for key, entry in keys.items()}}
    if links.branches:
        value["branches"] = dict(links.branches)
    if links.retired:
        value["retired"] = dict(links.retired)
    return encode_value(value)


def _is_usual(entry: KeyLinks) -> bool:
    """Whether an artifact was made here, out of what its manifest holds, and bears plain names."""
    return (
        not (entry.inner or entry.sources or entry.origin or entry.foreign or entry.notes)
        and type(entry.since) is int
        and type(entry.producer) is str
        and entry.producer.isascii()
        and _TEXT.issuperset(map(type, entry.deps))
        and "".join(entry.deps).isascii()
    )


def _encode_usual(entry: KeyLinks) -> dict[str, Any]:
    value: dict[str, Any] = {}
    if entry.deps:
        value["deps"] = list(entry.deps)
    if entry.producer:
        value["producer"] = entry.producer
    value["since"] = entry.since
    return value


def _encode_key(entry: KeyLinks) -> dict[str, Any]:
    value: dict[str, Any] = {"since": entry.since}
    if entry.deps:
        value["deps"] = list(entry.deps)
    if entry.inner:
        value["inner"] = {name: list(ids) for name, ids in entry.inner.items()}
    if entry.sources:
        value["sources"] = list(entry.sources)
    if entry.producer:
        value["producer"] = entry.producer
    if entry.origin:
        value["origin"] = entry.origin
    if entry.foreign:
        value["foreign"] = dict(entry.foreign)
    if entry.notes:
        value["notes"] = dict(entry.notes)
    return value


def decode_links(data: BytesLike) -> Links:
    """The links with these bytes.

    Raises:
        CorruptionError: They are not links.
        UnsupportedFormatError: Links of a later version.
    """
    value = decode_value(data)
    if not isinstance(value, dict) or type(value.get("schema")) is not int:
        raise CorruptionError("not the links of a pipeline manifest")
    if value["schema"] != SCHEMA:
        raise UnsupportedFormatError(
            f"a pipeline manifest of schema {value['schema']}", hint="upgrade n4a_store"
        )
    branches, retired = value.get("branches", {}), value.get("retired", {})
    if not (
        value.keys() <= {"schema", "keys", "branches", "retired"}
        and isinstance(value.get("keys"), dict)
        and isinstance(branches, dict)
        and all(isinstance(name, str) for name in branches.values())
        and isinstance(retired, dict)
        and all(type(version) is int for version in retired.values())
    ):
        raise CorruptionError("not the links of a pipeline manifest: wrong fields")
    keys = value["keys"]
    return Links(
        _Decoded(
            keys, {key: _decode_key(key, keys[key]) for key in keys if not _packed_usual(keys[key])}
        ),
        branches,
        retired,
    )


class _Decoded(Mapping[str, KeyLinks]):
    """The links of each key: all of them sound, and made when somebody asks for them.

    Args:
        packed: Their values.
        made: Of those that are not as usual.
    """

    __slots__ = ("_made", "_packed")

    def __init__(self, packed: dict[str, dict[str, Any]], made: dict[str, KeyLinks]) -> None:
        self._packed = packed
        self._made = made

    def __getitem__(self, key: str) -> KeyLinks:
        made = self._made.get(key)
        if made is None:
            value = self._packed[key]
            deps, producer = tuple(value.get("deps", ())), value.get("producer", "")
            made = self._made[key] = KeyLinks(value["since"], deps, producer=producer)
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    def __contains__(self, key: object) -> bool:
        return key in self._packed

    def origin(self, key: str) -> str:
        """As :meth:`Links.origin`: what is as usual was made here."""
        made = self._made.get(key)
        return "" if made is None else made.origin


def _packed_usual(value: Any) -> bool:
    """Whether it is sound and as nearly all of them: made here, of what this manifest holds."""
    if type(value) is not dict or not value.keys() <= _USUAL or type(value.get("since")) is not int:
        return False
    deps = value.get("deps", _NO_DEPS)
    return (
        type(value.get("producer", "")) is str
        and type(deps) is list
        and set(map(type, deps)) <= _TEXT
    )


def _decode_key(key: str, value: Any) -> KeyLinks:
    if not isinstance(value, dict) or type(value.get("since")) is not int:
        raise CorruptionError(f"not the links of a pipeline manifest: {key!r:.80}")
    inner = value.get("inner", {})
    texts = [value.get("foreign", {}), value.get("notes", {})]
    lists = [value.get("deps", []), value.get("sources", [])]
    if isinstance(inner, dict):
        lists.extend(inner.values())
    if not (
        isinstance(inner, dict)
        and all(isinstance(ids, list) for ids in lists)
        and all(isinstance(name, str) for ids in lists for name in ids)
        and isinstance(value.get("producer", ""), str)
        and isinstance(value.get("origin", ""), str)
        and all(isinstance(named, dict) for named in texts)
        and all(isinstance(text, str) for named in texts for text in named.values())
    ):
        raise CorruptionError(f"not the links of a pipeline manifest: {key!r:.80}")
    return KeyLinks(
        value["since"],
        tuple(value.get("deps", ())),
        {name: tuple(ids) for name, ids in inner.items()},
        tuple(value.get("sources", ())),
        value.get("producer", ""),
        value.get("origin", ""),
        *texts,
    )

"""Reading everything that some roots reach, so that every byte is checked against its id."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from n4a_store.errors import CorruptionError, ObjectNotFoundError
from n4a_store.objects.codec import decode_run
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.objects.trees import decode_node
from n4a_store.packs.id_table import IdTable
from n4a_store.repo.store import Store

__all__ = ["ClosureReport", "DamagedObject", "verify_closure"]


@dataclass(frozen=True, slots=True)
class DamagedObject:
    """An object that cannot be read.

    Args:
        name: The first path by which it was reached.
    """

    oid: ObjectId
    name: str
    message: str


@dataclass(frozen=True, slots=True)
class ClosureReport:
    """What was read.

    Args:
        size: Bytes of the objects, uncompressed.
    """

    objects: int
    size: int
    damage: tuple[DamagedObject, ...]


def verify_closure(
    store: Store,
    roots: Mapping[str, TreeEntry],
    progress: Callable[[int], None] | None = None,
) -> ClosureReport:
    """Read all that `roots` reach; damage is collected, and the rest still read.

    Args:
        roots: By the name that reports call them.
        progress: Called after each object with the bytes read so far.
    """
    seen = IdTable()
    damage: list[DamagedObject] = []
    objects = size = 0
    with store.session():
        stack = [(entry, name, ":") for name, entry in reversed(list(roots.items()))]
        while stack:
            entry, name, separator = stack.pop()
            if not seen.add(entry.oid.raw):
                continue
            try:
                data = store.view(entry.oid)
                children = _children(entry.kind, data)
            except (CorruptionError, ObjectNotFoundError) as error:
                damage.append(DamagedObject(entry.oid, name, error.message))
                continue
            objects += 1
            size += len(data)
            if progress is not None:
                progress(size)
            for child_name, child in reversed(children):
                path = f"{name}{separator}{child_name}" if child_name else name
                stack.append((child, path, "/" if child_name else separator))
    return ClosureReport(objects, size, tuple(damage))


def _children(kind: Kind, data: memoryview) -> list[tuple[str, TreeEntry]]:
    """Names and children; a shard's digit is no part of a path."""
    if kind is Kind.RUN:
        return [("", TreeEntry(Kind.TREE, decode_run(data).pipelines))]
    if kind is Kind.TREE:
        node = decode_node(data)
        return [("" if node.is_shard else name, entry) for name, entry in node.entries.items()]
    return []

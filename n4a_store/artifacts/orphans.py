"""Orphans: artifacts that no ref reaches, with the names they had.

An orphan was made by a run that was deleted or never completed. Its name comes from the reflog,
for as long as that remembers; its tree says class and type. Payloads are not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from n4a_store.artifacts.manifest_tree import ARTIFACTS, PAYLOAD, RECORD, StoredArtifact
from n4a_store.errors import StoreError
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import Kind, ObjectId, split_ids
from n4a_store.packs.id_table import IdTable
from n4a_store.repo.reachability import Garbage, preview
from n4a_store.repo.store import Store

__all__ = ["Orphan", "OrphanReport", "find_orphans"]


@dataclass(frozen=True, slots=True)
class Orphan:
    """An artifact that no ref reaches.

    Args:
        size_bytes: Of its payload, before compression.
        stored_bytes: What its own objects take; those that something living shares are left out.
        undoable: Whether undo can still bring it back.
        last_name: The ref and id under which it was last known; empty when nobody remembers.
    """

    tree: ObjectId
    type: str
    class_name: str
    size_bytes: int
    stored_bytes: int
    undoable: bool
    last_name: str = ""


@dataclass(frozen=True, slots=True)
class OrphanReport:
    """All that no ref reaches.

    Args:
        artifacts: The orphaned artifacts, the largest first.
        unreachable, undoable: All orphaned objects, manifests and runs included: those that gc
            can drop, and those that undo can bring back.
    """

    artifacts: tuple[Orphan, ...]
    unreachable: Garbage
    undoable: Garbage


def find_orphans(
    store: Store, *, expire_now: bool = False, progress: Callable[[int, int], None] | None = None
) -> OrphanReport:
    """Mark the store and list the orphaned artifacts.

    Args:
        expire_now: Count as if the undo window had passed for everything.
        progress: Called while it marks, with objects: see `mark_store`.

    Raises:
        CorruptionError: Something reachable is damaged: then nothing is known to be an orphan.
    """
    with store.session():
        found = preview(store, expire_now=expire_now, progress=progress)
        unreachable, undoable = found.totals()
        sizes, undoable_trees, trees = IdTable(), IdTable(), bytearray()
        for oid, kind, stored, kept in found.orphans():
            if kind == Kind.TREE:
                if oid not in sizes:
                    trees += oid
                if kept:
                    undoable_trees.add(oid)
            sizes[oid] = stored
        orphans = [
            orphan
            for oid in split_ids(trees)
            if (orphan := _orphan(store, ObjectId(oid), oid in undoable_trees, sizes)) is not None
        ]
        if orphans:  # what the reflog remembers takes as long to read as all the rest
            names = _names_in_reflog(store)
            orphans = [replace(one, last_name=names.get(one.tree, "")) for one in orphans]
    orphans.sort(key=lambda orphan: (-orphan.stored_bytes, orphan.tree))
    return OrphanReport(tuple(orphans), unreachable, undoable)


def _orphan(store: Store, tree: ObjectId, kept: bool, sizes: IdTable) -> Orphan | None:
    entries = store.node(tree).entries
    if RECORD not in entries or PAYLOAD not in entries:
        return None
    try:
        blob = StoredArtifact.read(store, tree, tree.short()).blob
    except StoreError:
        # Garbage may be incomplete: part of it may have gone before the rest.
        return None
    own = {tree.raw: sizes[tree.raw]}
    stack = [entries[RECORD], entries[PAYLOAD]]
    while stack:
        entry = stack.pop()
        if entry.oid.raw in sizes and entry.oid.raw not in own:
            own[entry.oid.raw] = sizes[entry.oid.raw]
            if entry.kind is Kind.TREE:
                stack.extend(store.node(entry.oid).entries.values())
    return Orphan(tree, blob.type, blob.class_name, blob.size, sum(own.values()), kept)


def _names_in_reflog(store: Store) -> dict[ObjectId, str]:
    """Artifact trees by the newest name that the reflog gives them."""
    names: dict[ObjectId, str] = {}
    # A run that grew by 2,000 pipelines held 2,000 trees that have nearly everything in common.
    seen: set[tuple[str, ObjectId]] = set()
    for change in store.reflog():
        for entry in (change.new, change.old):
            if entry is None or (change.name, entry.oid) in seen:
                continue
            seen.add((change.name, entry.oid))
            for pipeline, manifest in _manifests(store, entry, change.name, seen):
                for key, tree in _artifacts_below(store, manifest):
                    name = f"{pipeline}:{key} in {change.name}" if key else change.name
                    names.setdefault(tree, name)
    return names


def _manifests(
    store: Store, entry: TreeEntry, ref: str, seen: set[tuple[str, ObjectId]]
) -> Iterator[tuple[str, TreeEntry]]:
    """The pipelines in a run, or the one that the ref stands for, less those seen before."""
    try:
        if entry.kind is not Kind.RUN:
            yield ref.rpartition("/")[2], entry
            return
        nodes = [store.get_run(entry.oid).pipelines]
        while nodes:
            node = store.node(nodes.pop())
            for name, child in node.entries.items():
                key = (ref if node.is_shard else f"{ref}:{name}", child.oid)
                if key in seen:
                    continue
                seen.add(key)
                if node.is_shard:
                    nodes.append(child.oid)
                else:
                    yield name, child
    except StoreError:
        return  # what the reflog remembers may be gone; its names are a courtesy


def _artifacts_below(store: Store, manifest: TreeEntry) -> Iterator[tuple[str, ObjectId]]:
    """Artifact ids and trees in a manifest, or the artifact itself; else nothing."""
    if manifest.kind is not Kind.TREE:
        return
    try:
        artifacts = store.get_entry(manifest.oid, ARTIFACTS)
        if artifacts is None:
            yield "", manifest.oid
            return
        for key, child in store.get_tree(artifacts.oid).entries.items():
            yield key, child.oid
    except StoreError:
        return

"""Lineage: which artifacts a result was made from, each drawn once however often it is used.

A node is an artifact *tree*: the same scaler under two ids, or in two branches, is one node that
bears both names. Edges lead from what is needed to what needs it, in the order in which the
dependent lists them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from n4a_store.artifacts.graph import ArtifactNode
from n4a_store.artifacts.manifest_tree import PipelineManifest, StoredArtifact
from n4a_store.objects.oid import ObjectId
from n4a_store.repo.store import Store

__all__ = ["Lineage", "LineageNode", "artifact_lineage", "pipeline_lineage"]


@dataclass(frozen=True, slots=True)
class LineageNode:
    """One artifact of a lineage.

    Args:
        names: The ids under which this lineage knows it, in order of execution.
        sources: What it depends on, in order.
        used_by: How many artifacts of this lineage depend on it.
    """

    tree: ObjectId
    names: tuple[str, ...]
    type: str
    class_name: str
    size: int
    sources: tuple[ObjectId, ...]
    used_by: int = 0


@dataclass(frozen=True, slots=True)
class Lineage:
    """A graph without cycles.

    Args:
        nodes: By tree; what is needed stands before what needs it.
        roots: The artifacts that the question was about and that nothing else here needs.
    """

    nodes: dict[ObjectId, LineageNode]
    roots: tuple[ObjectId, ...]

    def edges(self) -> Iterator[tuple[ObjectId, ObjectId]]:
        """Pairs of what is needed and what needs it."""
        for node in self.nodes.values():
            for source in node.sources:
                yield source, node.tree


@dataclass(slots=True)
class _Builder:
    """Gathers nodes; children are finished before their parents, without recursion."""

    store: Store
    names: dict[ObjectId, list[str]] = field(default_factory=dict)
    nodes: dict[ObjectId, LineageNode] = field(default_factory=dict)
    users: dict[ObjectId, int] = field(default_factory=dict)

    def add(self, root: ArtifactNode) -> None:
        stack = [(root, False)]
        while stack:
            node, done = stack.pop()
            known = self.names.setdefault(node.tree, [])
            if node.artifact_id not in known:
                known.append(node.artifact_id)
            if done:
                self._finish(node)
            elif node.tree not in self.nodes:
                stack.append((node, True))
                stack.extend((child, False) for child in reversed(node.children))
            else:
                # Finished under another name; its parts may have other names here, too.
                stack.extend(
                    (child, False)
                    for child in reversed(node.children)
                    if child.artifact_id not in self.names.get(child.tree, ())
                )

    def _finish(self, node: ArtifactNode) -> None:
        if node.tree in self.nodes:
            return
        blob = StoredArtifact.read(self.store, node.tree, node.artifact_id).blob
        sources = tuple(child.tree for child in node.children)
        for source in dict.fromkeys(sources):
            self.users[source] = self.users.get(source, 0) + 1
        self.nodes[node.tree] = LineageNode(
            node.tree, (), blob.type, blob.class_name, blob.size, sources
        )

    def result(self) -> Lineage:
        nodes = {
            tree: LineageNode(
                tree,
                tuple(self.names[tree]),
                node.type,
                node.class_name,
                node.size,
                node.sources,
                self.users.get(tree, 0),
            )
            for tree, node in self.nodes.items()
        }
        roots = tuple(tree for tree, node in nodes.items() if not node.used_by)
        return Lineage(nodes, roots)


def artifact_lineage(store: Store, manifest: PipelineManifest, key: str) -> Lineage:
    """What the artifact under `key` was made from.

    Raises:
        CorruptionError: Something of it is missing or damaged.
    """
    return _lineage(store, manifest, [key])


def pipeline_lineage(store: Store, manifest: PipelineManifest) -> Lineage:
    """All artifacts of a pipeline and what they were made from.

    Raises:
        CorruptionError: Something of them is missing or damaged.
    """
    return _lineage(store, manifest, [path.key for path in manifest.paths()])


def _lineage(store: Store, manifest: PipelineManifest, keys: Iterable[str]) -> Lineage:
    builder = _Builder(store)
    with store.session():
        for key in keys:
            builder.add(manifest.node(store, key))
    return builder.result()

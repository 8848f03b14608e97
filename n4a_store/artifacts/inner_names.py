"""Names of dependencies that a pipeline's manifest does not hold as they were.

An artifact's tree knows its dependencies as objects, without ids. Those that stand in the same
manifest have their names there; the others' names are written into the links, so that they keep
them when their own pipeline is gone.
"""

from __future__ import annotations

from collections.abc import Mapping

from n4a_store.artifacts.graph import ArtifactNode, closure, walk
from n4a_store.objects.model import TreeEntry

__all__ = ["InnerNames"]


class InnerNames:
    """Which dependencies have their names in the manifest, and the names of the others."""

    def __init__(self, pipeline_id: str, children: Mapping[str, TreeEntry]) -> None:
        self._prefix = pipeline_id + ":"
        self._children = children
        self._complete: dict[ArtifactNode, bool] = {}  # by the node itself, not by what it says

    def missing(self, node: ArtifactNode) -> dict[str, tuple[str, ...]]:
        """The names below ``node`` that the manifest does not hold, by tree.

        Cheap for a node whose children were asked about before.
        """
        if not node.children:
            self._complete[node] = True
        elif self._complete.keys() >= set(node.children):
            self._note(node)
        else:
            for at in walk(node):
                self._note(at)
        if self._complete[node]:
            return {}
        return {
            at.tree.hex: tuple(child.artifact_id for child in at.children)
            for at in closure(node)
            if at.children and not self._holds(at)
        }

    def _note(self, node: ArtifactNode) -> None:
        self._complete[node] = all(
            self._complete.get(child) and self._holds(child) for child in node.children
        )

    def _holds(self, node: ArtifactNode) -> bool:
        if not node.artifact_id.startswith(self._prefix):
            return False
        entry = self._children.get(node.artifact_id.removeprefix(self._prefix))
        return entry is not None and entry.oid.raw == node.tree.raw

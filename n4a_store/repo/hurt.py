"""Whom does damage hurt? From damaged objects to the refs and paths that need them.

The walk visits each tree once and remembers which of them lead to damage; only along those does
it spell out names. An object that has all the paths it may have is no damage any more, and a tree
leads nowhere once all below it is so. So the cost on a large store is a walk or two over its trees,
however many paths there are, paid only when something is wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from n4a_store.errors import CorruptionError
from n4a_store.objects.children import named_children
from n4a_store.objects.oid import Kind
from n4a_store.packs.id_table import IdTable
from n4a_store.repo.mark import Marker
from n4a_store.repo.roots import Root

__all__ = ["find_hurt"]

_MOST_PATHS = 100


def find_hurt(
    marker: Marker, roots: Iterable[Root], damaged: Collection[bytes]
) -> dict[bytes, list[str]]:
    """For each damaged object, the refs and paths that need it, sorted; at most 100 an object."""
    walk = _Walk(marker, frozenset(damaged))
    found: dict[bytes, set[str]] = {oid: set() for oid in damaged}
    for root in roots:
        if not walk.room:
            break
        if walk.leads_to_damage(root.kind, root.oid):
            walk.spell(root.kind, root.oid, root.name, found)
    return {oid: sorted(paths) for oid, paths in found.items()}


class _Walk:
    def __init__(self, marker: Marker, damaged: frozenset[bytes]) -> None:
        self._marker = marker
        self._damaged = damaged
        self.room = len(damaged)  # how many damaged objects may have more paths
        self._leads = IdTable()  # 1 for what leads to one of these, 0 for trees that do not
        for oid in damaged:
            self._leads[oid] = 1

    def _children(self, kind: int, oid: bytes) -> list[tuple[str, int, bytes]]:
        """Name, kind and id of each child; none of a blob, or of what cannot be read."""
        if kind == Kind.BLOB or oid in self._damaged:
            return []
        place = self._marker.locate(oid)
        if place is None:
            return []
        try:
            # Shard nodes are scaffolding: their one-digit names are no part of a path.
            return named_children(*place[0].read_at(place[1]))
        except CorruptionError:
            return []

    def leads_to_damage(self, kind: int, oid: bytes) -> bool:
        """Whether anything damaged can be reached from here; iterative, so depth is no limit."""
        # A tree is looked at again when all below it has been: then with the ids of its children.
        stack: list[tuple[int, bytes, list[bytes] | None]] = [(kind, oid, None)]
        while stack:
            at_kind, at, below = stack.pop()
            if below is not None:
                self._leads[at] = any(self._leads.get(child) for child in below)
                continue
            if at_kind == Kind.BLOB or at in self._leads:
                continue
            children = self._children(at_kind, at)
            stack.append((at_kind, at, [child for _, _, child in children]))
            stack.extend(
                (child_kind, child, None)
                for _, child_kind, child in children
                if child_kind != Kind.BLOB and child not in self._leads
            )
        return bool(self._leads.get(oid))

    def spell(self, kind: int, oid: bytes, name: str, found: dict[bytes, set[str]]) -> None:
        """Write down the paths from a root to the damage below it."""
        # As above: a tree is looked at again when all below it has been spelt.
        stack: list[tuple[int, bytes, str, list[bytes] | None]] = [(kind, oid, "", None)]
        while stack:
            at_kind, at, path, below = stack.pop()
            if below is not None:
                self._leads[at] = any(self._leads.get(child) for child in below)
            elif not self._leads.get(at):
                continue  # not since it was put there
            elif at in self._damaged:
                paths = found[at]
                paths.add(f"{name}:{path}" if path else name)
                if len(paths) >= _MOST_PATHS:
                    self._leads[at] = 0
                    self.room -= 1
            else:
                children = [one for one in self._children(at_kind, at) if self._leads.get(one[2])]
                stack.append((at_kind, at, path, [child for _, _, child in children]))
                for child_name, child_kind, child in children:
                    longer = "/".join(part for part in (path, child_name) if part)
                    stack.append((child_kind, child, longer, None))

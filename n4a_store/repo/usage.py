"""What each of several things costs: all that it reaches, and what only it reaches.

The second is what deleting it would free once the undo window has passed. Bytes are those in
packs, after compression; an object that two things reach frees nothing when one of them goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from n4a_store.objects.model import TreeEntry
from n4a_store.repo.history import reach
from n4a_store.repo.store import Store

__all__ = ["Usage", "usage", "usage_of"]

_SHARED = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one thing costs.

    Args:
        objects, stored_bytes: All that it reaches.
        own_objects, own_bytes: What nothing else reaches.
    """

    name: str
    objects: int
    stored_bytes: int
    own_objects: int
    own_bytes: int


def usage_of(store: Store, name: str, entry: TreeEntry) -> Usage:
    """What one object costs: what would go if it went from everywhere.

    Raises:
        ObjectNotFoundError: Something reachable is missing.
        CorruptionError: A tree or run is damaged.
    """
    with store.session():
        sizes = {r.oid.raw: store.info(r.oid).stored_size for r in reach(store, [entry])}
        roots = [ref.entry for ref in store.refs()]
        own = sizes.keys() - {r.oid.raw for r in reach(store, roots, without=entry.oid)}
    return Usage(name, len(sizes), sum(sizes.values()), len(own), sum(sizes[raw] for raw in own))


def usage(
    store: Store, groups: Mapping[str, Iterable[TreeEntry]], others: Iterable[TreeEntry]
) -> list[Usage]:
    """What each group of roots costs; `others` are roots that stay whatever is deleted.

    Args:
        groups: Roots by the name of what they belong to.

    Raises:
        ObjectNotFoundError: Something reachable is missing.
        CorruptionError: A tree or run is damaged.
    """
    owner: dict[bytes, str] = {}
    sizes: dict[bytes, int] = {}
    totals: dict[str, list[int]] = {name: [0, 0] for name in groups}
    with store.session():
        for name, roots in (*groups.items(), (_SHARED, others)):
            for reached in reach(store, roots):
                raw = reached.oid.raw
                known = owner.setdefault(raw, name)
                if known != name:
                    owner[raw] = _SHARED
                if name == _SHARED:
                    continue
                if raw not in sizes:
                    sizes[raw] = store.info(reached.oid).stored_size
                totals[name][0] += 1
                totals[name][1] += sizes[raw]
    own: dict[str, list[int]] = {name: [0, 0] for name in groups}
    for raw, name in owner.items():
        if name != _SHARED:
            own[name][0] += 1
            own[name][1] += sizes[raw]
    return [Usage(name, *totals[name], *own[name]) for name in groups]

"""What each of several things costs: all that it reaches, and what only it reaches.

The second is what deleting it would free once the undo window has passed. Bytes are those in
packs, after compression; an object that two things reach frees nothing when one of them goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from n4a_store.objects.model import TreeEntry
from n4a_store.packs.id_table import IdTable
from n4a_store.repo.history import reach
from n4a_store.repo.store import Store

__all__ = ["Usage", "usage", "usage_of"]

_SHARED = 2**32  # in the place of the number of one group


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
        sizes = IdTable()
        objects = size = 0
        for reached in reach(store, [entry]):
            sizes[reached.oid.raw] = stored = store.info(reached.oid).stored_size
            objects, size = objects + 1, size + stored
        own, own_size = objects, size
        roots = [ref.entry for ref in store.refs()]
        for reached in reach(store, roots, without=entry.oid):
            shared = sizes.get(reached.oid.raw)
            if shared is not None:
                own, own_size = own - 1, own_size - shared
    return Usage(name, objects, size, own, own_size)


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
    owner, sizes = IdTable(), IdTable()
    names = list(groups)
    totals = [[0, 0] for _ in names]
    own = [[0, 0] for _ in names]

    def count(sums: list[int], sign: int, size: int) -> None:
        sums[0] += sign
        sums[1] += sign * size

    with store.session():
        for number, name in enumerate(names):
            for reached in reach(store, groups[name]):
                raw = reached.oid.raw
                first = owner.get(raw)
                if first is None:
                    owner[raw] = number
                    sizes[raw] = store.info(reached.oid).stored_size
                    count(own[number], 1, sizes[raw])
                elif first != _SHARED:
                    owner[raw] = _SHARED
                    count(own[first], -1, sizes[raw])
                count(totals[number], 1, sizes[raw])
        for reached in reach(store, others):
            first = owner.get(reached.oid.raw)
            if first is not None and first != _SHARED:
                owner[reached.oid.raw] = _SHARED
                count(own[first], -1, sizes[reached.oid.raw])
    return [Usage(name, *totals[number], *own[number]) for number, name in enumerate(names)]

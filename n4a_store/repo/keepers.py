"""Why is this object still here? The refs and paths that lead to it."""

from __future__ import annotations

from dataclasses import dataclass

from n4a_store.objects.oid import ObjectId
from n4a_store.repo.hurt import find_hurt
from n4a_store.repo.reachability import preview
from n4a_store.repo.roots import living_roots, undo_roots
from n4a_store.repo.store import Store

__all__ = ["Keepers", "find_keepers"]


@dataclass(frozen=True, slots=True)
class Keepers:
    """What keeps an object.

    Args:
        refs: Refs, with the path below them, `refs/runs/x:0001_pls/artifacts/3:all`.
        undo: Only the reflog's: paths that are kept until the undo window has passed.
    """

    refs: tuple[str, ...]
    undo: tuple[str, ...]

    @property
    def is_orphan(self) -> bool:
        """Whether no ref leads to it."""
        return not self.refs


def find_keepers(store: Store, oid: ObjectId) -> Keepers:
    """Every path from a root to `oid`, at most 100 of each kind.

    Raises:
        ObjectNotFoundError: There is no such object.
        CorruptionError: Something reachable is damaged.
    """
    store.kind(oid)
    with store.session():
        found = preview(store)
        with store.catalog.read() as reader:
            living = list(living_roots(reader))
            undo = list(undo_roots(reader, None))
        refs = find_hurt(found.kept, living, {oid.raw})[oid.raw]
        kept = find_hurt(found.kept, undo, {oid.raw})[oid.raw] if not refs else []
    return Keepers(tuple(refs), tuple(kept))

"""What a writer of a torture holds: refs of its own, and entries of the ref that all share.

Nobody else touches either, so the writer's ledger alone says what they must be. An entry goes by
the name of the shared ref with its own below it, which is the name of no ref.
"""

from __future__ import annotations

from n4a_store.objects.model import TreeEntry
from n4a_store.repo.store import Store

__all__ = ["SHARED", "held_by", "shared_key", "writer_prefix"]

SHARED = "refs/tags/shared"


def writer_prefix(slot: str) -> str:
    """Where a writer's own refs stand."""
    return f"refs/tags/{slot}/"


def shared_key(slot: str, number: int) -> str:
    """The name, in the tree of the shared ref, of one of a writer's entries."""
    return f"{_shared_prefix(slot)}{number}"


def _shared_prefix(slot: str) -> str:
    return f"{slot}."


def held_by(store: Store, slot: str) -> dict[str, TreeEntry]:
    """All that a writer holds now, by name."""
    with store.session():  # between a ref and what it names there is time for a whole gc
        held = {ref.name: ref.entry for ref in store.refs(writer_prefix(slot))}
        shared = store.find_ref(SHARED)
        if shared is not None:
            entries = store.get_tree(shared.oid).entries.items()
            own = _shared_prefix(slot)
            held.update((f"{SHARED}/{name}", one) for name, one in entries if name.startswith(own))
        return held

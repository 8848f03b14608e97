"""The way on from damage: for each finding of fsck what to do about it, as commands.

A backup comes first, for it loses nothing. Whoever has none is told how to keep what is whole, and
then how to let go of what is not, so that the store is clean again and gc may run. No hint leads
back to fsck: who reads it has just run that.
"""

from __future__ import annotations

from collections.abc import Collection

from n4a_store.storage.layout import PACK_SUFFIX

__all__ = [
    "AFTER_THE_PACKS",
    "for_damaged_index",
    "for_damaged_object",
    "for_damaged_pack",
    "for_lost_objects",
    "for_missing_pack",
    "to_remove",
]

AFTER_THE_PACKS = "see to the packs above first: it may be in one of them"
_FROM_BACKUP = "from a backup (docs/howto/backup.md)"
_GC = "n4a-store artifacts gc --now --force"
_MOST_NAMES = 20
_PIPELINES, _RUNS = "refs/pipelines/", "refs/runs/"


def _put_back(pack_id: str) -> str:
    return f"put packs/{pack_id}{PACK_SUFFIX} back {_FROM_BACKUP}"


def for_missing_pack(pack_id: str) -> str:
    """A pack that the catalog lists is not on the disk."""
    return (
        f"{_put_back(pack_id)}; without one, n4a-store index-pack --unlisted goes on without it, "
        "and what it held is missing"
    )


def for_damaged_pack(pack_id: str) -> str:
    """A pack cannot be opened."""
    return f"{_put_back(pack_id)}; without one, n4a-store index-pack {pack_id} keeps what is whole"


def for_damaged_index(pack_id: str) -> str:
    """The index of a pack is damaged; the objects need not be."""
    return f"n4a-store index-pack {pack_id} builds it anew; or {_put_back(pack_id)}"


def for_damaged_object(pack_id: str) -> str:
    """An object cannot be read; its neighbours in the pack can."""
    return (
        f"n4a-store index-pack {pack_id} keeps what is whole of this pack; to lose nothing, "
        f"{_put_back(pack_id)} instead"
    )


def for_lost_objects(hurts: Collection[str]) -> str:
    """Reachable objects are in no pack that can be read.

    Args:
        hurts: The refs and reflog entries that need any of them, with the paths below them.
    """
    back = f"put the packs that held what is lost back {_FROM_BACKUP}"
    names = to_remove(hurts)
    if not names:
        return f"{back}; without one, forget the undo that needs it: {_GC}"
    if len(names) > _MOST_NAMES:
        names = ["NAME..."]  # too many for a line: they are listed as hurt
    remove = f"n4a-store artifacts rm {' '.join(names)} --force"
    return f"{back}; without one, remove what is hurt: {remove}, then {_GC}"


def to_remove(hurts: Collection[str]) -> list[str]:
    """The fewest refs that have to go so that nothing living needs what ``hurts`` lead to.

    Removing a pipeline takes it out of its runs; a run goes whole only when it holds another
    version of the pipeline than the one that its ref names.
    """
    paths = [hurt.partition(":")[::2] for hurt in hurts]
    living = [(ref, path) for ref, path in paths if "@{" not in ref]
    pipelines = {ref.removeprefix(_PIPELINES) for ref, _ in living if ref.startswith(_PIPELINES)}
    return sorted(
        {
            ref
            for ref, path in living
            if not (ref.startswith(_RUNS) and path.partition("/")[0] in pipelines)
        }
    )

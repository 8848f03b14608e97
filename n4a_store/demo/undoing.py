"""Delete a pipeline, ask gc what it would do, take the deletion back: nothing is lost by a slip."""

from __future__ import annotations

from dataclasses import dataclass

from n4a_store.artifacts.removal import remove
from n4a_store.artifacts.tags import set_tag
from n4a_store.artifacts.workspace import Workspace
from n4a_store.repo.history import reach
from n4a_store.repo.reachability import preview
from n4a_store.repo.store import Store
from n4a_store.repo.undo import undo

__all__ = ["BEST", "Undoing", "delete_and_undo", "tag_best"]

BEST = "best"
_PIPELINES = "refs/pipelines/"


@dataclass(frozen=True, slots=True)
class Undoing:
    """What became of a deletion.

    Args:
        pipeline: What was deleted.
        moved: How many refs that moved.
        lost: Objects of it that a gc would have dropped then.
        kept, kept_bytes: Objects that it would have kept for undo, and what they take on disk.
        restored: Whether undo put every ref back where it was.
    """

    pipeline: str
    moved: int
    lost: int
    kept: int
    kept_bytes: int
    restored: bool


def tag_best(workspace: Workspace, dataset: str, pipeline: str) -> None:
    """Point the dataset's tag `best` at a pipeline."""
    with workspace.store(dataset) as store:
        set_tag(store, BEST, pipeline, move=True)


def delete_and_undo(workspace: Workspace, dataset: str) -> Undoing:
    """Delete the last pipeline of a dataset that is not the best one, and take that back."""
    with workspace.store(dataset) as store:
        before = _refs(store)
        best = before[f"refs/tags/{BEST}"]
        name = max(n for n, oid in before.items() if n.startswith(_PIPELINES) and oid != best)
        with store.session():
            needs = [found.oid.raw for found in reach(store, [store.resolve_entry(name)])]
        removal = remove(store, [name], dry_run=False)
        with store.session():
            found = preview(store)  # what gc goes by
            _, undoable = found.totals()
            lost = sum(not found.kept.is_marked(oid) for oid in needs)
        undo(store, removal.op)
        return Undoing(
            name.removeprefix(_PIPELINES),
            len(removal.moves),
            lost,
            undoable.objects,
            undoable.stored_bytes,
            _refs(store) == before,
        )


def _refs(store: Store) -> dict[str, str]:
    return {ref.name: ref.oid.hex for ref in store.refs()}

"""What `rm` and `purge` show alike: the refs that go and what that frees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from n4a_store.cli.context import App, Dataset
from n4a_store.cli.porcelain.reclaim import NOTHING_CHANGED
from n4a_store.cli.render import Span
from n4a_store.cli.terminal import human_size

if TYPE_CHECKING:
    from n4a_store.artifacts.removal import Removal


def show_removal(
    app: App, dataset: Dataset, removal: Removal, *, freed_now: int | None = None
) -> None:
    """What a removal did, or would do; `freed_now` when its space was freed at once."""
    done = removal.op is not None
    for move in removal.moves:
        if move.new is None:
            app.out.line(Span("removed" if done else "would remove", "red"), f"  {move.ref}")
        else:
            app.out.line(Span("changed" if done else "would change", "yellow"), f"  {move.ref}")
    if freed_now is not None:
        app.out.line(f"freed {human_size(freed_now)}; undo cannot take this back")
        return
    app.out.line(
        f"{'frees' if done else 'would free'} {removal.freed_objects} objects, "
        f"{human_size(removal.freed_bytes)}, with the first gc after the undo window"
    )
    if done:
        app.out.note(
            f"take it back with: n4a-store artifacts undo -d {dataset.name} --op {removal.op}"
        )
    else:
        app.out.note(NOTHING_CHANGED)

"""What `rm` and `purge` do alike: the refs that go, the readable manifests, what that frees.

The manifests are found before a ref moves, so that whatever cannot be read stops all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from n4a_store import errors
from n4a_store.cli.context import App, Dataset
from n4a_store.cli.exit_codes import ExitCode
from n4a_store.cli.porcelain.reclaim import NOTHING_CHANGED
from n4a_store.cli.render import Span
from n4a_store.cli.terminal import counted, human_size

if TYPE_CHECKING:
    from pathlib import Path

    from n4a_store.artifacts.removal import Removal


def renditions(
    app: App, dataset: Dataset, wanted: Callable[[str, str], bool] = lambda *_: True
) -> list[Path]:
    """The readable manifests that go; none for a store that belongs to no workspace.

    Raises:
        BackendError: A folder cannot be read: then nothing is removed.
    """
    from n4a_store.artifacts.manifest_files import find_renditions
    from n4a_store.storage.layout import WorkspaceLayout

    layout = WorkspaceLayout(app.workspace_path())
    if layout.store(dataset.name).absolute() != dataset.store.path.absolute():
        return []
    return find_renditions(layout, dataset.name, wanted)


def remove_found(app: App, found: list[Path]) -> None:
    """Remove the readable manifests; the refs are gone by now, so a failure is partly done."""
    if not found:
        return
    from n4a_store.artifacts.manifest_files import remove_renditions
    from n4a_store.storage.layout import WorkspaceLayout

    try:
        remove_renditions(WorkspaceLayout(app.workspace_path()), found)
    except errors.BackendError as error:
        app.out.warning(f"a readable manifest is still there: {error.message}", error.hint)
        app.exit_code = ExitCode.PARTIAL


def show_removal(
    app: App,
    dataset: Dataset,
    removal: Removal,
    found: list[Path],
    *,
    done: bool,
    freed_now: int | None = None,
) -> None:
    """What a removal did, or would do; `freed_now` when its space was freed at once."""
    if done and not removal.moves and not found:
        app.out.note(f"nothing to remove: {dataset.name} holds no run, pipeline or tag")
    for move in removal.moves:
        if move.new is None:
            app.out.line(Span("removed" if done else "would remove", "red"), f"  {move.ref}")
        else:
            app.out.line(Span("changed" if done else "would change", "yellow"), f"  {move.ref}")
    if found:
        verb = Span("removed" if done else "would remove", "red")
        app.out.line(verb, f"  {len(found)} readable manifests under runs/{dataset.name}")
    if freed_now is not None:
        app.out.line(f"freed {human_size(freed_now)}; undo cannot take this back")
        return
    if done and removal.op is None:
        return
    if removal.reached_objects:
        app.out.line(
            f"{'frees' if done else 'would free'} {counted(removal.freed_objects, 'objects')}, "
            f"{human_size(removal.freed_bytes)}, with the first gc after the undo window"
        )
    if done:
        undo = f"n4a-store artifacts undo --op {removal.op}"
        app.out.note(f"take it back with: {app.located(undo, dataset.name)}")
    else:
        app.out.note(NOTHING_CHANGED)

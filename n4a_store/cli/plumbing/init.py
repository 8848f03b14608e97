"""`init`: an empty store."""

from __future__ import annotations

from pathlib import Path

import click

from n4a_store import errors
from n4a_store.cli.command import plumbing
from n4a_store.cli.context import App


@plumbing("init")
@click.argument("path", required=False)
def command(app: App, path: str | None) -> None:
    """Create an empty store.

    At PATH (or --store), a store of its own; with -d, the store of that dataset in the
    workspace, which is created if need be.
    """
    options = app.options
    named = [value for value in (path, options.store, options.dataset) if value is not None]
    if len(named) != 1:
        raise errors.InvalidInputError(
            "say where: one of PATH, --store PATH and -d NAME",
            hint="'n4a-store init PATH' makes a store of its own, 'n4a-store -w WS -d NAME init' "
            "one in a workspace",
        )
    where = _standalone(Path(named[0])) if options.dataset is None else _dataset(app)
    if app.json:
        app.out.json("init", {"path": where})
    else:
        app.out.note(f"created an empty store in {where}")


def _standalone(path: Path) -> Path:
    from n4a_store.repo.store import Store

    with Store.init(path) as store:
        return Path(store.path)


def _dataset(app: App) -> Path:
    from n4a_store.artifacts.workspace import Workspace

    assert app.options.dataset is not None
    workspace = Workspace(app.workspace_path())
    name = app.options.dataset
    if workspace.path.is_dir() and name in workspace.datasets():
        raise errors.InvalidInputError(
            f"the workspace '{workspace.path}' already has the dataset '{name}'",
            hint=f"'n4a-store -w {workspace.path} -d {name} count-objects' looks at it",
        )
    with workspace.create(name) as store:
        return Path(store.path)

"""`artifacts import`: take a bundle into a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from n4a_store import errors
from n4a_store.cli.command import porcelain
from n4a_store.cli.context import App
from n4a_store.cli.progress import progress
from n4a_store.cli.terminal import human_size

if TYPE_CHECKING:
    from n4a_store.repo.store import Store


@porcelain("import")
@click.option("-f", "--force", is_flag=True, help="Replace pipelines, runs and tags of the name.")
@click.option("--trust", is_flag=True, help="Let it be loaded like what was trained here.")
@click.option("--create", is_flag=True, help="Create the dataset if it does not exist.")
@click.argument("file", type=click.Path(dir_okay=False))
def command(app: App, force: bool, trust: bool, create: bool, file: str) -> None:
    """Take a bundle into a dataset.

    Every byte is verified before a ref is set. Loading a model can run code that its maker
    chose: what is imported loads only with trust, unless --trust is given here. An interrupted
    import can be repeated. Without -d, the dataset is the one that the bundle came from.
    """
    from n4a_store.artifacts.bundle import check_bundle, import_bundle, open_bundle

    # A file that is no good must not leave an empty dataset behind.
    bundle = (check_bundle if create else open_bundle)(Path(file))
    dataset = app.options.dataset or bundle.dataset
    store = _store(app, dataset, create=create)
    with progress(app, "importing") as report:
        done = import_bundle(store, Path(file), replace_refs=force, trusted=trust, progress=report)
    if app.json:
        app.out.json("artifacts import", {"dataset": dataset, "imported": done})
        return
    for ref in done.refs:
        app.out.line(ref)
    received = done.received
    app.out.note(
        f"{received.objects} objects read, {received.added} added, "
        f"{human_size(received.size)} verified, into {dataset}"
    )
    if not done.trusted:
        app.out.note("loading what was imported asks for trust")


def _store(app: App, dataset: str, *, create: bool) -> Store:
    if app.options.store is not None:
        return app.store()
    if create:
        from n4a_store.artifacts.workspace import Workspace

        return app.opened(Workspace(app.workspace_path()).create(dataset))
    try:
        return app.named_dataset(dataset).store
    except errors.StoreNotFoundError as error:
        meant = error.hint if error.hint and "did you mean" in error.hint else ""
        error.hint = f"{meant} --create makes it".strip()
        raise

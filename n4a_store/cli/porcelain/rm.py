"""`artifacts rm`: take runs, pipelines and tags away."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from n4a_store.cli.command import porcelain
from n4a_store.cli.complete import names as complete_names
from n4a_store.cli.context import App
from n4a_store.cli.porcelain.removing import remove_found, renditions, show_removal
from n4a_store.cli.resolve import hinted

if TYPE_CHECKING:
    from n4a_store.repo.store import Store


@porcelain("rm")
@click.option("-f", "--force", is_flag=True, help="Do it; without this, only preview.")
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_names)
def command(app: App, force: bool, names: tuple[str, ...]) -> None:
    """Remove runs, pipelines and tags.

    All NAMEs go in one operation, which undo takes back. A pipeline is taken out of every run
    that holds it. Artifacts that anything else needs stay whole: a stacked model keeps its
    sources. Disk space comes back with the first gc after the undo window. The readable
    manifests under runs/ go too.
    """
    from n4a_store.artifacts.removal import remove

    dataset = app.dataset()
    with hinted(dataset.store, next((n for n in names if not _known(dataset.store, n)), names[0])):
        # Looked at first: a folder of manifests that cannot be read stops all of it.
        found = renditions(app, dataset, _meant(dataset.store, names))
        removal = remove(dataset.store, names, dry_run=not force)
    if force:
        remove_found(app, found)
    if app.json:
        fields = {"dataset": dataset.name, "dry_run": not force, "removal": removal}
        app.out.json("artifacts rm", fields | {"manifests": [str(path) for path in found]})
    else:
        show_removal(app, dataset, removal, found, done=force)


def _known(store: Store, name: str) -> bool:
    from n4a_store.repo.revision import expand_ref

    return expand_ref(store, name) is not None


def _meant(store: Store, names: tuple[str, ...]) -> Callable[[str, str], bool]:
    """Whether a run and a pipeline have a readable manifest that goes with `names`."""
    from n4a_store.repo.revision import expand_ref

    refs = {expand_ref(store, name) for name in names}
    return lambda run, pipeline: f"refs/runs/{run}" in refs or f"refs/pipelines/{pipeline}" in refs

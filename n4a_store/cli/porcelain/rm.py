"""`artifacts rm`: take runs, pipelines and tags away."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from n4a_store import errors
from n4a_store.cli.command import porcelain
from n4a_store.cli.complete import names as complete_names
from n4a_store.cli.context import App
from n4a_store.cli.porcelain.reclaim import dry_run_option, refuse_both
from n4a_store.cli.porcelain.removing import remove_found, renditions, show_removal
from n4a_store.cli.resolve import hinted

if TYPE_CHECKING:
    from n4a_store.repo.store import Store


@porcelain("rm")
@click.option("-f", "--force", is_flag=True, help="Do it; without this, only preview.")
@dry_run_option
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_names)
def command(app: App, force: bool, dry_run: bool, names: tuple[str, ...]) -> None:
    """Remove runs, pipelines and tags.

    All NAMEs go in one operation, which undo takes back. A pipeline is taken out of every run
    that holds it. Artifacts that anything else needs stay whole: a stacked model keeps its
    sources. Disk space comes back with the first gc after the undo window. The readable
    manifests under runs/ go too.
    """
    from n4a_store.artifacts.removal import remove

    refuse_both(force=force, dry_run=dry_run)
    dataset = app.dataset()
    for name in names:
        _refuse_object(dataset.store, name)
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


def _refuse_object(store: Store, name: str) -> None:
    """Say what to do about a name that leads somewhere, but to nothing that can be removed."""
    if _known(store, name):
        return
    try:
        kind = store.resolve_entry(name).kind.label
    except errors.StoreError:
        return  # what it lacks is said better where it is looked for
    base, colon, _ = name.partition(":")
    if colon:
        raise errors.InvalidInputError(
            f"'{name}' is no run, pipeline or tag, but a part of '{base}'",
            hint=f"'n4a-store artifacts rm {base}' removes it with all its parts",
        )
    raise errors.InvalidInputError(
        f"'{name}' is no run, pipeline or tag, but a {kind}",
        hint=f"gc drops it when nothing keeps it; 'n4a-store artifacts why {name}' says what does",
    )


def _known(store: Store, name: str) -> bool:
    from n4a_store.repo.revision import expand_ref

    return expand_ref(store, name) is not None


def _meant(store: Store, names: tuple[str, ...]) -> Callable[[str, str], bool]:
    """Whether a run and a pipeline have a readable manifest that goes with `names`."""
    from n4a_store.repo.revision import expand_ref

    refs = {expand_ref(store, name) for name in names}
    return lambda run, pipeline: f"refs/runs/{run}" in refs or f"refs/pipelines/{pipeline}" in refs

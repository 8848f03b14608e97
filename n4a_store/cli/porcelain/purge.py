"""`artifacts purge`: take everything of one dataset away."""

from __future__ import annotations

import sys

import click

from n4a_store import errors
from n4a_store.cli.command import porcelain
from n4a_store.cli.context import App
from n4a_store.cli.porcelain.reclaim import dry_run_option, note_pending, refuse_both
from n4a_store.cli.porcelain.removing import remove_found, renditions, show_removal
from n4a_store.cli.terminal import safe


@porcelain("purge")
@click.option("-f", "--force", is_flag=True, help="Do it; without this, only preview.")
@dry_run_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--now", is_flag=True, help="Free the space at once; undo cannot take it back.")
def command(app: App, force: bool, dry_run: bool, yes: bool, now: bool) -> None:
    """Remove all runs, pipelines and tags of one dataset.

    The dataset must be named with -d. No other dataset is touched. Until the undo window has
    passed, undo takes it back, unless --now is given. The readable manifests under runs/ go too;
    'n4a-store artifacts manifest' prints them again after an undo.
    """
    from n4a_store.artifacts.removal import remove_everything
    from n4a_store.repo.gc import collect

    refuse_both(force=force, dry_run=dry_run)
    if app.options.dataset is None and app.options.store is None:
        raise errors.InvalidInputError(
            "purge needs the dataset by name", hint="pass -d NAME; 'artifacts stats' lists them"
        )
    dataset = app.dataset()
    if force and not yes:
        _ask(app, dataset.name)
    found = renditions(app, dataset)
    removal = remove_everything(
        dataset.store, dry_run=not force, collects=force and now, expire_now=now
    )
    if force:
        remove_found(app, found)
    report = collect(dataset.store, expire_now=True) if force and now else None
    if app.json:
        fields = {"dataset": dataset.name, "dry_run": not force, "removal": removal}
        fields["manifests"] = [str(path) for path in found]
        app.out.json("artifacts purge", fields | {"gc": report})
        return
    freed = report.bytes_freed if report else None
    show_removal(app, dataset, removal, found, done=force, freed_now=freed)
    if report is not None:
        note_pending(app, report)


def _ask(app: App, dataset: str) -> None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise errors.InvalidInputError(
            f"purging '{dataset}' needs a yes, and this is not a terminal",
            hint="pass -y if you are sure",
        )
    # Not click.confirm, which makes one of a no, of an end of input and of an interruption.
    app.out.stderr.write(f"Remove everything of dataset '{safe(dataset)}'? [y/N]: ")
    app.out.stderr.flush()
    answer = sys.stdin.readline()
    if not answer:
        app.out.stderr.write("\n")
    if answer.strip().lower() not in ("y", "yes"):
        raise errors.InvalidInputError(
            "the answer was not yes: nothing was removed",
            hint="without --force, purge only previews",
        )

"""`artifacts cleanup`: gc for one dataset, with the list of what goes."""

from __future__ import annotations

import click

from n4a_store.cli.command import porcelain
from n4a_store.cli.context import App
from n4a_store.cli.porcelain.reclaim import (
    NOTHING_CHANGED,
    dry_run_option,
    list_orphans,
    refuse_both,
)
from n4a_store.cli.progress import marking, progress
from n4a_store.cli.terminal import counted, human_size


@porcelain("cleanup")
@click.option("-f", "--force", is_flag=True, help="Do it; without this, only preview.")
@dry_run_option
@click.option("--now", is_flag=True, help="Delete what undo could bring back, too.")
def command(app: App, force: bool, dry_run: bool, now: bool) -> None:
    """Delete the orphaned artifacts of a dataset.

    The same as gc for the dataset that -d names (or the only one), with every artifact that
    goes by name. Artifacts that undo can bring back stay unless --now is given.
    """
    from n4a_store.artifacts.orphans import find_orphans
    from n4a_store.repo.gc import collect

    refuse_both(force=force, dry_run=dry_run)
    dataset = app.dataset()
    with marking(app, dataset.name) as marked:
        found = find_orphans(dataset.store, expire_now=now, progress=marked)
    going = [orphan for orphan in found.artifacts if now or not orphan.undoable]
    with (
        marking(app, dataset.name) as marked,
        progress(app, f"cleaning up {dataset.name}") as shown,
    ):
        report = collect(
            dataset.store, dry_run=not force, expire_now=now, progress=shown, marking=marked
        )
    if app.json:
        fields = {"dataset": dataset.name, "dry_run": not force, "artifacts": going}
        app.out.json("artifacts cleanup", fields | {"report": report})
        return
    list_orphans(app, going)
    verb = "deleted" if force else "would delete"
    taken = human_size(report.unreachable.stored_bytes)
    objects = counted(report.unreachable.objects, "objects")
    app.out.line(f"{verb} {counted(len(going), 'artifacts')}, {objects}, {taken}")
    if not force:
        app.out.note(NOTHING_CHANGED)

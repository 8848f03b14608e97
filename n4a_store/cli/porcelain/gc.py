"""`artifacts gc`: drop what nothing reaches any more."""

from __future__ import annotations

import click

from n4a_store.cli.command import porcelain
from n4a_store.cli.context import App
from n4a_store.cli.porcelain.reclaim import (
    NOTHING_CHANGED,
    dry_run_option,
    refuse_both,
    show_done,
    show_preview,
)
from n4a_store.cli.progress import marking, progress
from n4a_store.cli.render import Span


@porcelain("gc")
@click.option("-f", "--force", is_flag=True, help="Do it; without this, only preview.")
@dry_run_option
@click.option("--now", is_flag=True, help="Drop what undo could bring back, too.")
def command(app: App, force: bool, dry_run: bool, now: bool) -> None:
    """Drop what nothing reaches any more.

    Safe beside running writers and readers. What undo can still bring back is kept for the
    undo window (14 days unless configured) unless --now is given. Without -d, every dataset is
    collected.
    """
    from n4a_store.artifacts.orphans import find_orphans
    from n4a_store.repo.gc import collect

    refuse_both(force=force, dry_run=dry_run)
    rows: list[dict[str, object]] = []
    datasets = app.datasets()
    for dataset in datasets:
        with app.attempt(dataset.name):
            store = dataset.store
            orphans = None
            if not force:
                with marking(app, dataset.name) as marked:
                    orphans = find_orphans(store, expire_now=now, progress=marked)
            with (
                marking(app, dataset.name) as marked,
                progress(app, f"collecting {dataset.name}") as shown,
            ):
                report = collect(
                    store, dry_run=not force, expire_now=now, progress=shown, marking=marked
                )
            if app.json:
                rows.append({"dataset": dataset.name, "report": report, "orphans": orphans})
                continue
            if len(datasets) > 1 or app.failed:
                app.out.line(Span(dataset.name, "bold"))
            if orphans is None:
                show_done(app, report)
            else:
                show_preview(app, dataset, report, orphans)
    if app.json:
        app.out.json("artifacts gc", {"dry_run": not force, "datasets": rows})
    elif not force:
        app.out.note(NOTHING_CHANGED)

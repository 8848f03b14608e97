"""`prune`: gc's plumbing, one store, at once."""

from __future__ import annotations

import click

from n4a_store.cli.command import plumbing
from n4a_store.cli.context import App
from n4a_store.cli.progress import marking, progress


@plumbing("prune")
@click.option("-n", "--dry-run", is_flag=True, help="Only count what would go.")
@click.option("--now", is_flag=True, help="Drop what only undo keeps, too.")
@click.option("--thorough", is_flag=True, help="Rewrite packs that hold any garbage at all.")
def command(app: App, dry_run: bool, now: bool, thorough: bool) -> None:
    """Drop what nothing reaches any more.

    Safe beside running writers and readers. Prints 'key: value' lines; sizes are in bytes.
    What a living lease pins stays, and goes with a later prune. 'n4a-store artifacts gc' is
    the same with a preview and names.
    """
    from n4a_store.repo.gc import collect

    store = app.store()
    with (
        marking(app, "the store") as marked,
        progress(app, "pruning") as shown,
    ):
        report = collect(
            store,
            dry_run=dry_run,
            expire_now=now,
            thorough=thorough,
            progress=shown,
            marking=marked,
        )
    if app.json:
        app.out.json("prune", {"report": report})
        return
    rows = {
        "reachable": report.reachable,
        "unreachable": report.unreachable.objects,
        "size-unreachable": report.unreachable.stored_bytes,
        "undoable": report.undoable.objects,
        "size-undoable": report.undoable.stored_bytes,
        "packs-condemned": len(report.condemned),
        "packs-rewritten": len(report.rewritten),
        "packs-dropped": len(report.dropped),
        "packs-pending": len(report.pending),
        "size-freed": report.bytes_freed,
        "size-written": report.bytes_written,
        "size-pending": report.bytes_pending,
        "packs-without-room": len(report.without_room),
        "reflog-expired": report.expired,
    }
    for key, value in rows.items():
        app.out.fields(f"{key}: {value}")

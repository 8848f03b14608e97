"""`artifacts list-orphaned`: artifacts that no ref reaches."""

from __future__ import annotations

from n4a_store.cli.command import porcelain
from n4a_store.cli.context import App
from n4a_store.cli.progress import marking
from n4a_store.cli.render import Column
from n4a_store.cli.terminal import human_size


@porcelain("list-orphaned")
def command(app: App) -> None:
    """List artifacts that no ref reaches.

    KEPT says "undo" for those that undo can still bring back; the others go with the next gc.
    """
    from n4a_store.artifacts.orphans import find_orphans

    reports = {}
    for dataset in app.datasets():
        with app.attempt(dataset.name), marking(app, dataset.name) as marked:
            reports[dataset.name] = find_orphans(dataset.store, progress=marked)
    if app.json:
        rows = [{"dataset": name, "orphans": report} for name, report in reports.items()]
        app.out.json("artifacts list-orphaned", {"datasets": rows})
        return
    table = [
        [
            orphan.tree.short(),
            name,
            orphan.type,
            orphan.class_name,
            human_size(orphan.stored_bytes),
            "undo" if orphan.undoable else "no",
            orphan.last_name,
        ]
        for name, report in reports.items()
        for orphan in report.artifacts
    ]
    if not table and app.failed:
        app.out.note("no orphaned artifacts in the other datasets")
        return
    if not table:
        app.out.note("no orphaned artifacts")
        return
    columns = [
        Column("TREE", style="yellow"),
        Column("DATASET", flexible=True),
        Column("TYPE"),
        Column("CLASS", flexible=True),
        Column("SIZE", right=True),
        Column("KEPT"),
        Column("LAST KNOWN AS", flexible=True, tail=True),
    ]
    app.out.table(columns, table)

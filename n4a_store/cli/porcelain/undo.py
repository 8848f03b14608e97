"""`artifacts undo`: take an operation back, whole."""

from __future__ import annotations

from itertools import groupby

import click

from n4a_store.cli.choices import Number
from n4a_store.cli.command import porcelain
from n4a_store.cli.complete import refs
from n4a_store.cli.context import App
from n4a_store.cli.resolve import hinted

_SHOWN_OPERATIONS = 20
_OPERATION = Number(1, hint="'n4a-store artifacts undo --list' lists the operations")


@porcelain("undo")
@click.option("--op", type=_OPERATION, metavar="N", help="The operation [default: newest].")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--list", "listing", is_flag=True, help="List what can be undone.")
@click.argument("ref", required=False, shell_complete=refs)
def command(app: App, op: int | None, dry_run: bool, listing: bool, ref: str | None) -> None:
    """Take back an operation that changed refs.

    Without --op, the newest one; with REF, the newest that changed this ref. All refs that the
    operation moved go back together. An undo is an operation too, so undoing twice restores.
    Each pipeline that a run completes is an operation, and so is the end of the run: --list
    shows the newest 20, with --verbose all.
    """
    from n4a_store.cli.plumbing.reflog import full_name
    from n4a_store.repo.undo import newest_undoable, undo

    dataset = app.dataset()
    store = dataset.store
    if listing:
        _list(app)
        return
    if ref is not None and op is None:
        with hinted(store, ref):
            known = full_name(store, ref)
        op = newest_undoable(store, known)
    done = undo(store, op, dry_run=dry_run)
    if app.json:
        moves = [{"ref": name, "old": old, "new": new} for name, old, new in done.refs]
        fields = {"dataset": dataset.name, "op": done.op, "by": done.by, "refs": moves}
        app.out.json("artifacts undo", fields)
        return
    app.out.line(f"{'would undo' if dry_run else 'undid'} operation {done.op}")
    for name, old, new in done.refs:
        was, now = ("gone" if side is None else side.oid.short() for side in (old, new))
        app.out.line(f"  {name}  {was} → {now}")
    if not dry_run:
        app.out.note(f"operation {done.by} did it; undo that to go forward again")


def _list(app: App) -> None:
    from n4a_store.cli.render import Column

    moves = app.store().reflog()
    if app.json:
        app.out.json("artifacts undo", {"moves": moves})
        return
    if not moves:
        app.out.note("nothing to undo")
        return
    moves.sort(key=lambda move: move.op, reverse=True)
    operations = [list(group) for _, group in groupby(moves, key=lambda move: move.op)]
    shown = operations if app.verbose else operations[:_SHOWN_OPERATIONS]
    columns = [
        Column("OP", right=True),
        Column("WHEN"),
        Column("ACTION"),
        Column("REFS", flexible=True, tail=True),
        Column("MESSAGE", flexible=True, tail=True),
    ]
    rows = []
    for first, *others in (sorted(group, key=lambda move: move.name) for group in shown):
        refs = f"{first.name} and {len(others)} more" if others else first.name
        rows.append([str(first.op), f"{first.at:%Y-%m-%d %H:%M}", first.action, refs])
        rows[-1].append(first.message)
    app.out.table(columns, rows)
    if len(shown) < len(operations):
        app.out.note(f"… {len(operations) - len(shown)} older: --verbose")

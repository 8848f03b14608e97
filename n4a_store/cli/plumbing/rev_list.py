"""`rev-list`: runs and their recorded parents; with `--objects`, all that they reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from n4a_store.cli.bulk import records
from n4a_store.cli.choices import HintedUsageError
from n4a_store.cli.command import plumbing
from n4a_store.cli.complete import names as complete_names
from n4a_store.cli.context import App

if TYPE_CHECKING:
    from n4a_store.objects.model import TreeEntry
    from n4a_store.repo.store import Store


@plumbing("rev-list")
@click.option("--all", "all_refs", is_flag=True, help="Begin at every ref.")
@click.option("--objects", is_flag=True, help="List every object reached, with its path.")
@click.option("--count", is_flag=True, help="Show only how many there are.")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read further names from stdin.")
@click.option("-z", "nul", is_flag=True, help="Names on stdin end with NUL.")
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_names)
def command(
    app: App,
    all_refs: bool,
    objects: bool,
    count: bool,
    from_stdin: bool,
    nul: bool,
    names: tuple[str, ...],
) -> None:
    """List runs and, with --objects, all that refs reach.

    Runs come newest first, each NAME's recorded parents included as far as they are still
    there. With --objects, lines read '<id> <path>'; every object comes once, and parents of
    runs are not followed: nothing in the store follows them.
    """
    from n4a_store.repo.history import reach, runs_back_from

    if not names and not all_refs and not from_stdin:
        raise HintedUsageError("missing argument 'NAME'", "pass --all to begin at every ref")
    store = app.store()
    if from_stdin:
        names = (*names, *(name for name in records(nul=nul) if name))
    roots = _roots(store, names, all_refs=all_refs)
    if objects:
        found = ((reached.oid, reached.kind.label, reached.path) for reached in reach(store, roots))
    else:
        runs = [root.oid for root in roots if root.kind.label == "run" or not all_refs]
        found = ((oid, "run", "") for oid in runs_back_from(store, runs))
    if count:
        total = sum(1 for _ in found)
        if app.json:
            app.out.json("rev-list", {"count": total})
        else:
            app.out.fields(str(total))
    elif app.json:
        rows = [{"oid": oid, "kind": kind, "path": path} for oid, kind, path in found]
        app.out.json("rev-list", {"objects": rows})
    else:
        for oid, _, path in found:
            app.out.fields(*((oid.hex, path) if path else (oid.hex,)), separator=" ")


def _roots(store: Store, names: tuple[str, ...], *, all_refs: bool) -> list[TreeEntry]:
    from n4a_store.cli.resolve import resolve_entry

    roots = [resolve_entry(store, name) for name in names]
    if all_refs:
        roots.extend(ref.entry for ref in store.refs())
    return list(dict.fromkeys(roots))

"""`rev-parse`: names to object ids."""

from __future__ import annotations

import click

from n4a_store.cli.bulk import records
from n4a_store.cli.choices import HintedUsageError, Number
from n4a_store.cli.command import plumbing
from n4a_store.cli.complete import names as complete_names
from n4a_store.cli.context import App

_SHORT = 8


@plumbing("rev-parse")
@click.option("--short", is_flag=True, help="Show the first 8 digits.")
@click.option("--digits", type=Number(4, 64), metavar="N", help="Show the first N.")
@click.option("--verify", is_flag=True, help="Take exactly one name.")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read names from stdin.")
@click.option("-z", "nul", is_flag=True, help="Names on stdin end with NUL.")
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_names)
def command(
    app: App,
    short: bool,
    digits: int | None,
    verify: bool,
    from_stdin: bool,
    nul: bool,
    names: tuple[str, ...],
) -> None:
    """Turn names into object ids.

    A NAME is, in this order: a full object id, an exact ref, a ref under refs/tags,
    refs/pipelines or refs/runs, a short object id of at least 4 digits. 'ref@{n}' is where a
    ref pointed n moves ago, 'ref@{date}' where it pointed then, 'ref:path' an entry below it,
    and '<pipeline>:<key>' an artifact.
    """
    from n4a_store.cli.resolve import resolve_entry

    if verify and len(names) != 1:
        raise HintedUsageError("--verify takes exactly one name", "leave --verify out for several")
    if not names and not from_stdin:
        raise HintedUsageError("missing argument 'NAME'", "see 'n4a-store rev-parse --help'")
    if short and digits is None:
        digits = _SHORT
    store = app.store()
    rows: list[dict[str, object]] = []
    for name in (*names, *(records(nul=nul) if from_stdin else ())):
        entry = resolve_entry(store, name)
        if app.json:
            rows.append({"name": name, "kind": entry.kind, "oid": entry.oid})
        else:
            app.out.fields(entry.oid.hex[:digits])
    if app.json:
        app.out.json("rev-parse", {"names": rows})

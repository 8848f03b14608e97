"""`artifacts why`: what keeps an object."""

from __future__ import annotations

import click

from n4a_store.cli.command import porcelain
from n4a_store.cli.complete import names
from n4a_store.cli.context import App

_SHOWN = 20


@porcelain("why")
@click.argument("name", metavar="OBJECT", shell_complete=names)
def command(app: App, name: str) -> None:
    """Say what keeps an object.

    OBJECT is an object id or any name. Each line is a ref and the path from it; an object that
    only undo keeps, or nothing, is said to be an orphan.
    """
    from n4a_store.cli.resolve import resolve
    from n4a_store.repo.keepers import find_keepers

    store = app.store()
    oid = resolve(store, name)
    keepers = find_keepers(store, oid)
    if app.json:
        app.out.json("artifacts why", {"oid": oid, "keepers": keepers})
        return
    paths = keepers.refs or keepers.undo
    for path in paths if app.verbose else paths[:_SHOWN]:
        app.out.line(path)
    if not app.verbose and len(paths) > _SHOWN:
        app.out.line(f"… {len(paths) - _SHOWN} more: --verbose")
    if keepers.is_orphan:
        kept = "only undo can bring it back" if keepers.undo else "the next gc drops it"
        app.out.note(f"{oid.short()} is an orphan: no ref reaches it; {kept}")

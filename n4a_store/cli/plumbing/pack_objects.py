"""`pack-objects`: objects as one pack on stdout or in a file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from n4a_store import errors
from n4a_store.cli.bulk import records
from n4a_store.cli.command import plumbing
from n4a_store.cli.context import App

if TYPE_CHECKING:
    from n4a_store.objects.oid import ObjectId
    from n4a_store.repo.store import Store


@plumbing("pack-objects")
@click.option("--revs", is_flag=True, help="Names on stdin stand for all that they reach.")
@click.option("-z", "nul", is_flag=True, help="Names on stdin end with NUL.")
@click.argument("file", type=click.Path(dir_okay=False), required=False)
def command(app: App, revs: bool, nul: bool, file: str | None) -> None:
    """Write objects as one pack.

    Object ids or names come on stdin, one a line (a path after the id, as rev-list --objects
    writes it, is ignored). The pack goes to FILE, or to stdout when that is no terminal.
    """
    from n4a_store.cli.resolve import resolve_entry
    from n4a_store.repo.exchange import write_pack
    from n4a_store.repo.history import reach

    if file is None and app.out.is_terminal():
        raise errors.InvalidInputError("a pack is no text for a terminal", hint="name a FILE")
    if file is None and app.json:
        raise errors.InvalidInputError("a pack is no JSON", hint="name a FILE")
    store = app.store()
    entries = [resolve_entry(store, line.split(" ")[0]) for line in records(nul=nul) if line]
    oids = [found.oid for found in reach(store, entries)] if revs else [e.oid for e in entries]
    if file is None:
        count = write_pack(store, oids, sys.stdout.buffer.write)
    else:
        count = _write(store, oids, Path(file))
    if app.json and file is not None:
        app.out.json("pack-objects", {"objects": count, "file": file})
    else:
        app.out.note(f"packed {count} objects")


def _write(store: Store, oids: Sequence[ObjectId], path: Path) -> int:
    """Write the pack, or leave no file: half a pack is good for nothing."""
    from n4a_store.repo.exchange import write_pack

    try:
        target = path.open("xb")
    except FileExistsError:
        raise errors.InvalidInputError(
            f"{path} exists already", hint="choose another name"
        ) from None
    with target:
        try:
            return write_pack(store, oids, target.write)
        except BaseException:
            path.unlink()
            raise

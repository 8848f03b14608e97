"""`mktree`: a tree of entries read from stdin, in the format that `ls-tree` writes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from n4a_store import errors
from n4a_store.cli.bulk import records
from n4a_store.cli.command import plumbing
from n4a_store.cli.context import App

if TYPE_CHECKING:
    from n4a_store.objects.model import TreeEntry

_LINE = re.compile(r"(\w+) +([0-9a-f]{64})(?: +(?:\d+|-))?\t(.+)", re.DOTALL)


@plumbing("mktree")
@click.option("-z", "nul", is_flag=True, help="Lines on stdin end with NUL.")
def command(app: App, nul: bool) -> None:
    """Make a tree of entries read from stdin.

    Lines read '<kind> <id><TAB><name>', as ls-tree writes them, in any order. Every object
    named must be there, and so must all that it reaches.
    """
    entries = _parse(records(nul=nul))
    with app.store().transaction(message="mktree") as txn:
        oid = txn.put_tree(entries)
    if app.json:
        app.out.json("mktree", {"oid": oid, "entries": len(entries)})
    else:
        app.out.fields(oid.hex)


def _parse(lines: Iterable[str]) -> dict[str, TreeEntry]:
    from n4a_store.objects.model import TreeEntry
    from n4a_store.objects.oid import Kind, ObjectId

    entries: dict[str, TreeEntry] = {}
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise errors.InvalidInputError(
                f"line {number} is not an entry: '{line}'",
                hint="an entry reads '<kind> <id><TAB><name>', as ls-tree writes it",
            )
        kind, oid, name = match.groups()
        if name in entries:
            raise errors.InvalidInputError(
                f"line {number}: the name '{name}' is there twice", hint="names are unique"
            )
        entries[name] = TreeEntry(Kind.from_label(kind), ObjectId.from_hex(oid))
    return entries

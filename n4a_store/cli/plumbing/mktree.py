"""`mktree`: a tree of entries read from stdin, in the format that `ls-tree` writes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain, takewhile
from typing import TYPE_CHECKING

import click

from n4a_store import errors
from n4a_store.cli.bulk import records
from n4a_store.cli.command import plumbing
from n4a_store.cli.context import App
from n4a_store.cli.resolve import advised

if TYPE_CHECKING:
    from n4a_store.objects.model import TreeEntry
    from n4a_store.objects.oid import ObjectId

_HOW = "an entry reads '<kind> <id><TAB><name>', as ls-tree writes it; no name holds a '/'"
_LINE = re.compile(r"(\w+) +([0-9a-f]{64})(?: +(?:\d+|-))?\t(.+)", re.DOTALL)


@plumbing("mktree")
@click.option("--batch", is_flag=True, help="Make several trees, with an empty line between two.")
@click.option("-z", "nul", is_flag=True, help="Lines on stdin end with NUL.")
def command(app: App, batch: bool, nul: bool) -> None:
    """Make a tree of entries read from stdin.

    Lines read '<kind> <id><TAB><name>', as ls-tree writes them, in any order. Every object
    named must be there, and so must all that it reaches.

    With --batch, all trees come in one commit or none does, and their ids when it is done; a
    tree may hold those before it.
    """
    made: list[tuple[ObjectId, int]] = []
    lines = enumerate(records(nul=nul), 1)
    with app.store().transaction(message="mktree") as txn, advised(_HOW):
        for entries in _trees(lines) if batch else (_parse(lines),):
            made.append((txn.put_tree(entries), len(entries)))
    if app.json:
        trees = [{"oid": oid, "entries": entries} for oid, entries in made]
        app.out.json("mktree", {"trees": trees} if batch else trees[0])
        return
    for oid, _ in made:
        app.out.fields(oid.hex)


def _trees(lines: Iterator[tuple[int, str]]) -> Iterator[dict[str, TreeEntry]]:
    """The trees that empty lines part; as in git, the last one may end with such a line."""
    for number, line in lines:
        here = takewhile(lambda numbered: numbered[1], chain([(number, line)], lines))
        yield _parse(here)


def _parse(lines: Iterable[tuple[int, str]]) -> dict[str, TreeEntry]:
    from n4a_store.objects.model import TreeEntry
    from n4a_store.objects.oid import Kind, ObjectId

    entries: dict[str, TreeEntry] = {}
    for number, line in lines:
        if not line:
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise errors.InvalidInputError(f"line {number} is not an entry: '{line}'", hint=_HOW)
        kind, oid, name = match.groups()
        if name in entries:
            raise errors.InvalidInputError(
                f"line {number}: the name '{name}' is there twice", hint="names are unique"
            )
        entries[name] = TreeEntry(Kind.from_label(kind), ObjectId.from_hex(oid))
    return entries

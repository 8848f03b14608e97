"""`ls-tree`: the entries of a tree, one a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from n4a_store import errors
from n4a_store.cli.command import plumbing
from n4a_store.cli.complete import names
from n4a_store.cli.context import App

if TYPE_CHECKING:
    from n4a_store.objects.model import TreeEntry
    from n4a_store.objects.oid import ObjectId
    from n4a_store.repo.store import Store


@plumbing("ls-tree")
@click.option("-r", "recursive", is_flag=True, help="Go into trees.")
@click.option("-t", "trees", is_flag=True, help="With -r, list the trees on the way too.")
@click.option("-l", "long", is_flag=True, help="Show each blob's size in bytes.")
@click.option("-z", "nul", is_flag=True, help="End lines with NUL.")
@click.option("--name-only", is_flag=True, help="Show names only.")
@click.argument("name", metavar="TREE", shell_complete=names)
def command(
    app: App, recursive: bool, trees: bool, long: bool, nul: bool, name_only: bool, name: str
) -> None:
    """List the entries of a tree.

    TREE names a tree, or a run, which stands for the tree of its pipelines. Lines read
    '<kind> <id><TAB><name>', with -l '<kind> <id> <size><TAB><name>'.
    """
    store = app.store()
    rows: list[dict[str, object]] = []
    with store.session():
        for path, entry in _walk(store, _tree(store, name), "", recursive=recursive, trees=trees):
            size = store.info(entry.oid).size if long and entry.kind.label == "blob" else None
            if app.json:
                row: dict[str, object] = {"path": path, "kind": entry.kind, "oid": entry.oid}
                rows.append(row | ({"size": size} if long else {}))
                continue
            end = "\0" if nul else "\n"
            if name_only:
                app.out.fields(path, end=end)
                continue
            column = f" {'-' if size is None else size:>7}" if long else ""
            app.out.fields(f"{entry.kind.label} {entry.oid}{column}", path, end=end)
    if app.json:
        app.out.json("ls-tree", {"entries": rows})


def _tree(store: Store, name: str) -> ObjectId:
    from n4a_store.cli.resolve import resolve_entry
    from n4a_store.objects.oid import Kind

    entry = resolve_entry(store, name)
    if entry.kind is Kind.RUN:
        return store.get_run(entry.oid).pipelines
    if entry.kind is Kind.BLOB:
        raise errors.InvalidInputError(
            f"'{name}' is a blob, not a tree", hint=f"'n4a-store cat-file -p {name}' shows it"
        )
    return entry.oid


def _walk(
    store: Store, tree: ObjectId, prefix: str, *, recursive: bool, trees: bool
) -> Iterator[tuple[str, TreeEntry]]:
    for name, entry in store.get_tree(tree).entries.items():
        path = prefix + name
        inside = recursive and entry.kind.label == "tree"
        if not inside or trees:
            yield path, entry
        if inside:
            yield from _walk(store, entry.oid, f"{path}/", recursive=True, trees=trees)

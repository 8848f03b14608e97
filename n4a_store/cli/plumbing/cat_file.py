"""`cat-file`: an object's kind, size or content; with `--batch`, of many objects at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from n4a_store import errors
from n4a_store.cli.bulk import records
from n4a_store.cli.choices import HintedUsageError
from n4a_store.cli.command import plumbing
from n4a_store.cli.complete import names as complete_names
from n4a_store.cli.context import App
from n4a_store.cli.exit_codes import ExitCode
from n4a_store.cli.render import Output

if TYPE_CHECKING:
    from n4a_store.objects.model import Run, Tree, TreeEntry
    from n4a_store.repo.store import Store

_MODES = "choose one of -t, -s, -p, -e, --batch and --batch-check"


@plumbing("cat-file")
@click.option("-t", "kind", is_flag=True, help="Show the kind: blob, tree or run.")
@click.option("-s", "size", is_flag=True, help="Show the size in bytes.")
@click.option("-p", "print", is_flag=True, help="Show the content; a tree or run as text.")
@click.option("-e", "exists", is_flag=True, help="Say by the exit code if it exists.")
@click.option(
    "--batch",
    is_flag=True,
    help="For each name on stdin: '<id> <kind> <size>', the content, a newline.",
)
@click.option("--batch-check", "check", is_flag=True, help="The same without the content.")
@click.option("--batch-all-objects", is_flag=True, help="All objects instead of names on stdin.")
@click.option("-z", "nul", is_flag=True, help="Names on stdin end with NUL.")
@click.argument("name", metavar="OBJECT", required=False, shell_complete=complete_names)
def command(app: App, batch_all_objects: bool, nul: bool, name: str | None, **modes: bool) -> None:
    """Show an object's kind, size or content.

    OBJECT is an id, a ref, 'ref@{n}', 'ref:path/in/tree' or an artifact id. The content of a
    blob is written as it is; a tree and a run as text.

    In batch mode a name that leads nowhere, or could never, gives the line '<name> missing',
    and the exit code stays 0. With --json all answers come in one document, when the names end.
    """
    chosen = [mode for mode, is_chosen in modes.items() if is_chosen]
    if not chosen:
        raise HintedUsageError("nothing to show", _MODES)
    if len(chosen) > 1:
        raise HintedUsageError("an object is shown in one way at a time", _MODES)
    [mode] = chosen
    if mode in ("batch", "check"):
        if name is not None:
            raise HintedUsageError("batch mode reads names from stdin", "leave OBJECT out")
        store = app.store()
        names = _all_names(store) if batch_all_objects else records(nul=nul)
        if app.json:
            _batch_json(app, store, names, content=mode == "batch")
        else:
            _batch(app.out, store, names, content=mode == "batch")
        return
    if name is None:
        raise HintedUsageError("missing argument 'OBJECT'", "see 'n4a-store cat-file --help'")
    _one(app, mode, name)


def _one(app: App, mode: str, name: str) -> None:
    from n4a_store.cli.resolve import resolve_entry

    store = app.store()
    if mode == "exists" and _is_missing_id(store, name):
        app.exit_code = ExitCode.UNKNOWN_NAME  # silent, as git is: the exit code is the answer
        return
    entry = resolve_entry(store, name)
    info = store.info(entry.oid)
    if app.json:
        payload: dict[str, object] = {"oid": info.oid, "kind": info.kind, "size": info.size}
        if mode == "print":
            payload["content"] = _json_content(store, entry)
        app.out.json("cat-file", payload)
    elif mode == "kind":
        app.out.line(info.kind.label)
    elif mode == "size":
        app.out.line(str(info.size))
    elif mode == "print":
        _print(app.out, store, entry)


def _is_missing_id(store: Store, name: str) -> bool:
    from n4a_store.objects.oid import ObjectId

    try:
        return not store.has(ObjectId.from_hex(name))
    except errors.InvalidInputError:
        return False


def _batch(out: Output, store: Store, names: Iterable[str], *, content: bool) -> None:
    from n4a_store.cli.resolve import resolve_entry

    with store.session():
        for name in names:
            try:
                info = store.info(resolve_entry(store, name).oid)
            except errors.AmbiguousNameError:
                out.fields(name, "ambiguous", separator=" ")
            except (errors.NotFoundError, errors.InvalidInputError):
                out.fields(name, "missing", separator=" ")
            else:
                out.fields(info.oid.hex, info.kind.label, str(info.size), separator=" ")
                if content:
                    out.raw(store.get(info.oid))
                    out.raw(b"\n")
            # A script that asks one name at a time waits for the answer.
            out.stdout.flush()


def _batch_json(app: App, store: Store, names: Iterable[str], *, content: bool) -> None:
    from n4a_store.cli.resolve import resolve_entry

    rows: list[dict[str, object]] = []
    with store.session():
        for name in names:
            try:
                entry = resolve_entry(store, name)
                info = store.info(entry.oid)
            except errors.AmbiguousNameError:
                rows.append({"name": name, "status": "ambiguous"})
                continue
            except (errors.NotFoundError, errors.InvalidInputError):
                rows.append({"name": name, "status": "missing"})
                continue
            row: dict[str, object] = {"name": name, "status": "found", "oid": info.oid}
            row |= {"kind": info.kind, "size": info.size}
            if content:
                row["content"] = _json_content(store, entry)
            rows.append(row)
    app.out.json("cat-file", {"objects": rows})


def _all_names(store: Store) -> Iterator[str]:
    return iter(sorted({oid.hex for oid, _ in store.objects()}))


def _print(out: Output, store: Store, entry: TreeEntry) -> None:
    from n4a_store.objects.oid import Kind

    if entry.kind is Kind.TREE:
        for name, child in store.get_tree(entry.oid).entries.items():
            out.fields(f"{child.kind.label} {child.oid}", name)
    elif entry.kind is Kind.RUN:
        _print_run(out, store.get_run(entry.oid))
    else:
        _print_blob(out, store.get(entry.oid))


def _print_blob(out: Output, data: bytes) -> None:
    if not out.is_terminal():
        out.raw(data)
        return
    from n4a_store.cli.values import blob_lines

    # Raw bytes could steer the terminal; a pipe or a file gets them unchanged.
    for line in blob_lines(data):
        out.line(line)


def _print_run(out: Output, run: Run) -> None:
    from n4a_store.cli.values import scalar

    out.line(f"pipelines {run.pipelines}")
    for parent in run.parents:
        out.line(f"parent {parent}")
    out.line(f"dataset {run.dataset}")
    out.line(f"created_at {run.created_at}")
    out.line(f"status {run.status}")
    for title, values in (("environment", run.environment), ("details", run.details)):
        for key, value in values.items():
            out.line(f"{title} {key}={scalar(value)}")
    if run.message:
        out.line("")
        for line in run.message.splitlines():
            out.line(line)


def _json_content(store: Store, entry: TreeEntry) -> object:
    from n4a_store.objects.oid import Kind

    if entry.kind is Kind.TREE:
        tree: Tree = store.get_tree(entry.oid)
        return {"entries": tree.entries, "attrs": tree.attrs}
    if entry.kind is Kind.RUN:
        return store.get_run(entry.oid)
    data = store.get(entry.oid)
    try:
        return {"text": data.decode("utf-8")}
    except UnicodeDecodeError:
        return data

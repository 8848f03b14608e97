"""`hash-object`: the id that bytes have as an object; with `-w` they are stored."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from n4a_store.cli.bulk import records
from n4a_store.cli.choices import HintedUsageError
from n4a_store.cli.command import plumbing
from n4a_store.cli.context import App

if TYPE_CHECKING:
    from n4a_store.objects.oid import Kind


@plumbing("hash-object")
@click.option("-t", "kind", default="blob", metavar="KIND", help="blob, tree or run.")
@click.option("-w", "write", is_flag=True, help="Store the objects too.")
@click.option("--stdin", "from_stdin", is_flag=True, help="Hash the bytes on stdin.")
@click.option("--stdin-paths", is_flag=True, help="Read file names from stdin.")
@click.option("-z", "nul", is_flag=True, help="File names on stdin end with NUL.")
@click.argument("files", metavar="[FILE]...", nargs=-1)
def command(
    app: App,
    kind: str,
    write: bool,
    from_stdin: bool,
    stdin_paths: bool,
    nul: bool,
    files: tuple[str, ...],
) -> None:
    """Compute the id of an object, and store it with -w.

    A tree or run must come in its canonical encoding. What is stored is reachable from
    nothing: the next gc may drop it unless a ref is made to reach it first. Note that b3sum
    prints other values: ids are hashed in derive-key mode, by kind.
    """
    from n4a_store.objects.oid import Kind, hash_object

    if from_stdin and stdin_paths:
        raise HintedUsageError("--stdin and --stdin-paths exclude each other", "pass one of them")
    if not (from_stdin or stdin_paths or files):
        raise HintedUsageError("nothing to hash", "name a FILE, or pass --stdin or --stdin-paths")
    chosen = Kind.from_label(kind)
    sources = _sources(from_stdin, stdin_paths, nul, files)
    if write:
        with app.store().transaction(message="hash-object") as txn:
            ids = [txn.put(chosen, _checked(chosen, data)) for data in sources]
    else:
        ids = [hash_object(chosen, _checked(chosen, data)) for data in sources]
    if app.json:
        app.out.json("hash-object", {"kind": chosen, "oids": ids})
        return
    for oid in ids:
        app.out.fields(oid.hex)


def _sources(
    from_stdin: bool, stdin_paths: bool, nul: bool, files: tuple[str, ...]
) -> Iterator[bytes]:
    if from_stdin:
        yield sys.stdin.buffer.read()
    for name in (*files, *(records(nul=nul) if stdin_paths else ())):
        yield Path(name).read_bytes()


def _checked(kind: Kind, data: bytes) -> bytes:
    """The bytes, refused as bad input where they are no object of this kind."""
    from n4a_store.errors import CorruptionError, InvalidInputError
    from n4a_store.objects.codec import decode_object

    try:
        decode_object(kind, data)
    except CorruptionError as error:
        raise InvalidInputError(
            f"these bytes are no {kind.label}: {error.message}",
            hint="'n4a-store mktree' and 'n4a-store commit-run' make trees and runs",
        ) from error
    return data

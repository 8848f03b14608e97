"""`unpack-objects`: put the objects of a pack into a store."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from n4a_store.cli.command import plumbing
from n4a_store.cli.context import App


@plumbing("unpack-objects")
@click.argument("file", type=click.Path(dir_okay=False), required=False)
def command(app: App, file: str | None) -> None:
    """Put the objects of a pack into the store.

    The pack comes from FILE or stdin. Every object is verified. What is put is reachable from
    nothing: the next gc may drop it unless a ref is made to reach it first.
    """
    from n4a_store.repo.exchange import receive_pack

    data = sys.stdin.buffer.read() if file is None else Path(file).read_bytes()
    received = receive_pack(app.store(), memoryview(data), file or "on stdin")
    if app.json:
        app.out.json("unpack-objects", {"received": received})
    else:
        app.out.note(f"{received.objects} objects, {received.added} of them new")

"""`check-ref-format`: whether a name is good for a ref."""

from __future__ import annotations

import click

from n4a_store.cli.command import plumbing
from n4a_store.cli.context import App


@plumbing("check-ref-format")
@click.option("--print", "show", is_flag=True, help="Show the name as it would be stored.")
@click.argument("name", metavar="REF")
def command(app: App, show: bool, name: str) -> None:
    """Say whether a name is good for a ref.

    Exit code 0 means that it is, 2 that it is not; the error says why.
    """
    from n4a_store.refs.names import check_ref_name

    stored = check_ref_name(name)
    if app.json:
        app.out.json("check-ref-format", {"ref": stored})
    elif show:
        app.out.fields(stored)

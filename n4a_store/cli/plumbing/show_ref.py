"""`show-ref`: refs and the objects they name."""

from __future__ import annotations

import click

from n4a_store import errors
from n4a_store.cli.command import plumbing
from n4a_store.cli.context import App
from n4a_store.cli.resolve import hinted


@plumbing("show-ref")
@click.option("-s", "--hash", "hash_only", is_flag=True, help="Show ids only.")
@click.option("--verify", is_flag=True, help="Take each PATTERN as one exact ref.")
@click.argument("patterns", metavar="[PATTERN]...", nargs=-1)
def command(app: App, hash_only: bool, verify: bool, patterns: tuple[str, ...]) -> None:
    """List refs and the objects they name.

    Lines read '<id> <ref>'. A PATTERN fits the whole name of a ref or its last parts:
    'production' fits 'refs/tags/production'.
    """
    store = app.store()
    if verify:
        refs = []
        for pattern in patterns:
            with hinted(store, pattern):
                refs.append(store.ref(pattern))
    else:
        refs = [ref for ref in store.refs() if not patterns or _fits(ref.name, patterns)]
    if patterns and not refs:
        from n4a_store.cli.resolve import hint_for

        shown = "', '".join(patterns)
        raise errors.RefNotFoundError(f"no ref fits '{shown}'", hint=hint_for(store, patterns[0]))
    if app.json:
        rows = [{"ref": ref.name, "kind": ref.kind, "oid": ref.oid} for ref in refs]
        app.out.json("show-ref", {"refs": rows})
        return
    for ref in refs:
        if hash_only:
            app.out.fields(ref.oid.hex)
        else:
            app.out.fields(ref.oid.hex, ref.name, separator=" ")


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(name == pattern or name.endswith(f"/{pattern}") for pattern in patterns)

"""`reflog`: where refs have pointed before."""

from __future__ import annotations

import click

from n4a_store.cli.command import plumbing
from n4a_store.cli.context import App

_NOTHING = "-"


@plumbing("reflog")
@click.option("-n", "count", type=click.IntRange(0), metavar="N", help="Show the newest N moves.")
@click.argument("names", metavar="[REF]...", nargs=-1)
def command(app: App, count: int | None, names: tuple[str, ...]) -> None:
    """Show where refs have pointed before, newest move first.

    Lines read '<ref>@{<n>} <old> <new> <time> <operation><TAB><message>'; '-' stands for "no
    such ref". What the reflog still holds, 'n4a-store artifacts undo' can bring back.
    """
    store = app.store()
    refs = [_full_name(app, name) for name in names] or [ref.name for ref in store.refs()]
    rows: list[dict[str, object]] = []
    for ref in refs:
        for n, entry in enumerate(store.reflog(ref)[:count]):
            if app.json:
                rows.append({"ref": ref, "n": n, "old": entry.old, "new": entry.new, "at": entry.at,
                             "op": entry.op, "message": entry.message})  # fmt: skip
                continue
            old, new = (oid.hex if oid else _NOTHING for oid in (entry.old, entry.new))
            app.out.fields(f"{ref}@{{{n}}} {old} {new} {entry.at} {entry.op}", entry.message)
    if app.json:
        app.out.json("reflog", {"moves": rows})


def _full_name(app: App, name: str) -> str:
    """The ref called `name`, which may be gone as long as its reflog is there."""
    from n4a_store.cli.resolve import PREFIXES, hint_for
    from n4a_store.errors import RefNotFoundError
    from n4a_store.refs.names import check_ref_name

    store = app.store()
    for candidate in (name, *(prefix + name for prefix in PREFIXES)):
        if store.reflog(check_ref_name(candidate)):
            return candidate
    raise RefNotFoundError(f"no ref is or was called '{name}'", hint=hint_for(store, name))

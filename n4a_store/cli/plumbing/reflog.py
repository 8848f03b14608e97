"""`reflog`: where refs have pointed before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from n4a_store.cli.choices import Number
from n4a_store.cli.command import plumbing
from n4a_store.cli.complete import refs as complete_refs
from n4a_store.cli.context import App

if TYPE_CHECKING:
    from n4a_store.repo.store import Store

_NOTHING = "-"


@plumbing("reflog")
@click.option("-n", "count", type=Number(0), metavar="N", help="Show the newest N moves.")
@click.argument("names", metavar="[REF]...", nargs=-1, shell_complete=complete_refs)
def command(app: App, count: int | None, names: tuple[str, ...]) -> None:
    """Show where refs have pointed before.

    The newest move comes first. Lines read '<ref>@{<n>} <old> <new> <time>
    <action><TAB><message>'; '-' stands for "no such ref". What the reflog still holds,
    'n4a-store artifacts undo' can bring back.
    """
    store = app.store()
    refs = [full_name(store, name) for name in names] or [ref.name for ref in store.refs()]
    rows: list[dict[str, object]] = []
    for ref in refs:
        for n, entry in enumerate(store.reflog(ref)[:count]):
            old, new = (side.oid.hex if side else _NOTHING for side in (entry.old, entry.new))
            at = entry.at.isoformat(timespec="seconds")
            if app.json:
                move = {"ref": ref, "n": n, "old": entry.old, "new": entry.new, "at": at}
                rows.append(
                    move | {"op": entry.op, "action": entry.action, "message": entry.message}
                )
                continue
            app.out.fields(f"{ref}@{{{n}}} {old} {new} {at} {entry.action}", entry.message)
    if app.json:
        app.out.json("reflog", {"moves": rows})


def full_name(store: Store, name: str) -> str:
    """The ref called `name`, which may be gone as long as its reflog is there."""
    from n4a_store.cli.resolve import hint_for
    from n4a_store.errors import RefNotFoundError
    from n4a_store.refs.names import NAMESPACES, check_ref_name

    full = [name] if name.startswith("refs/") else [prefix + name for prefix in NAMESPACES]
    present = {ref.name for ref in store.refs()}  # gc --now leaves a ref without its moves
    for candidate in map(check_ref_name, full):
        if store.reflog(candidate) or candidate in present:
            return candidate
    raise RefNotFoundError(f"no ref is or was called '{name}'", hint=hint_for(store, name))

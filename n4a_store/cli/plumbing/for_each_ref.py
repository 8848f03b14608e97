"""`for-each-ref`: refs in a format of the caller's own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from n4a_store import errors
from n4a_store.cli.choices import Number
from n4a_store.cli.command import plumbing
from n4a_store.cli.context import App
from n4a_store.cli.render import Literal

if TYPE_CHECKING:
    from n4a_store.refs.refs import Ref
    from n4a_store.repo.store import Store

DEFAULT_FORMAT = "%(objectname) %(objecttype)%09%(refname)"
_ATOM = re.compile(r"%\(([^)]*)\)|%([0-9a-fA-F]{2})|%%")
_RUN_FIELDS = ("createdat", "status", "message", "dataset")
FIELDS = (
    "refname",
    "refname:short",
    "objectname",
    "objectname:short",
    "objecttype",
    "objectsize",
    *_RUN_FIELDS,
)


@plumbing("for-each-ref")
@click.option(
    "--format",
    "template",
    metavar="FORMAT",
    default=DEFAULT_FORMAT,
    help="What to write for each ref.",
)
@click.option("--count", type=Number(0), help="Stop after this many.")
@click.option(
    "--sort",
    metavar="FIELD",
    default="refname",
    help="Sort by this field; '-FIELD' turns the order round.",
)
@click.option("-z", "nul", is_flag=True, help="End records with NUL.")
@click.argument("patterns", metavar="[PREFIX]...", nargs=-1)
def command(
    app: App, template: str, count: int | None, sort: str, nul: bool, patterns: tuple[str, ...]
) -> None:
    """List refs in a format of your own.

    A PREFIX limits the list to refs that begin with it, as 'refs/runs/'. In FORMAT, '%(field)'
    stands for a field, '%xx' for the character with that hexadecimal code, '%%' for '%'.

    Fields: refname, refname:short, objectname, objectname:short, objecttype, objectsize; of
    runs also createdat, status, message, dataset (empty for other refs). The default is
    '%(objectname) %(objecttype)%09%(refname)'.
    """
    if "%(" in _ATOM.sub("", template):
        raise errors.InvalidInputError(
            f"a '%(' is never closed: '{template}'", hint="a field reads '%(refname)'"
        )
    wanted = {match.group(1) for match in _ATOM.finditer(template) if match.group(1) is not None}
    key = sort.removeprefix("-")
    for field in sorted(wanted | {key}):
        _check_field(field)
    store = app.store()
    with store.session():
        refs = [ref for ref in store.refs() if not patterns or _fits(ref.name, patterns)]
        fields = set(FIELDS) if app.json else wanted
        rows = [_values(store, ref, fields | {key}) for ref in refs]
    # Numbers by value, so that sizes sort as sizes.
    rows.sort(
        key=lambda row: (int(row[key]), "") if row[key].isdecimal() else (0, row[key]),
        reverse=sort.startswith("-"),
    )
    if app.json:
        shown = [row | {"objectsize": int(row["objectsize"])} for row in rows[:count]]
        app.out.json("for-each-ref", {"refs": shown})
        return
    for row in rows[:count]:
        app.out.fields(*_expand(template, row), separator="", end="\0" if nul else "\n")


def _check_field(field: str) -> None:
    if field not in FIELDS:
        from n4a_store.cli.suggest import closest

        meant = closest(field, FIELDS)
        hint = f"did you mean {meant}?" if meant else f"known: {', '.join(FIELDS)}"
        raise errors.InvalidInputError(f"no such field: '{field}'", hint=hint)


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(
        name == pattern or name.startswith(pattern if pattern.endswith("/") else f"{pattern}/")
        for pattern in patterns
    )


def _values(store: Store, ref: Ref, wanted: set[str]) -> dict[str, str]:
    from n4a_store.cli.resolve import short_ref

    values = {
        "refname": ref.name,
        "refname:short": short_ref(ref.name),
        "objectname": ref.oid.hex,
        "objectname:short": ref.oid.short(),
        "objecttype": ref.kind.label,
        **dict.fromkeys(_RUN_FIELDS, ""),
    }
    if "objectsize" in wanted:
        values["objectsize"] = str(store.info(ref.oid).size)
    if ref.kind.label == "run" and wanted & set(_RUN_FIELDS):
        run = store.get_run(ref.oid)
        values |= {"createdat": run.created_at, "status": str(run.status)}
        values |= {"message": run.message, "dataset": run.dataset}
    return values


def _expand(template: str, row: dict[str, str]) -> list[str]:
    """The pieces of one line: the template as it was typed, the values to be made safe."""
    pieces: list[str] = []
    end = 0
    for match in _ATOM.finditer(template):
        pieces.append(Literal(template[end : match.start()]))
        end = match.end()
        field, code = match.groups()
        pieces.append(row[field] if field else Literal(chr(int(code, 16)) if code else "%"))
    return [*pieces, Literal(template[end:])]

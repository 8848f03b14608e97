"""`update-ref`: move, create or delete refs by compare-and-swap, several in one commit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from n4a_store import errors
from n4a_store.cli.bulk import records
from n4a_store.cli.choices import HintedUsageError
from n4a_store.cli.command import plumbing
from n4a_store.cli.complete import refs
from n4a_store.cli.context import App

if TYPE_CHECKING:
    from n4a_store.refs.refs import Expect
    from n4a_store.repo.store import Store
    from n4a_store.repo.transaction import Transaction

NO_REF = "0" * 64
_VERBS = ("update", "create", "delete", "verify")


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a ref; a new or old value of None was not given."""

    verb: str
    ref: str
    new: str | None = None
    old: str | None = None


@plumbing("update-ref")
@click.option("-d", "--delete", is_flag=True, help="Delete REF.")
@click.option("-m", "message", metavar="TEXT", default="update-ref", help="Reflog message.")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read changes from stdin.")
@click.option("-z", "nul", is_flag=True, help="On stdin, every field ends with NUL.")
@click.argument("ref", required=False, shell_complete=refs)
@click.argument("values", metavar="[NEW] [OLD]", nargs=-1)
def command(
    app: App,
    delete: bool,
    message: str,
    from_stdin: bool,
    nul: bool,
    ref: str | None,
    values: tuple[str, ...],
) -> None:
    """Move, create or delete refs, safely.

    With OLD, the ref must point there now, else nothing changes and the exit code is 14; OLD of
    64 zeros means that the ref must not exist. NEW is any name that resolves; what it reaches
    must be whole.

    With --stdin, each line is 'update REF NEW [OLD]', 'create REF NEW', 'delete REF [OLD]' or
    'verify REF [OLD]'; with -z every field ends with NUL and all are given, an empty one
    meaning "not given". All changes happen in one commit, or none; no ref may be there twice.
    """
    if from_stdin:
        if ref is not None or delete:
            raise HintedUsageError("--stdin takes no other arguments", "leave REF and -d out")
        changes = list(_from_nul() if nul else _from_lines())
    else:
        changes = [_from_arguments(ref, values, delete=delete)]
    _refuse_twice(changes)
    store = app.store()
    with store.transaction(message=message) as txn:
        for change in changes:
            _apply(store, txn, change)
    if app.json:
        app.out.json("update-ref", {"changes": changes})


def _refuse_twice(changes: list[Change]) -> None:
    """One commit moves a ref once: of two wishes, one would be lost without a word."""
    from n4a_store.refs.names import check_ref_name

    seen: set[str] = set()
    for change in changes:
        ref = check_ref_name(change.ref)
        if ref in seen:
            raise errors.InvalidInputError(
                f"'{change.ref}' is there twice", hint="name each ref once, or commit twice"
            )
        seen.add(ref)


def _from_arguments(ref: str | None, values: tuple[str, ...], *, delete: bool) -> Change:
    if ref is None:
        raise HintedUsageError("missing argument 'REF'", "see 'n4a-store update-ref --help'")
    most = 1 if delete else 2
    if len(values) > most or (not values and not delete):
        usage = "update-ref -d REF [OLD]" if delete else "update-ref REF NEW [OLD]"
        raise HintedUsageError("wrong number of arguments", f"usage: n4a-store {usage}")
    if delete:
        return Change("delete", ref, old=values[0] if values else None)
    return Change("update", ref, new=values[0], old=values[1] if len(values) > 1 else None)


def _from_lines() -> Iterator[Change]:
    for number, line in enumerate(records(nul=False), 1):
        if line.strip():
            verb, *fields = line.split()
            yield _change(verb, fields, f"line {number}")


def _from_nul() -> Iterator[Change]:
    """Records of `VERB REF` and as many further fields as the verb has, each ended by NUL."""
    fields = records(nul=True)
    for number, head in enumerate(fields, 1):
        verb, _, ref = head.partition(" ")
        rest = [next(fields, "") for _ in range(2 if verb == "update" else 1)]
        yield _change(verb, [ref, *rest], f"record {number}")


def _change(verb: str, fields: list[str], where: str) -> Change:
    if verb not in _VERBS:
        raise errors.InvalidInputError(
            f"{where}: unknown verb '{verb}'", hint=f"one of: {', '.join(_VERBS)}"
        )
    takes_new = verb in ("update", "create")
    most = {"update": 3, "create": 2, "delete": 2, "verify": 2}[verb]
    least = 2 if takes_new else 1
    if not least <= len(fields) <= most or not all(fields[:least]):
        raise errors.InvalidInputError(
            f"{where}: '{verb}' takes {least} to {most} fields, not {len(fields)}",
            hint="see 'n4a-store update-ref --help'",
        )
    ref, *values = fields
    new = values.pop(0) if takes_new else None
    old = NO_REF if verb == "create" else (values[0] or None) if values else None
    return Change(verb, ref, new, old)


def _apply(store: Store, txn: Transaction, change: Change) -> None:
    from n4a_store.cli.resolve import hinted, resolve_entry
    from n4a_store.refs.names import check_ref_name

    ref = check_ref_name(change.ref)
    expect = _expectation(store, change.old)
    if change.verb == "verify":
        # Pointing a ref where it points changes nothing, but compares at the commit.
        now = store.find_ref(ref)
        if change.old is None:
            expect = None  # as git has it: verified against nothing, it must not exist
        if now is None:
            txn.delete_ref(ref, expect=expect)
        else:
            txn.set_ref(ref, now.entry, expect=expect)
    elif change.new is None:
        if change.old is None:
            with hinted(store, ref):
                store.ref(ref)  # deleting what is not there is a mistyped name: say so
        txn.delete_ref(ref, expect=expect)
    else:
        txn.set_ref(ref, resolve_entry(store, change.new), expect=expect)


def _expectation(store: Store, old: str | None) -> Expect:
    from n4a_store.cli.resolve import resolve
    from n4a_store.objects.oid import ObjectId
    from n4a_store.refs.refs import ANY

    if old is None:
        return ANY
    if old == NO_REF:
        return None
    try:
        return ObjectId.from_hex(old)  # need not exist any more to be compared with
    except errors.InvalidInputError:
        return resolve(store, old)

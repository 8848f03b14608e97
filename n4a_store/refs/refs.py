"""Refs and their history as values, and the plan of changing several at once.

A change names what it expects to find: it is applied inside the catalog's write transaction by
:func:`apply`, which compares, swaps and writes the reflog, all of it or none. Old values stay in
the reflog for the undo window; that is policy, and no safety depends on it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from n4a_store.errors import CorruptionError, InvalidInputError, RefMovedError
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.refs.names import is_stored_ref_name
from n4a_store.storage.catalog_access import CatalogReader, CatalogWriter
from n4a_store.storage.rows import OpRow, ReflogRow, RefRow

__all__ = ["ANY", "AnyValue", "Expect", "Ref", "RefChange", "ReflogEntry", "apply", "from_row"]


class AnyValue(enum.Enum):
    """The type of :data:`ANY`."""

    ANY = "any"


ANY = AnyValue.ANY
"""A ref may hold anything, or nothing, before it is changed."""

Expect = ObjectId | None | AnyValue
"""What a ref must hold before it is changed; None: it must not exist."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A name and the root it stands for."""

    name: str
    kind: Kind
    oid: ObjectId

    @property
    def entry(self) -> TreeEntry:
        """The root as a kind and an id."""
        return TreeEntry(self.kind, self.oid)


@dataclass(frozen=True, slots=True)
class RefChange:
    """One planned change: to another root, or away (None).

    Args:
        expect: What must be there now.
    """

    target: TreeEntry | None
    expect: Expect = ANY

    def __post_init__(self) -> None:
        if not (self.expect is ANY or self.expect is None or isinstance(self.expect, ObjectId)):
            raise InvalidInputError(
                f"expect is an ObjectId, None or ANY, not {self.expect!r:.80}",
                hint="ObjectId.from_hex makes one of its digits",
            )


@dataclass(frozen=True, slots=True)
class ReflogEntry:
    """One change of one ref that happened.

    Args:
        op: The operation it was part of.
        old: What the ref held before; None when it did not exist.
        new: What it held afterwards; None when it was deleted.
        at: When.
        action: What kind of operation.
        message: What its author said.
    """

    id: int
    op: int
    name: str
    old: TreeEntry | None
    new: TreeEntry | None
    at: datetime
    action: str
    message: str


def _entry(kind: int | None, oid: bytes | None) -> TreeEntry | None:
    if kind is None or oid is None:
        return None
    try:
        return TreeEntry(Kind(kind), ObjectId(oid))
    except ValueError as error:
        raise CorruptionError(f"the catalog holds a malformed id: {error}") from error


def from_row(row: RefRow) -> Ref:
    """The ref in a row of the catalog.

    Raises:
        CorruptionError: The row could never have been written.
    """
    entry = _entry(row.kind, row.oid)
    if entry is None or not is_stored_ref_name(row.name):
        raise CorruptionError(f"the catalog holds a malformed ref: {row.name!r:.80}")
    return Ref(row.name, entry.kind, entry.oid)


def reflog_entry(row: ReflogRow, op: OpRow | None) -> ReflogEntry:
    """A reflog row with the operation it belongs to."""
    if op is None:
        raise CorruptionError(f"the catalog lost operation {row.op}, which changed {row.name}")
    at = datetime.fromtimestamp(op.at_us / 1_000_000, UTC)
    old, new = _entry(row.old_kind, row.old), _entry(row.new_kind, row.new)
    return ReflogEntry(row.id, row.op, row.name, old, new, at, op.action, op.message)


def read_reflog(reader: CatalogReader, name: str | None = None) -> list[ReflogEntry]:
    """The history of one ref or of all, newest first."""
    return [reflog_entry(row, reader.op(row.op)) for row in reader.reflog(name)]


def apply(writer: CatalogWriter, changes: Mapping[str, RefChange], op: OpRow) -> int:
    """Make all ``changes``, or raise and leave the transaction to be undone.

    Returns:
        How many refs really changed.

    Raises:
        RefMovedError: A ref does not hold what its change expects.
    """
    changed = 0
    for name, change in sorted(changes.items()):
        row = writer.ref(name)
        now = None if row is None else from_row(row)
        if change.expect is not ANY:
            found = None if now is None else now.oid
            if found != change.expect:
                raise RefMovedError(
                    f"{name} {_describe(found)}, expected: {_describe_expected(change.expect)}",
                    hint="somebody changed it first: look at it again, then retry",
                )
        old = None if now is None else now.entry
        if old == change.target:
            continue
        changed += 1
        if change.target is None:
            if row is not None:
                writer.delete(row)
        else:
            new_row = RefRow(name, int(change.target.kind), change.target.oid.raw, op.op)
            writer.put(new_row, replaced=row)
        _log(writer, name, old, change.target, op)
    return changed


def _log(
    writer: CatalogWriter, name: str, old: TreeEntry | None, new: TreeEntry | None, op: OpRow
) -> None:
    row = ReflogRow(
        writer.next_reflog_id(),
        op.op,
        name,
        None if old is None else int(old.kind),
        None if old is None else old.oid.raw,
        None if new is None else int(new.kind),
        None if new is None else new.oid.raw,
    )
    writer.put(row)


def _describe(oid: ObjectId | None) -> str:
    return "does not exist" if oid is None else f"is at {oid.short(12)}"


def _describe_expected(expect: Expect) -> str:
    if isinstance(expect, ObjectId):
        return expect.short(12)
    return "that it does not exist"

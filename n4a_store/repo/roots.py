"""Roots: from where the living is marked.

Refs and pins keep what they name; the reflog keeps what ``undo`` may bring back; a held pack of
a living run keeps all it holds. If one root cannot be read nothing is garbage: every function
here raises rather than leave one out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from n4a_store.refs.refs import from_row
from n4a_store.storage.catalog_access import CatalogReader
from n4a_store.storage.rows import ReflogRow

__all__ = ["Root", "expired_ops", "living_roots", "roots_since", "undo_roots"]

_MANY_OPS = 1_000


@dataclass(frozen=True, slots=True)
class Root:
    """A root and what to call it.

    Args:
        kind: The kind of the object.
        oid: Its id bytes.
        name: The ref, pin or reflog entry that names it.
    """

    kind: int
    oid: bytes
    name: str


def living_roots(reader: CatalogReader) -> Iterator[Root]:
    """Refs and pins.

    Raises:
        CorruptionError: One of them cannot be read.
    """
    for row in reader.refs():
        ref = from_row(row)
        yield Root(int(ref.kind), ref.oid.raw, ref.name)
    for pin in reader.pins():
        yield Root(pin.kind, pin.oid, f"pin {pin.name}")


def undo_roots(reader: CatalogReader, since_us: int | None = None) -> Iterator[Root]:
    """The old and new values in the reflog.

    Args:
        since_us: Leave out operations before this time, microseconds since 1970.

    Raises:
        CorruptionError: One of them cannot be read.
    """
    rows = list(reader.reflog())
    older = expired_ops(reader, rows, since_us) if since_us is not None else ()
    moves: Counter[str] = Counter()
    for row in rows:
        back = moves[row.name]
        moves[row.name] += 1
        if row.op not in older:
            yield from _both_sides(row, back)


def expired_ops(reader: CatalogReader, rows: Iterable[ReflogRow], cutoff_us: int) -> set[int]:
    """The operations of reflog rows that happened before ``cutoff_us``.

    There may be a hundred times as many operations as reflog rows: a store that expires its
    reflog at once keeps a day's operations.
    """
    numbers = {row.op for row in rows}
    if len(numbers) > _MANY_OPS:
        return numbers & reader.ops_before(cutoff_us).keys()
    ops = (reader.op(number) for number in numbers)
    return {op.op for op in ops if op is not None and op.at_us < cutoff_us}


def _both_sides(row: ReflogRow, back: int) -> Iterator[Root]:
    """Both values of a reflog row, named as people name them: ``ref@{n}``, n moves ago."""
    sides = ((row.new_kind, row.new, back), (row.old_kind, row.old, back + 1))
    for kind, oid, moves in sides:
        if kind is not None and oid is not None:
            yield Root(kind, oid, f"{row.name}@{{{moves}}}")


def roots_since(reader: CatalogReader, op: int) -> Iterator[Root]:
    """The roots set after operation ``op``: refs, pins and reflog values.

    Raises:
        CorruptionError: One of them cannot be read.
    """
    for row in reader.refs_since(op):
        ref = from_row(row)
        yield Root(int(ref.kind), ref.oid.raw, ref.name)
    for pin in reader.pins():
        if pin.op > op:
            yield Root(pin.kind, pin.oid, f"pin {pin.name}")
    for change in reversed(reader.reflog_since(op)):
        yield from _both_sides(change, 0)

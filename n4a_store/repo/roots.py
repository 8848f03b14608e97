"""Roots: from where the living is marked.

Refs and pins keep what they name; the reflog keeps what ``undo`` may bring back; a held pack of
a living run keeps all it holds. If one root cannot be read nothing is garbage: every function
here raises rather than leave one out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from n4a_store.refs.refs import from_row
from n4a_store.storage.catalog import CatalogReader

__all__ = ["Root", "living_roots", "undo_roots"]


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


def undo_roots(reader: CatalogReader, since_us: int, after_op: int = 0) -> Iterator[Root]:
    """The old and new values in the reflog of operations at or after ``since_us``.

    Args:
        since_us: Microseconds since 1970.
        after_op: Leave out operations up to this one.

    Raises:
        CorruptionError: One of them cannot be read.
    """
    times = {op.op: op.at_us for op in reader.ops()}
    for row in reader.reflog():
        if row.op <= after_op or times.get(row.op, since_us) < since_us:
            continue
        for kind, oid in ((row.old_kind, row.old), (row.new_kind, row.new)):
            if kind is not None and oid is not None:
                yield Root(kind, oid, f"{row.name}@{{{row.op}}}")

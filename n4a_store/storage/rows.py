"""The rows of the catalog as frozen values, their tables and their checksums.

Each row carries the first 8 bytes of ``blake3(msgpack([table, fields…]))``. Each table's rows
are also added up (128 bits of the same hash, modulo 2^128) in ``summaries``: the sum changes
with every row that is changed, lost or added, and can be kept up to date in constant time.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any, ClassVar, Self

import msgpack
from blake3 import blake3

__all__ = [
    "INSERT",
    "SCHEMA",
    "SELECT",
    "SUM_BYTES",
    "TABLES",
    "UPDATE",
    "OpRow",
    "PackRow",
    "PackState",
    "PinRow",
    "RefRow",
    "ReflogRow",
    "Row",
    "Summary",
    "row_hash",
    "row_sum",
]

SUM_BYTES = 8
_MODULUS = 1 << 128

# Column lists of the tables; every row ends in its checksum.
_COLUMNS_SQL = {
    "meta": "key TEXT PRIMARY KEY, value",
    "summaries": "name TEXT PRIMARY KEY, rows INTEGER NOT NULL, total BLOB NOT NULL",
    "refs": """name TEXT PRIMARY KEY, kind INTEGER NOT NULL, oid BLOB NOT NULL,
        op INTEGER NOT NULL""",
    "ops": """op INTEGER PRIMARY KEY, commit_id TEXT NOT NULL, at INTEGER NOT NULL,
        action TEXT NOT NULL, message TEXT NOT NULL""",
    "reflog": """id INTEGER PRIMARY KEY, op INTEGER NOT NULL, name TEXT NOT NULL,
        old_kind INTEGER, old BLOB, new_kind INTEGER, new BLOB""",
    "pins": """name TEXT PRIMARY KEY, kind INTEGER NOT NULL, oid BLOB NOT NULL,
        op INTEGER NOT NULL""",
    "packs": """id TEXT PRIMARY KEY, state INTEGER NOT NULL, gc_gen INTEGER NOT NULL,
        owner TEXT NOT NULL, objects INTEGER NOT NULL, bytes INTEGER NOT NULL,
        raw_bytes INTEGER NOT NULL""",
}
SCHEMA = (
    *(
        f"CREATE TABLE {table} ({' '.join(columns.split())}, sum BLOB NOT NULL)"
        + (" WITHOUT ROWID" if "TEXT PRIMARY KEY" in columns else "")
        for table, columns in _COLUMNS_SQL.items()
    ),
    "CREATE UNIQUE INDEX ops_by_commit ON ops (commit_id)",
    "CREATE INDEX reflog_by_name ON reflog (name, id)",
    "CREATE INDEX reflog_by_op ON reflog (op)",
)
"""The statements that make the tables; a catalog with any other schema is refused."""


class PackState(enum.IntEnum):
    """Where a pack stands in its life."""

    LIVE = 0
    CONDEMNED = 1
    """Nothing reachable was found in it; a writer may still bring it back."""
    DROPPING = 2
    """About to be unlinked; nobody may rely on it."""
    HELD = 3
    """Written by a worker of a living run, to be adopted by that run's next commit."""


class _PerThread(threading.local):
    """A packer holds a large buffer, which costs more to make than a row to pack."""

    def __init__(self) -> None:
        self.pack = msgpack.Packer(use_bin_type=True).pack


_packers = _PerThread()


def row_sum(table: str, record: Sequence[object]) -> bytes:
    """The checksum of a row, which stands beside it."""
    return row_hash(table, record)[:SUM_BYTES]


def row_hash(table: str, record: Sequence[object]) -> bytes:
    """What a row adds to its table's summary; its first bytes are its checksum."""
    data: bytes = _packers.pack([table, *record])
    return blake3(data).digest(16)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of some table; the first column is its key."""

    TABLE: ClassVar[str]
    COLUMNS: ClassVar[tuple[str, ...]]

    def record(self) -> tuple[Any, ...]:
        """The fields as SQLite stores them."""
        record: tuple[Any, ...] = _FIELDS[type(self)](self)
        return record

    @classmethod
    def from_record(cls, record: Sequence[Any]) -> Self:
        """The row whose fields are ``record``, which has passed its checksum."""
        return cls(*record)


@dataclass(frozen=True, slots=True)
class RefRow(Row):
    """A ref: its target and the operation that set it."""

    name: str
    kind: int
    oid: bytes
    op: int

    TABLE: ClassVar[str] = "refs"
    COLUMNS: ClassVar[tuple[str, ...]] = ("name", "kind", "oid", "op")


@dataclass(frozen=True, slots=True)
class PinRow(Row):
    """An object kept alive without a ref."""

    name: str
    kind: int
    oid: bytes
    op: int

    TABLE: ClassVar[str] = "pins"
    COLUMNS: ClassVar[tuple[str, ...]] = ("name", "kind", "oid", "op")


@dataclass(frozen=True, slots=True)
class OpRow(Row):
    """An operation: one commit, with the id by which its author can find it again.

    Args:
        op: Its number; operations are numbered in the order in which they became visible.
        commit_id: Chosen by the writer before the commit.
        at_us: When, microseconds since 1970.
        action: What kind of operation.
        message: Free text.
    """

    op: int
    commit_id: str
    at_us: int
    action: str
    message: str

    TABLE: ClassVar[str] = "ops"
    COLUMNS: ClassVar[tuple[str, ...]] = ("op", "commit_id", "at", "action", "message")


@dataclass(frozen=True, slots=True)
class ReflogRow(Row):
    """One change of one ref; an absent side is None."""

    id: int
    op: int
    name: str
    old_kind: int | None
    old: bytes | None
    new_kind: int | None
    new: bytes | None

    TABLE: ClassVar[str] = "reflog"
    COLUMNS: ClassVar[tuple[str, ...]] = (
        "id",
        "op",
        "name",
        "old_kind",
        "old",
        "new_kind",
        "new",
    )


@dataclass(frozen=True, slots=True)
class PackRow(Row):
    """A pack: its state and its size.

    Args:
        gc_gen: The generation at which it was condemned, 0 before.
        owner: The lock of the run whose worker wrote it, else empty.
        stored_bytes: The length of the file.
        raw_bytes: The length of its objects, uncompressed.
    """

    id: str
    state: PackState
    gc_gen: int
    owner: str
    objects: int
    stored_bytes: int
    raw_bytes: int

    TABLE: ClassVar[str] = "packs"
    COLUMNS: ClassVar[tuple[str, ...]] = (
        "id",
        "state",
        "gc_gen",
        "owner",
        "objects",
        "bytes",
        "raw_bytes",
    )

    def record(self) -> tuple[Any, ...]:
        """The fields as SQLite stores them."""
        pack_id, state, *rest = _FIELDS[PackRow](self)
        return (pack_id, int(state), *rest)

    @classmethod
    def from_record(cls, record: Sequence[Any]) -> Self:
        """The row whose fields are ``record``, which has passed its checksum."""
        pack_id, state, *rest = record
        return cls(pack_id, PackState(state), *rest)

    def kept_at(self, generation: int | None) -> bool:
        """Whether a lease keeps the pack, once condemned.

        Args:
            generation: What the lease pins. None, for one that cannot be read, keeps everything.
        """
        return generation is None or self.gc_gen > generation

    def moved(self, state: PackState, *, gc_gen: int | None, owner: str | None) -> PackRow:
        """The row in another state."""
        return replace(
            self,
            state=state,
            gc_gen=self.gc_gen if gc_gen is None else gc_gen,
            owner=self.owner if owner is None else owner,
        )


TABLES: tuple[type[Row], ...] = (RefRow, OpRow, ReflogRow, PinRow, PackRow)
SELECT = {kind: f"SELECT {', '.join((*kind.COLUMNS, 'sum'))} FROM {kind.TABLE} " for kind in TABLES}
"""Rows with their checksums, whichever they are: a condition follows."""
INSERT = {
    kind: f"INSERT INTO {kind.TABLE} ({', '.join((*kind.COLUMNS, 'sum'))}) "
    f"VALUES ({', '.join('?' * (len(kind.COLUMNS) + 1))})"
    for kind in TABLES
}
UPDATE = {
    kind: f"UPDATE {kind.TABLE} "
    f"SET {', '.join(f'{name} = ?' for name in (*kind.COLUMNS[1:], 'sum'))} "
    f"WHERE {kind.COLUMNS[0]} = ?"
    for kind in TABLES
}
"""All columns but the key: to set that too costs SQLite a row taken out and put back."""
_FIELDS = {kind: attrgetter(*(spec.name for spec in fields(kind))) for kind in TABLES}


@dataclass(frozen=True, slots=True)
class Summary:
    """How many rows, and their hashes added up."""

    rows: int = 0
    total: int = 0

    @classmethod
    def over(cls, digests: Iterable[bytes]) -> Summary:
        """What rows with these hashes add up to."""
        rows = total = 0
        for digest in digests:
            rows += 1
            total += int.from_bytes(digest, "big")
        return cls(rows, total % _MODULUS)

    def grown(self, rows: int, total: int) -> Summary:
        """With so many more rows, whose hashes add up to ``total``."""
        return Summary(self.rows + rows, (self.total + total) % _MODULUS)

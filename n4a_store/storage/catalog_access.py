"""What can be read and changed in one transaction of the catalog.

Rows that fail their checksum raise; a writer keeps each table's summary in step with its rows.
A reader or writer lives as long as the transaction that :class:`Catalog` opened for it.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from n4a_store.errors import CorruptionError
from n4a_store.storage.clock import now_us
from n4a_store.storage.live_packs import LivePacks, PackMemo
from n4a_store.storage.rows import (
    INSERT,
    SELECT,
    SUM_BYTES,
    TABLES,
    UPDATE,
    OpRow,
    PackRow,
    PackState,
    PinRow,
    ReflogRow,
    RefRow,
    Row,
    Summary,
    row_hash,
    row_sum,
)
from n4a_store.storage.sqlite_errors import sqlite_errors

__all__ = ["CatalogReader", "CatalogWriter"]

AnyRow = TypeVar("AnyRow", bound=Row)
_MOST_KNOWN = 65_536
_ALL_SUMMARIES = "SELECT name, rows, total, sum FROM summaries"
# The greatest code point closes the range: LIKE would fold case and read wildcards.
_WITHIN, _LAST = "WHERE name >= ? AND name < ?", "\U0010ffff"
_MOST_NAMES = 100  # in one statement; SQLite takes 999 at least
_known_packs: dict[object, Row] = {}


class CatalogReader:
    """What can be read in one transaction. Rows that fail their checksum raise."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path, memo: PackMemo | None = None
    ) -> None:
        self._connection = connection
        self._path = path
        self._errors = sqlite_errors(path)
        self._memo = PackMemo() if memo is None else memo
        self._stored_meta: dict[str, tuple[Any, bytes]] | None = None

    def _rows(
        self, kind: type[AnyRow], where: str = "", values: Iterable[object] = ()
    ) -> Iterator[AnyRow]:
        with self._errors:
            for record in self._connection.execute(SELECT[kind] + where, tuple(values)):
                # The packs are read again and again. Equal values of equal types have an equal
                # checksum, which has been looked at; 1 and 1.0 are not of one type.
                seen = (record, tuple(map(type, record))) if kind is PackRow else None
                known = _known_packs.get(seen)
                if known is not None:
                    yield cast(AnyRow, known)
                    continue
                row, _ = self._checked(kind, record)
                if seen is not None:
                    if len(_known_packs) >= _MOST_KNOWN:
                        _known_packs.clear()
                    _known_packs[seen] = row
                yield row

    def _checked(self, kind: type[AnyRow], record: Sequence[Any]) -> tuple[AnyRow, bytes]:
        """The row that is stored as ``record``, and its hash."""
        *fields, stored_sum = record
        digest = row_hash(kind.TABLE, fields)
        if digest[:SUM_BYTES] != stored_sum:
            raise self._damage(f"a row of {kind.TABLE} ({fields[0]!r:.80}) fails its checksum")
        try:
            return kind.from_record(fields), digest
        except ValueError as error:
            raise CorruptionError(
                f"the catalog {self._path} holds a row of {kind.TABLE} that this program "
                f"could never have written: {error}"
            ) from error

    def _added_up(self, kind: type[Row]) -> Summary:
        """What all rows of a table add up to, each of them checked, also one that is known."""
        with self._errors:
            records = self._connection.execute(SELECT[kind])
            return Summary.over(self._checked(kind, record)[1] for record in records)

    def _one(self, kind: type[AnyRow], where: str, values: tuple[object, ...]) -> AnyRow | None:
        with self._errors:
            record = self._connection.execute(SELECT[kind] + where, values).fetchone()
        return None if record is None else self._checked(kind, record)[0]

    def meta(self, key: str) -> int | bytes | str:
        """A value of the meta table.

        Raises:
            CorruptionError: It is missing or damaged.
        """
        value = self.find_meta(key)
        if value is None:
            raise self._damage(f"meta value {key!r}")
        return value

    def find_meta(self, key: str) -> int | bytes | str | None:
        """A value of the meta table, None when it has never been set.

        Raises:
            CorruptionError: It is damaged.
        """
        if self._stored_meta is None:
            # There are a handful: who asks for one asks for another.
            with self._errors:
                records = self._connection.execute("SELECT key, value, sum FROM meta")
                self._stored_meta = {name: (value, total) for name, value, total in records}
        record = self._stored_meta.get(key)
        if record is None:
            return None
        if row_sum("meta", [key, record[0]]) != record[1]:
            raise self._damage(f"meta value {key!r}")
        value: int | bytes | str = record[0]
        return value

    def _damage(self, what: str) -> CorruptionError:
        text = f"the catalog {self._path} is damaged: {what}"
        return CorruptionError(text, hint="run: n4a-store fsck")

    def _meta_int(self, key: str) -> int:
        value = self.meta(key)
        if not isinstance(value, int):
            raise self._damage(f"meta value {key!r}")
        return value

    def generation(self) -> int:
        """The number of the newest condemnation."""
        return self._meta_int("generation")

    def sequence(self) -> int:
        """The number of the newest operation."""
        return self._meta_int("sequence")

    def epoch(self) -> bytes:
        """What tells this catalog's packs from those of another history; 8 bytes."""
        value = self.meta("epoch")
        if not isinstance(value, bytes):
            raise self._damage("meta value 'epoch'")
        return value

    def packs(self, states: Iterable[PackState] | None = None) -> list[PackRow]:
        """The packs, or those in some states, by id."""
        if states is None:
            return list(self._rows(PackRow, "ORDER BY id"))
        chosen = [int(state) for state in states]
        marks = ", ".join("?" * len(chosen))
        return list(self._rows(PackRow, f"WHERE state IN ({marks}) ORDER BY id", chosen))

    def condemned_since(self, generation: int) -> list[PackRow]:
        """The packs that were condemned later, which a lease of that generation keeps."""
        return [row for row in self.packs((PackState.CONDEMNED,)) if row.kept_at(generation)]

    def live_packs(self) -> LivePacks:
        """The live packs; they are read only when somebody else has changed the table."""
        return self._memo.at(self.summary(PackRow.TABLE), lambda: self.packs((PackState.LIVE,)))

    def pack(self, pack_id: str) -> PackRow | None:
        """One pack."""
        return self._one(PackRow, "WHERE id = ?", (pack_id,))

    def ref(self, name: str) -> RefRow | None:
        """One ref."""
        return self._one(RefRow, "WHERE name = ?", (name,))

    def refs_called(self, names: Collection[str]) -> dict[str, RefRow]:
        """Those of some refs that there are, by name; as many names as a statement may hold."""
        marks = ", ".join("?" * len(names))
        return {row.name: row for row in self._rows(RefRow, f"WHERE name IN ({marks})", names)}

    def refs_from(self, name: str, most: int) -> Iterator[RefRow]:
        """At most so many refs whose name is ``name`` or comes after it, sorted by name."""
        return self._rows(RefRow, "WHERE name >= ? ORDER BY name LIMIT ?", (name, most))

    def refs(self, prefix: str = "") -> Iterator[RefRow]:
        """The refs whose name begins with ``prefix``, sorted by name."""
        if not prefix:
            return self._rows(RefRow, "ORDER BY name")
        return self._rows(RefRow, f"{_WITHIN} ORDER BY name", (prefix, prefix + _LAST))

    def last_refs(
        self, prefix: str, kind: int, column: Literal["name", "op"], most: int
    ) -> list[RefRow]:
        """At most so many refs of one kind below ``prefix``: the last by a column, last first."""
        where = f"{_WITHIN} AND kind = ? ORDER BY {column} DESC, name LIMIT ?"
        return list(self._rows(RefRow, where, (prefix, prefix + _LAST, kind, most)))

    def reflog(self, name: str | None = None) -> Iterator[ReflogRow]:
        """The reflog of one ref or of all, newest first."""
        if name is None:
            return self._rows(ReflogRow, "ORDER BY id DESC")
        return self._rows(ReflogRow, "WHERE name = ? ORDER BY id DESC", (name,))

    def refs_since(self, op: int) -> list[RefRow]:
        """The refs that were set after operation ``op``."""
        return list(self._rows(RefRow, "WHERE op > ? ORDER BY name", (op,)))

    def reflog_since(self, op: int) -> list[ReflogRow]:
        """What was changed after operation ``op``."""
        return list(self._rows(ReflogRow, "WHERE op > ? ORDER BY id", (op,)))

    def reflog_row(self, number: int) -> ReflogRow | None:
        """One change."""
        return self._one(ReflogRow, "WHERE id = ?", (number,))

    def reflog_of(self, op: int) -> list[ReflogRow]:
        """What one operation changed."""
        return list(self._rows(ReflogRow, "WHERE op = ? ORDER BY id", (op,)))

    def op(self, number: int) -> OpRow | None:
        """One operation."""
        return self._one(OpRow, "WHERE op = ?", (number,))

    def op_of_commit(self, commit_id: str) -> OpRow | None:
        """The operation of a commit, None when that commit never happened."""
        return self._one(OpRow, "WHERE commit_id = ?", (commit_id,))

    def ops(self) -> Iterator[OpRow]:
        """All operations, newest first."""
        return self._rows(OpRow, "ORDER BY op DESC")

    def ops_before(self, at_us: int) -> dict[int, OpRow]:
        """The operations older than ``at_us``, microseconds since 1970, by number."""
        return {row.op: row for row in self._rows(OpRow, "WHERE at < ? ORDER BY op", (at_us,))}

    def pin(self, name: str) -> PinRow | None:
        """One pin."""
        return self._one(PinRow, "WHERE name = ?", (name,))

    def pins(self) -> list[PinRow]:
        """All pins."""
        return list(self._rows(PinRow, "ORDER BY name"))

    def summary(self, table: str) -> Summary:
        """What the rows of ``table`` should add up to."""
        with self._errors:
            record = self._connection.execute(
                "SELECT name, rows, total, sum FROM summaries WHERE name = ?", (table,)
            ).fetchone()
        return self._summary(table, record)

    def _summary(self, table: str, record: Sequence[Any] | None) -> Summary:
        if record is None or row_sum("summaries", record[:3]) != record[3]:
            raise self._damage(f"summary of {table}")
        return Summary(record[1], int.from_bytes(record[2], "big"))

    def verify(self, tables: Iterable[type[Row]] = TABLES) -> None:
        """Read every row of ``tables`` and check that none has changed, vanished or appeared.

        Raises:
            CorruptionError: One has.
        """
        with self._errors:
            # The sums below are over rows; this compares the indexes with them.
            (said,) = self._connection.execute("PRAGMA integrity_check(1)").fetchone()
        if said != "ok":
            raise CorruptionError(
                f"the catalog {self._path} is damaged: {said}",
                hint="run: n4a-store fsck; restore catalog.db from a backup",
            )
        for kind in tables:
            found = self._added_up(kind)
            if found != self.summary(kind.TABLE):
                raise self._damage(
                    f"table {kind.TABLE} holds {found.rows} rows that do not add up to the "
                    f"{self.summary(kind.TABLE).rows} it should"
                )


class CatalogWriter(CatalogReader):
    """One write transaction. Nothing is visible before it ends; an exception undoes all."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path, memo: PackMemo | None = None
    ) -> None:
        super().__init__(connection, path, memo)
        self._changes: dict[str, list[int]] = {}
        """How many rows each changed table has gained, and what their hashes add up to."""
        self._moved: list[tuple[PackRow | None, PackRow | None]] = []
        self._stored_sums: dict[str, Sequence[Any]] | None = None
        self._before: dict[str, Summary] = {}
        self._packs_after = Summary()
        self._meta: dict[str, int | bytes | str] = {}
        self._refs: dict[str, RefRow | None] = {}
        self.caught_up = False
        """Whether it counts on from where a lost catalog had stopped."""

    # --- reading: nobody else changes anything meanwhile, so that once is enough ---------------

    def summary(self, table: str) -> Summary:
        """What the rows of ``table`` added up to when the transaction began."""
        found = self._before.get(table)
        if found is None:
            if self._stored_sums is None:
                with self._errors:
                    records = self._connection.execute(_ALL_SUMMARIES)
                    self._stored_sums = {record[0]: record for record in records}
            found = self._before[table] = self._summary(table, self._stored_sums.get(table))
        return found

    def _known_packs(self) -> LivePacks | None:
        """The live packs, where they are known without reading their table."""
        return None if self._moved else self._memo.known(self.summary(PackRow.TABLE))

    def pack(self, pack_id: str) -> PackRow | None:
        """One pack; it is not read when it is known to be live."""
        known = self._known_packs()
        row = None if known is None else known.rows.get(pack_id)
        return super().pack(pack_id) if row is None else row

    def condemned(self) -> list[PackRow]:
        """The condemned packs; the table is not read when all packs are known to be live."""
        known = self._known_packs()
        if known is not None and len(known.rows) == self.summary(PackRow.TABLE).rows:
            return []
        return self.packs((PackState.CONDEMNED,))

    def ref(self, name: str) -> RefRow | None:
        """One ref."""
        try:
            return self._refs[name]
        except KeyError:
            found = self._refs[name] = super().ref(name)
            return found

    def expect_refs(self, names: Collection[str]) -> None:
        """Read at once what :meth:`ref` will be asked for."""
        if 0 < len(names) <= _MOST_NAMES:
            found = self.refs_called(names)
            self._refs.update((name, found.get(name)) for name in names)

    # --- writing ------------------------------------------------------------------------------

    def _note(self, row: Row, digest: bytes, count: int) -> None:
        change = self._changes.setdefault(row.TABLE, [0, 0])
        change[0] += count
        change[1] += count * int.from_bytes(digest, "big")
        if isinstance(row, PackRow):
            self._moved.append((None, row) if count > 0 else (row, None))
        elif isinstance(row, RefRow):
            self._refs[row.name] = row if count > 0 else None

    def put(self, row: Row, replaced: Row | None = None) -> None:
        """Insert ``row``, in place of ``replaced``, which has the same key and is there now."""
        record = row.record()
        digest = row_hash(row.TABLE, record)
        values = (*record, digest[:SUM_BYTES])
        if replaced is None:
            with self._errors:
                self._connection.execute(INSERT[type(row)], values)
        else:
            before = replaced.record()
            with self._errors:
                cursor = self._connection.execute(UPDATE[type(row)], (*values[1:], before[0]))
            self._note_one_gone(replaced, before, cursor.rowcount)
        self._note(row, digest, 1)

    def delete(self, row: Row) -> None:
        """Delete ``row``, which is there now."""
        record = row.record()
        with self._errors:
            cursor = self._connection.execute(
                f"DELETE FROM {row.TABLE} WHERE {row.COLUMNS[0]} = ?", (record[0],)
            )
        self._note_one_gone(row, record, cursor.rowcount)

    def _note_one_gone(self, row: Row, record: Sequence[Any], count: int) -> None:
        if count != 1:
            raise CorruptionError(f"the catalog {self._path} lost a row of {row.TABLE}")
        self._note(row, row_hash(row.TABLE, record), -1)

    def find_meta(self, key: str) -> int | bytes | str | None:
        """A value of the meta table as this transaction will leave it; None when never set."""
        value = self._meta.get(key)
        return super().find_meta(key) if value is None else value

    def set_meta(self, key: str, value: int | bytes | str) -> None:
        """Set a value of the meta table; it is written when the transaction ends."""
        self._meta[key] = value

    def next_generation(self) -> int:
        """Begin a new generation."""
        generation = self.generation() + 1
        self.set_meta("generation", generation)
        return generation

    def next_op(self, action: str, message: str, commit_id: str | None = None) -> OpRow:
        """Begin an operation: the unit that undo takes back."""
        number = self.sequence() + 1
        self.set_meta("sequence", number)
        row = OpRow(number, commit_id or uuid.uuid4().hex, now_us(), action, message)
        self.put(row)
        return row

    def next_reflog_id(self) -> int:
        """The number of the next reflog row."""
        number = self._meta_int("reflog") + 1
        self.set_meta("reflog", number)
        return number

    def set_pack_state(
        self, row: PackRow, state: PackState, *, gc_gen: int | None = None, owner: str | None = None
    ) -> PackRow:
        """Move a pack to another state."""
        changed = row.moved(state, gc_gen=gc_gen, owner=owner)
        self.put(changed, replaced=row)
        return changed

    def finish(self) -> None:
        """Write what is kept until the end: meta values, and the summaries of changed tables."""
        metas = [(key, value, row_sum("meta", [key, value])) for key, value in self._meta.items()]
        with self._errors:
            self._connection.executemany(
                "INSERT OR REPLACE INTO meta (key, value, sum) VALUES (?, ?, ?)", metas
            )
        changed = []
        for table, (rows, hashes) in self._changes.items():
            total = self.summary(table).grown(rows, hashes)
            if table == PackRow.TABLE:
                self._packs_after = total
            record = [table, total.rows, total.total.to_bytes(16, "big")]
            changed.append((*record, row_sum("summaries", record)))
        with self._errors:
            self._connection.executemany(
                "INSERT OR REPLACE INTO summaries (name, rows, total, sum) VALUES (?, ?, ?, ?)",
                changed,
            )

    def committed(self) -> None:
        """Say that the transaction has been committed after it was finished."""
        if self._moved:
            self._memo.moved(self.summary(PackRow.TABLE), self._packs_after, self._moved)

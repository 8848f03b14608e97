"""The catalog: one SQLite file that holds everything that changes, and the only commit point.

It guarantees that a write transaction is wholly there or wholly absent, that acknowledged means
durable, and that a damaged byte is noticed: every row carries a checksum, and each table's rows
are summed, so that a row that vanished is noticed as well (SQLite alone lets both pass).

SQLite runs with a rollback journal in ``TRUNCATE`` mode and ``synchronous=FULL``. Not WAL: the
SQLite 3.40 of current interpreters can corrupt a WAL that is reset beside a reader, and WAL does
not work on network file systems. Not ``DELETE``: a crash after the commit can resurrect the
journal. Reads are short: an open read transaction would make a commit wait.

After a fork the child must not touch the inherited connection (closing it would truncate the
parent's journal): a :class:`Catalog` notices the new pid, leaks the old one and opens its own.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from n4a_store.errors import (
    BackendError,
    CorruptionError,
    LockedError,
    StoreNotFoundError,
    UnsupportedFormatError,
)
from n4a_store.settings import Durability
from n4a_store.storage import system
from n4a_store.storage.locks import FileLock
from n4a_store.storage.rows import (
    SCHEMA,
    TABLES,
    OpRow,
    PackRow,
    PackState,
    PinRow,
    ReflogRow,
    RefRow,
    Row,
    Summary,
    row_sum,
)

__all__ = ["Catalog", "CatalogReader", "CatalogWriter"]

log = logging.getLogger(__name__)

CATALOG_VERSION = 1
_BUSY_SECONDS = 30.0
_SYNCHRONOUS = {Durability.FULL: "FULL", Durability.RELAXED: "NORMAL", Durability.NONE: "OFF"}
AnyRow = TypeVar("AnyRow", bound=Row)
_leaked: list[sqlite3.Connection] = []


@contextmanager
def _sqlite_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours, told apart by what the handler would do."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorname", "") or ""
        if code.startswith("SQLITE_BUSY"):
            raise LockedError(f"the catalog {path} is busy", hint="try again") from error
        if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_MISUSE", "SQLITE_ERROR")):
            raise CorruptionError(
                f"the catalog {path} is damaged: {error}",
                hint="run: n4a-store fsck; restore catalog.db from a backup",
            ) from error
        raise BackendError(f"the catalog {path}: {error} ({code})") from error
    except (OverflowError, UnicodeDecodeError) as error:
        raise CorruptionError(f"the catalog {path} is damaged: {error}") from error


class CatalogReader:
    """What can be read in one transaction. Rows that fail their checksum raise."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def _rows(
        self, kind: type[AnyRow], where: str = "", values: Iterable[object] = ()
    ) -> Iterator[AnyRow]:
        columns = ", ".join((*kind.COLUMNS, "sum"))
        query = f"SELECT {columns} FROM {kind.TABLE} {where}"
        with _sqlite_errors(self._path):
            for record in self._connection.execute(query, tuple(values)):
                *fields, stored_sum = record
                if row_sum(kind.TABLE, fields) != stored_sum:
                    raise CorruptionError(
                        f"the catalog {self._path} is damaged: a row of {kind.TABLE} "
                        f"({fields[0]!r:.80}) fails its checksum",
                        hint="run: n4a-store fsck",
                    )
                yield kind.from_record(fields)

    def _one(self, kind: type[AnyRow], where: str, values: Iterable[object]) -> AnyRow | None:
        return next(self._rows(kind, where, values), None)

    def meta(self, key: str) -> int | bytes | str:
        """A value of the meta table.

        Raises:
            CorruptionError: It is missing or damaged.
        """
        with _sqlite_errors(self._path):
            record = self._connection.execute(
                "SELECT value, sum FROM meta WHERE key = ?", (key,)
            ).fetchone()
        if record is None or row_sum("meta", [key, record[0]]) != record[1]:
            raise CorruptionError(
                f"the catalog {self._path} is damaged: meta value {key!r}",
                hint="run: n4a-store fsck",
            )
        value: int | bytes | str = record[0]
        return value

    def _meta_int(self, key: str) -> int:
        value = self.meta(key)
        if not isinstance(value, int):
            raise CorruptionError(f"the catalog {self._path} is damaged: meta value {key!r}")
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
            raise CorruptionError(f"the catalog {self._path} is damaged: meta value 'epoch'")
        return value

    def packs(self, states: Iterable[PackState] | None = None) -> list[PackRow]:
        """The packs, or those in some states, by id."""
        if states is None:
            return list(self._rows(PackRow, "ORDER BY id"))
        chosen = [int(state) for state in states]
        marks = ", ".join("?" * len(chosen))
        return list(self._rows(PackRow, f"WHERE state IN ({marks}) ORDER BY id", chosen))

    def pack(self, pack_id: str) -> PackRow | None:
        """One pack."""
        return self._one(PackRow, "WHERE id = ?", (pack_id,))

    def ref(self, name: str) -> RefRow | None:
        """One ref."""
        return self._one(RefRow, "WHERE name = ?", (name,))

    def refs(self, prefix: str = "") -> Iterator[RefRow]:
        """The refs whose name begins with ``prefix``, sorted by name."""
        if not prefix:
            return self._rows(RefRow, "ORDER BY name")
        # The greatest code point closes the range: LIKE would fold case and read wildcards.
        bounds = (prefix, prefix + "\U0010ffff")
        return self._rows(RefRow, "WHERE name >= ? AND name < ? ORDER BY name", bounds)

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

    def pin(self, name: str) -> PinRow | None:
        """One pin."""
        return self._one(PinRow, "WHERE name = ?", (name,))

    def pins(self) -> list[PinRow]:
        """All pins."""
        return list(self._rows(PinRow, "ORDER BY name"))

    def summary(self, table: str) -> Summary:
        """What the rows of ``table`` should add up to."""
        with _sqlite_errors(self._path):
            record = self._connection.execute(
                "SELECT rows, total, sum FROM summaries WHERE name = ?", (table,)
            ).fetchone()
        if record is None or row_sum("summaries", [table, record[0], record[1]]) != record[2]:
            raise CorruptionError(f"the catalog {self._path} is damaged: summary of {table}")
        return Summary(record[0], int.from_bytes(record[1], "big"))

    def verify(self, tables: Iterable[type[Row]] = TABLES) -> None:
        """Read every row of ``tables`` and check that none has changed, vanished or appeared.

        Raises:
            CorruptionError: One has.
        """
        for kind in tables:
            found = Summary()
            for row in self._rows(kind):
                found = found.plus(row)
            if found != self.summary(kind.TABLE):
                raise CorruptionError(
                    f"the catalog {self._path} is damaged: table {kind.TABLE} holds {found.rows} "
                    f"rows that do not add up to the {self.summary(kind.TABLE).rows} it should",
                    hint="run: n4a-store fsck",
                )


class CatalogWriter(CatalogReader):
    """One write transaction. Nothing is visible before it ends; an exception undoes all."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        super().__init__(connection, path)
        self._changes: dict[str, Summary] = {}

    def _note(self, table: str, change: Callable[[Summary], Summary]) -> None:
        self._changes[table] = change(self._changes.get(table, Summary()))

    def put(self, row: Row, replaced: Row | None = None) -> None:
        """Insert ``row``, in place of ``replaced``, which has the same key and is there now."""
        kind = type(row)
        record = row.record()
        marks = ", ".join("?" * (len(record) + 1))
        columns = ", ".join((*kind.COLUMNS, "sum"))
        with _sqlite_errors(self._path):
            if replaced is not None:
                self.delete(replaced)
            self._connection.execute(
                f"INSERT INTO {kind.TABLE} ({columns}) VALUES ({marks})",
                (*record, row_sum(kind.TABLE, record)),
            )
        self._note(kind.TABLE, lambda summary: summary.plus(row))

    def delete(self, row: Row) -> None:
        """Delete ``row``, which is there now."""
        kind = type(row)
        with _sqlite_errors(self._path):
            cursor = self._connection.execute(
                f"DELETE FROM {kind.TABLE} WHERE {kind.COLUMNS[0]} = ?",
                (row.record()[0],),
            )
        if cursor.rowcount != 1:
            raise CorruptionError(f"the catalog {self._path} lost a row of {kind.TABLE}")
        self._note(kind.TABLE, lambda summary: summary.minus(row))

    def set_meta(self, key: str, value: int | bytes | str) -> None:
        """Set a value of the meta table."""
        with _sqlite_errors(self._path):
            self._connection.execute(
                "INSERT OR REPLACE INTO meta (key, value, sum) VALUES (?, ?, ?)",
                (key, value, row_sum("meta", [key, value])),
            )

    def next_generation(self) -> int:
        """Begin a new generation."""
        generation = self.generation() + 1
        self.set_meta("generation", generation)
        return generation

    def next_op(self, action: str, message: str, commit_id: str | None = None) -> OpRow:
        """Begin an operation: the unit that undo takes back."""
        number = self.sequence() + 1
        self.set_meta("sequence", number)
        row = OpRow(number, commit_id or uuid.uuid4().hex, time.time_ns() // 1000, action, message)
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
        """Write the summaries of the tables that changed."""
        for table, change in self._changes.items():
            total = self.summary(table).joined(change)
            record = [table, total.rows, total.total.to_bytes(16, "big")]
            with _sqlite_errors(self._path):
                self._connection.execute(
                    "INSERT OR REPLACE INTO summaries (name, rows, total, sum) VALUES (?, ?, ?, ?)",
                    (*record, row_sum("summaries", record)),
                )


class Catalog:
    """The catalog of one store.

    Args:
        path: The SQLite file, which must exist.
        commit_lock: The file that serialises write transactions.
        durability: What an acknowledged commit survives.
        read_only: Open a store on a read-only file system: no locks, no journal.
    """

    def __init__(
        self,
        path: Path,
        commit_lock: Path,
        durability: Durability,
        *,
        read_only: bool = False,
        shared_group: bool = False,
    ) -> None:
        self._path = path
        self._commit_lock = commit_lock
        self._durability = durability
        self._read_only = read_only
        self._shared_group = shared_group
        self._mutex = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._pid = os.getpid()
        with self.read():
            pass  # what cannot be opened should say so now

    @staticmethod
    def create(path: Path) -> None:
        """Make an empty catalog at ``path``; the caller makes it durable and gives it its name."""
        with _sqlite_errors(path):
            connection = sqlite3.connect(path, isolation_level=None)
            try:
                connection.execute("PRAGMA journal_mode=TRUNCATE")
                connection.execute("BEGIN")
                for statement in SCHEMA:
                    connection.execute(statement)
                writer = CatalogWriter(connection, path)
                writer.set_meta("version", CATALOG_VERSION)
                writer.set_meta("generation", 0)
                writer.set_meta("sequence", 0)
                writer.set_meta("reflog", 0)
                writer.set_meta("epoch", os.urandom(8))
                for kind in TABLES:
                    record = [kind.TABLE, 0, bytes(16)]
                    connection.execute(
                        "INSERT INTO summaries (name, rows, total, sum) VALUES (?, ?, ?, ?)",
                        (*record, row_sum("summaries", record)),
                    )
                connection.execute("COMMIT")
            finally:
                connection.close()

    def _connect(self) -> sqlite3.Connection:
        if self._connection is not None and self._pid != os.getpid():
            # Closing would touch the parent's journal and drop its locks: leak it on purpose.
            _leaked.append(self._connection)
            self._connection = None
        if self._connection is None:
            self._connection = self._open()
            self._pid = os.getpid()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        if not self._path.is_file():
            raise StoreNotFoundError(
                f"the catalog {self._path} is missing",
                hint="restore it from a backup; it is never created anew over existing packs",
            )
        mode = "mode=ro&immutable=1" if self._read_only else "mode=rw"
        with _sqlite_errors(self._path):
            connection = sqlite3.connect(
                f"file:{quote(str(self._path))}?{mode}",
                uri=True,
                timeout=_BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                # A catalog may come from anybody: no functions from its schema, sizes checked.
                connection.execute("PRAGMA trusted_schema=OFF")
                connection.execute("PRAGMA cell_size_check=ON")
                if not self._read_only:
                    connection.execute(f"PRAGMA synchronous={_SYNCHRONOUS[self._durability]}")
                    connection.execute("PRAGMA journal_mode=TRUNCATE")
                found = {
                    sql
                    for (sql,) in connection.execute(
                        "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"
                    )
                }
                version = CatalogReader(connection, self._path).meta("version")
            except BaseException:
                connection.close()
                raise
        if version != CATALOG_VERSION:
            connection.close()
            raise UnsupportedFormatError(
                f"the catalog {self._path} is of version {version!r}; this program reads version "
                f"{CATALOG_VERSION}",
                hint="upgrade n4a_store",
            )
        if found != set(SCHEMA):
            connection.close()
            raise CorruptionError(
                f"the catalog {self._path} has another schema than it should",
                hint="restore catalog.db from a backup",
            )
        return connection

    @contextmanager
    def read(self) -> Iterator[CatalogReader]:
        """One consistent look at the catalog; keep it short."""
        with self._mutex:
            connection = self._connect()
            system.step("catalog-read", str(self._path))
            with _sqlite_errors(self._path):
                connection.execute("BEGIN")
            try:
                yield CatalogReader(connection, self._path)
            finally:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")

    @contextmanager
    def write(self) -> Iterator[CatalogWriter]:
        """One write transaction, alone in the store; committed when the block ends.

        Raises:
            BackendError: The disk refused; nothing has changed.
            LockedError: Another program keeps the catalog busy.
        """
        if self._read_only:
            raise BackendError(f"the catalog {self._path} is open read-only")
        with (
            self._mutex,
            FileLock(self._commit_lock, shared_group=self._shared_group) as lock,
        ):
            connection = self._connect()
            system.step("catalog-begin", str(self._path))
            with _sqlite_errors(self._path):
                connection.execute("BEGIN IMMEDIATE")
            writer = CatalogWriter(connection, self._path)
            try:
                yield writer
                writer.finish()
                sequence = writer.sequence()
                system.step("catalog-commit", str(self._path))
                with _sqlite_errors(self._path):
                    connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
            self._note_sequence(lock, sequence)

    def _note_sequence(self, lock: FileLock, sequence: int) -> None:
        """Leave the number of this commit outside the catalog, so that an older one is noticed.

        It comes after the commit and is not synced: it may lag behind the catalog after a power
        cut, but only a catalog that was put back from a backup can lag behind it.
        """
        try:
            lock.write_note(str(sequence))
        except (BackendError, OSError) as error:
            log.warning("the commit is done, but its number could not be noted: %s", error)

    def noted_sequence(self) -> int | None:
        """The number of the newest commit that was noted outside the catalog, None if unknown."""
        try:
            note = self._commit_lock.read_text(errors="replace").strip()
        except OSError:
            return None
        return int(note) if note.isascii() and note.isdigit() else None

    def close(self) -> None:
        """Close the connection, unless it was inherited over a fork."""
        with self._mutex:
            connection, self._connection = self._connection, None
            if connection is None:
                return
            if self._pid != os.getpid():
                _leaked.append(connection)
                return
            connection.close()

"""The catalog: one SQLite file that holds everything that changes, and the only commit point.

It guarantees that a write transaction is wholly there or wholly absent, that acknowledged means
durable, and that a damaged byte is noticed: every row carries a checksum, and each table's rows
are summed, so that a row that vanished is noticed as well (SQLite alone lets both pass).

SQLite runs with a rollback journal in ``TRUNCATE`` mode and ``synchronous=FULL``. Not WAL: the
SQLite 3.40 of current interpreters can corrupt a WAL that is reset beside a reader, and WAL does
not work on network file systems. Not ``DELETE``: a crash after the commit can resurrect the
journal. Reads are short: an open read transaction would make a commit wait.

A fork waits until nobody is within a transaction (``fork_gate``). After it the child must not touch
the inherited connection, not even to free its memory: closing it would truncate the parent's
journal, and a commit that was acknowledged would be lost. A handler that runs in the child leaks it
for good; the next use opens another.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from n4a_store.errors import (
    BackendError,
    CorruptionError,
    InvalidInputError,
    LockedError,
    UnsupportedFormatError,
)
from n4a_store.settings import Durability
from n4a_store.storage import fork_gate, system
from n4a_store.storage.catalog_access import CatalogReader, CatalogWriter
from n4a_store.storage.files import read_text
from n4a_store.storage.hot_journal import is_hot, rolled_back_copy
from n4a_store.storage.live_packs import PackMemo
from n4a_store.storage.locks import FileLock
from n4a_store.storage.rows import SCHEMA, TABLES, row_sum
from n4a_store.storage.sqlite_errors import sqlite_errors

__all__ = ["Catalog"]

log = logging.getLogger(__name__)

CATALOG_VERSION = 1
_BUSY_SECONDS = 30.0
_LOOKS = 50
_HINT_FOR_HANDLERS = "let the signal handler raise, or note what is to be done"
_SYNCHRONOUS = {Durability.FULL: "FULL", Durability.RELAXED: "NORMAL", Durability.NONE: "OFF"}
_catalogs: weakref.WeakSet[Catalog] = weakref.WeakSet()


class Catalog:
    """The catalog of one store.

    Args:
        path: The SQLite file, which must exist.
        commit_lock: The file that serialises write transactions.
        durability: What an acknowledged commit survives.
        read_only: Only read. Others may be writing, so SQLite's locks are taken as ever.
        immutable: Open a store on a read-only file system: no locks, no journal.
    """

    def __init__(
        self,
        path: Path,
        commit_lock: Path,
        durability: Durability,
        *,
        read_only: bool = False,
        immutable: bool = False,
        shared_group: bool = False,
    ) -> None:
        self._path = path
        self._commit_lock = commit_lock
        self._durability = durability
        self._read_only = read_only or immutable
        self._immutable = immutable
        self._shared_group = shared_group
        self._mutex = fork_gate.new_mutex(path)  # whoever uses the connection
        self._writing = threading.RLock()  # whoever writes, or waits for its turn; taken first
        self._last_lock: weakref.ref[FileLock] | None = None
        self._connection: sqlite3.Connection | None = None
        self._within: CatalogReader | None = None
        self._memo = PackMemo()
        _catalogs.add(self)
        with self.read():
            pass  # what cannot be opened should say so now

    @staticmethod
    def create(path: Path) -> None:
        """Make an empty catalog at ``path``; the caller makes it durable and gives it its name."""
        with fork_gate.new_mutex(path), sqlite_errors(path):
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
                writer.finish()
                for kind in TABLES:
                    record = [kind.TABLE, 0, bytes(16)]
                    connection.execute(
                        "INSERT INTO summaries (name, rows, total, sum) VALUES (?, ?, ?, ?)",
                        (*record, row_sum("summaries", record)),
                    )
                connection.execute("COMMIT")
            finally:
                connection.close()

    def _connect(self, *, nested: bool = False) -> sqlite3.Connection:
        """The connection, for a thread that has the mutex.

        Nobody else is within a transaction then. One that is open still, unless it is the thread's
        own, is what a Ctrl-C has left: its end was cut short. It ends now.

        Args:
            nested: Whether the thread had the mutex already.
        """
        connection = self._connection
        if connection is None:
            connection = self._connection = self._open()
        elif not nested and (self._within is not None or connection.in_transaction):
            self._end(connection)
            return self._connect()
        return connection

    def _is_within(self) -> bool:
        """Whether this thread has the mutex."""
        return bool(self._mutex._is_owned())  # type: ignore[attr-defined]

    def _forget_parent(self) -> None:
        """In a forked child: let go of the parent's connection without freeing it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if connection.in_transaction:  # of the thread that forked, or left by a Ctrl-C
                fork_gate.refuse(self._path)
            # One reference too many, so that not even the end of the interpreter closes it.
            import ctypes

            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
        # A thread that exists in the parent only may have held them.
        self._mutex = fork_gate.new_mutex(self._path)
        self._writing = threading.RLock()
        self._last_lock = None
        self._within = None
        self._memo = PackMemo()

    def _open(self) -> sqlite3.Connection:
        if not self._path.is_file():
            raise CorruptionError(
                f"the catalog {self._path} is missing",
                hint="restore it from a backup; it is never created anew over existing packs",
            )
        if not self._immutable:
            fork_gate.check(self._path)
        # Not immutable where others may write: SQLite would read around their locks and journal.
        read_only = "mode=ro&immutable=1" if self._immutable else "mode=ro"
        mode = read_only if self._read_only else "mode=rw"
        with sqlite_errors(self._path):
            in_memory = self._immutable and is_hot(self._path)
            connection = (
                rolled_back_copy(self._path)
                if in_memory
                else sqlite3.connect(
                    f"file:{quote(os.fsencode(self._path))}?{mode}",
                    uri=True,
                    timeout=_BUSY_SECONDS,
                    isolation_level=None,
                    check_same_thread=False,
                )
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
        """One consistent look at the catalog; keep it short. A look within a look is the same."""
        nested = self._is_within()
        with self._mutex:
            connection = self._connect(nested=nested)
            if self._within is not None:
                yield self._within
                return
            if nested and connection.in_transaction:  # to end that one would undo it
                raise LockedError(
                    f"the catalog {self._path} is in use by this very thread, which a signal "
                    "handler has interrupted",
                    hint=_HINT_FOR_HANDLERS,
                )
            system.step("catalog-read", str(self._path))
            reader = CatalogReader(connection, self._path, self._memo)
            try:
                # Inside: a Ctrl-C after it must not leave the transaction open.
                with sqlite_errors(self._path):
                    connection.execute("BEGIN")
                self._within = reader
                yield reader
            finally:
                self._end(connection)

    @contextmanager
    def snapshot(self) -> Iterator[CatalogReader]:
        """A look at a copy of this moment's catalog: a long one makes no commit wait.

        The copy is in memory and made page by page, damage included.

        Raises:
            CorruptionError: It is damaged so that not even its pages can be told apart.
        """
        copy = sqlite3.connect(":memory:", isolation_level=None)
        try:
            nested = self._is_within()
            with self._mutex, sqlite_errors(self._path):
                source = self._connect(nested=nested)
                system.step("catalog-read", str(self._path))
                source.backup(copy)
                copy.execute("PRAGMA trusted_schema=OFF")
                copy.execute("PRAGMA cell_size_check=ON")
            yield CatalogReader(copy, self._path)
        finally:
            copy.close()

    @contextmanager
    def write(self) -> Iterator[CatalogWriter]:
        """One write transaction, alone in the store; committed when the block ends.

        Raises:
            BackendError: The disk refused; nothing has changed.
            LockedError: Another program keeps the catalog busy.
        """
        if self._read_only:
            raise BackendError(
                f"the catalog {self._path} is open read-only",
                hint="a change needs permission to write to the store's folder",
            )
        # Not even where the first has not begun yet: a signal handler would wait for itself.
        if self._is_within() or self._writing._is_owned():  # type: ignore[attr-defined]
            raise InvalidInputError(
                "a catalog transaction cannot begin within another",
                hint=_HINT_FOR_HANDLERS,
            )
        with self._writing:
            lock = self._commit_lock_anew()
            # The mutex comes last: others read on while one waits for what may take long.
            with lock, self._mutex:
                connection = self._connect()
                system.step("catalog-begin", str(self._path))
                try:
                    with sqlite_errors(self._path):
                        connection.execute("BEGIN IMMEDIATE")
                    writer = self._within = CatalogWriter(connection, self._path, self._memo)
                    before = writer.sequence()
                    yield writer
                    if connection is not self._connection:
                        raise BackendError("a commit cannot be finished in a forked child")
                    writer.finish()
                    sequence = writer.sequence()
                    is_older = not writer.caught_up and self._keep_ahead(lock, before, sequence)
                    system.step("catalog-commit", str(self._path))
                    with sqlite_errors(self._path):
                        connection.execute("COMMIT")
                    writer.committed()
                finally:
                    self._end(connection)
                if not is_older:
                    self._note_sequence(lock, sequence)

    def _commit_lock_anew(self) -> FileLock:
        """The lock for the next transaction; one that a Ctrl-C has left held is given back.

        Whoever alone writes knows that nobody else of this catalog's is inside it. It goes by
        itself as well, but not as long as a traceback holds it, such as a notebook's last.
        """
        left = None if self._last_lock is None else self._last_lock()
        if left is not None:
            left.give_back()
        lock = FileLock(self._commit_lock, shared_group=self._shared_group)
        self._last_lock = weakref.ref(lock)
        return lock

    def _end(self, connection: sqlite3.Connection) -> None:
        """End whatever has begun on ``connection``, unless it has been committed."""
        if connection is self._connection:  # not in a child that was forked meanwhile
            self._within = None
            self._roll_back(connection)

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        """End a transaction that has not been committed; does nothing to one that has."""
        if connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        if connection.in_transaction:
            # What cannot be rolled back must not be taken for the next transaction.
            log.warning("the catalog %s cannot roll back: it is opened anew", self._path)
            self._connection = None
            connection.close()

    def _keep_ahead(self, lock: FileLock, before: int, sequence: int) -> bool:
        """Whether the catalog is older than the note beside it; then the note stays ahead of it.

        However much is committed, such a catalog is seen to be older until one that has entered
        what it did not list counts on from there (``CatalogWriter.caught_up``). So the note is
        moved, durably, before the commit: whoever dies in between leaves it too far ahead.

        Args:
            before: The number of the last commit in the catalog.
            sequence: The number of this one.
        """
        noted = _as_number(lock.read_note())
        if noted is None or noted <= before:
            return False
        log.warning(
            "the catalog %s is older than what was committed here: gc and repack delete nothing "
            "until that is settled, see docs/howto/backup.md",
            self._path,
        )
        lock.write_note(str(max(noted, sequence + 1)))
        lock.sync_note()
        return True

    def _note_sequence(self, lock: FileLock, sequence: int) -> None:
        """Leave the number of this commit outside the catalog, so that an older one is noticed.

        It comes after the commit and is not synced: it may lag behind the catalog after a power
        cut, but only a catalog that was put back from a backup can lag behind it.
        """
        try:
            lock.write_note(str(sequence))
        except (BackendError, OSError) as error:
            log.warning("the commit is done, but its number could not be noted: %s", error)

    def age(self) -> tuple[int | None, int]:
        """The noted number and the catalog's own, which is smaller only where the catalog is older.

        The catalog is read first: of one that is older the note is ahead at any moment. Of the
        newest one it is so only when somebody commits between the two looks: another look tells.
        """
        noted, sequence = None, 0
        for _ in range(_LOOKS):
            with self.read() as reader:
                sequence = reader.sequence()
            noted = self.noted_sequence()
            if noted is None or noted <= sequence:
                break
        return noted, sequence

    def noted_sequence(self) -> int | None:
        """The number of the newest commit that was noted outside the catalog, None if unknown.

        Of an older catalog that is still being written to, a number that it has not come to.
        """
        try:
            return _as_number((read_text(self._commit_lock) or "").strip())
        except BackendError:
            return None

    def copy_to(self, path: Path) -> None:
        """Write a consistent copy of this moment's catalog to ``path``, which does not exist.

        By SQLite's own backup: reading the file directly could catch half a commit, and closing
        it would drop SQLite's locks in this process. The caller makes the copy durable.

        Raises:
            BackendError: The disk refused.
        """
        nested = self._is_within()
        with self._mutex, sqlite_errors(self._path):
            source = self._connect(nested=nested)
            copy = sqlite3.connect(path, isolation_level=None)
            try:
                source.backup(copy)
            finally:
                copy.close()

    def close(self) -> None:
        """Close the connection; a catalog that is used again opens another."""
        with self._mutex:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def __del__(self) -> None:
        # A connection holds itself, by its cache of statements: its file would stay open for long.
        if getattr(self, "_connection", None) is not None and self._mutex.acquire(blocking=False):
            try:
                self.close()
            finally:
                self._mutex.release()


def _as_number(note: str) -> int | None:
    return int(note) if note.isascii() and note.isdigit() else None


def _forget_parents_catalogs() -> None:
    for catalog in list(_catalogs):
        catalog._forget_parent()


os.register_at_fork(after_in_child=_forget_parents_catalogs)

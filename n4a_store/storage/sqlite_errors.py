"""SQLite's errors as ours, told apart by what the handler would do: wait, repair, or give up."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from n4a_store.errors import BackendError, CorruptionError, LockedError
from n4a_store.storage.system import ErrorsAs, hint_for_opening

__all__ = ["sqlite_errors"]

_DAMAGE = tuple(
    f"SQLITE_{name}"
    for name in ("CORRUPT", "NOTADB", "FORMAT", "TOOBIG", "MISMATCH", "MISUSE", "ERROR")
)
_HINTS = {
    "SQLITE_FULL": "free some space; the store is as it was before",
    "SQLITE_IOERR": "check the health of the disk, the space on it and its quota, then run "
    "n4a-store fsck",
    "SQLITE_CANTOPEN": "check the permissions of the store's folder; a path of more than some 500 "
    "bytes is too long",
    "SQLITE_READONLY_DBMOVED": "the store was moved or replaced while it was open: open it again, "
    "where it is now",
    "SQLITE_NOMEM": "free some memory, or raise the limit on it (ulimit -v)",
}
_RAISED: tuple[type[Exception], ...] = (sqlite3.Error, OverflowError, UnicodeDecodeError)


def sqlite_errors(path: Path) -> ErrorsAs[Exception, Path]:
    """Turn SQLite's errors into ours, told apart by what the handler would do."""
    return ErrorsAs(_RAISED, _translated, path)


def _translated(path: Path, error: Exception) -> BackendError | CorruptionError | LockedError:
    if not isinstance(error, sqlite3.Error):
        return CorruptionError(f"the catalog {path} is damaged: {error}")
    code = getattr(error, "sqlite_errorname", "") or ""
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return LockedError(f"the catalog {path} is busy", hint="try again")
    if code == "SQLITE_READONLY_ROLLBACK":
        return BackendError(
            f"the catalog {path}: a writer died in the middle of a commit, which has to be "
            "rolled back, and this user may not write there",
            hint="let somebody who may write there run any command on the store, such as "
            "n4a-store fsck",
        )
    # Text that is not UTF-8 is found by Python, not by SQLite, and comes without a code.
    undecodable = not code and isinstance(error, sqlite3.OperationalError)
    if undecodable or code.startswith(_DAMAGE):
        return CorruptionError(
            f"the catalog {path} is damaged: {error}",
            hint="run: n4a-store fsck; restore catalog.db from a backup",
        )
    hint = next((hint for prefix, hint in _HINTS.items() if code.startswith(prefix)), None)
    if code.startswith("SQLITE_CANTOPEN"):  # SQLite does not say why
        hint = hint_for_opening() or hint
    return BackendError(f"the catalog {path}: {error} ({code})", hint=hint)

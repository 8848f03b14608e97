"""A catalog whose last commit was cut short, on a disk where it cannot be rolled back.

Its journal is *hot* then: what it holds has to be put back before anything is believed. SQLite does
so at the first look, but not where nothing can be written. There a copy in memory is rolled back.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
import tempfile
from pathlib import Path

from n4a_store.storage.system import backend_errors

__all__ = ["is_hot", "rolled_back_copy"]

log = logging.getLogger(__name__)


def _journal_of(path: Path) -> Path:
    return path.with_name(path.name + "-journal")


def is_hot(path: Path) -> bool:
    """Whether a writer of the catalog at ``path`` died in the middle of a commit."""
    journal = _journal_of(path)
    with backend_errors(f"look at {journal}"):
        try:
            return journal.stat().st_size > 0
        except FileNotFoundError:
            return False


def rolled_back_copy(path: Path) -> sqlite3.Connection:
    """The catalog as it was before the commit that was cut short, in memory.

    On a read-only disk it cannot be rolled back in its place, and read without that it would be
    half of one commit and half of another.

    Raises:
        BackendError: There is no room for a copy.
    """
    log.warning(
        "the catalog %s stands in the middle of a commit, whose writer died or is elsewhere; "
        "what was before it is read, from a copy",
        path,
    )
    copying = backend_errors(f"copy {path}, to roll back a commit that was cut short")
    with copying, tempfile.TemporaryDirectory(prefix="n4a_store-") as folder:
        for file in (path, _journal_of(path)):
            shutil.copyfile(file, Path(folder, file.name))
        copy = sqlite3.connect(Path(folder, path.name), isolation_level=None)
        try:
            memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            copy.backup(memory)  # to read it is to roll it back
        finally:
            copy.close()
    return memory

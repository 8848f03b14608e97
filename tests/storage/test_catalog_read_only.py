"""A catalog of somebody who may only read, while others may be writing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from n4a_store.errors import BackendError
from n4a_store.settings import Durability
from n4a_store.storage.catalog import Catalog


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Catalog.create(tmp_path / "catalog.db")
    return tmp_path


def open_at(folder: Path, *, read_only: bool = False) -> Catalog:
    path, lock = folder / "catalog.db", folder / "commit.lock"
    return Catalog(path, lock, Durability.NONE, read_only=read_only)


def test_a_read_only_catalog_sees_what_others_commit(folder: Path) -> None:
    reader, writer = open_at(folder, read_only=True), open_at(folder)
    for number in range(3):
        with writer.write() as changes:
            op = changes.next_op("commit", f"change {number}")
        with reader.read() as seen:
            assert seen.sequence() == op.op
    reader.close()
    writer.close()


def test_a_commit_that_died_needs_somebody_who_may_roll_it_back(folder: Path) -> None:
    """A hot journal: SQLite may not believe the catalog before it is rolled back."""
    script = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode=TRUNCATE")
connection.execute("PRAGMA cache_size=1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("CREATE TABLE filler (content)")
connection.executemany("INSERT INTO filler VALUES (?)", [(bytes(9000),)] * 200)
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", script, folder / "catalog.db"], check=False)
    assert (folder / "catalog.db-journal").stat().st_size > 0
    with pytest.raises(BackendError, match="rolled back") as caught:
        open_at(folder, read_only=True)
    assert "who may write" in str(caught.value.hint)
    open_at(folder).close()  # who may write rolls it back by looking
    reader = open_at(folder, read_only=True)
    with reader.read() as seen:
        seen.verify()
    reader.close()

"""A copy of the catalog to look at: of one moment, damage included, in nobody's way."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from n4a_store.errors import CorruptionError
from tests.storage.test_catalog import fill, open_at


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fill(tmp_path)
    return tmp_path


def test_a_snapshot_is_of_its_moment_and_makes_no_commit_wait(folder: Path) -> None:
    catalog, other = open_at(folder), open_at(folder)
    with catalog.snapshot() as look:
        before = look.sequence()
        # With an open look, this would wait for it to end.
        with other.write() as writer:
            writer.next_op("commit", "meanwhile")
        assert look.sequence() == before
        look.verify()
    with catalog.snapshot() as look:
        assert look.sequence() == before + 1
    catalog.close()
    other.close()


def test_a_snapshot_shows_the_damage_of_what_it_was_made_from(folder: Path) -> None:
    connection = sqlite3.connect(folder / "catalog.db")
    connection.execute("UPDATE refs SET op = 7 WHERE name = 'refs/tags/b'")
    connection.commit()
    connection.close()
    catalog = open_at(folder)
    with catalog.snapshot() as look, pytest.raises(CorruptionError, match="checksum"):
        look.verify()
    catalog.close()

"""The remembered list of live packs is the table's, whoever changes the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from n4a_store.settings import Durability
from n4a_store.storage.catalog import Catalog
from n4a_store.storage.catalog_access import CatalogReader
from n4a_store.storage.rows import PackRow, PackState


def row(number: int, state: PackState = PackState.LIVE) -> PackRow:
    return PackRow(f"e-l-{number}", state, 0, "", 1, 2, 3)


def live(catalog: Catalog) -> list[str]:
    with catalog.read() as reader:
        return sorted(reader.live_packs().rows)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Catalog.create(tmp_path / "catalog.db")
    return tmp_path / "catalog.db"


@pytest.fixture
def catalog(path: Path) -> Catalog:
    return Catalog(path, path.with_name("commit.lock"), Durability.FULL)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often the table was read."""
    counted: list[int] = []
    packs = CatalogReader.packs
    monkeypatch.setattr(CatalogReader, "packs", lambda *args: (counted.append(1), packs(*args))[1])
    return counted


def test_commits_of_this_process_are_known_without_reading(
    catalog: Catalog, reads: list[int]
) -> None:
    assert live(catalog) == []
    for number in range(3):
        with catalog.write() as writer:
            writer.put(row(number))
    assert live(catalog) == ["e-l-0", "e-l-1", "e-l-2"]
    with catalog.write() as writer:
        writer.set_pack_state(row(1), PackState.CONDEMNED, gc_gen=2)
        writer.delete(row(2))
    assert live(catalog) == ["e-l-0"]
    with catalog.write() as writer:
        writer.set_pack_state(
            row(1).moved(PackState.CONDEMNED, gc_gen=2, owner=None), PackState.LIVE, gc_gen=0
        )
        writer.put(row(7, PackState.HELD))
    assert live(catalog) == ["e-l-0", "e-l-1"]
    assert len(reads) == 1


def test_a_commit_of_another_process_is_noticed(path: Path, catalog: Catalog) -> None:
    other = Catalog(path, path.with_name("commit.lock"), Durability.FULL)
    assert live(catalog) == live(other) == []
    with other.write() as writer:
        writer.put(row(0))
    assert live(catalog) == ["e-l-0"]
    # Both have moved on from different lists: what one knows must not be laid over the other.
    with other.write() as writer:
        writer.delete(row(0))
    with catalog.write() as writer:
        writer.put(row(1))
    assert live(catalog) == live(other) == ["e-l-1"]


def test_what_was_rolled_back_never_was(catalog: Catalog) -> None:
    assert live(catalog) == []

    def put_and_fail() -> None:
        with catalog.write() as writer:
            writer.put(row(0))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        put_and_fail()
    assert live(catalog) == []
    with catalog.write() as writer:
        assert writer.live_packs().rows == {}
        writer.put(row(1))
    assert live(catalog) == ["e-l-1"]


def test_a_writer_knows_which_packs_are_live_and_that_there_are_no_others(
    catalog: Catalog, reads: list[int]
) -> None:
    assert live(catalog) == []
    with catalog.write() as writer:
        writer.put(row(0))
    reads.clear()
    with catalog.write() as writer:
        assert writer.pack("e-l-0") == row(0)
        assert writer.pack("e-l-1") is None
        assert writer.condemned() == []
        assert not reads
        # What it changes itself it reads again.
        gone = writer.set_pack_state(row(0), PackState.CONDEMNED, gc_gen=2)
        assert writer.pack("e-l-0") == gone
        assert writer.condemned() == [gone]
    with catalog.write() as writer:
        assert writer.pack("e-l-0") == gone
        assert writer.condemned() == [gone]


def test_a_writer_sees_what_others_have_done_to_packs(path: Path, catalog: Catalog) -> None:
    other = Catalog(path, path.with_name("commit.lock"), Durability.FULL)
    with catalog.write() as writer:
        writer.put(row(0))
    assert live(catalog) == ["e-l-0"]
    with other.write() as writer:
        gone = writer.set_pack_state(row(0), PackState.CONDEMNED, gc_gen=2)
    with catalog.write() as writer:
        assert writer.pack("e-l-0") == gone
        assert writer.condemned() == [gone]

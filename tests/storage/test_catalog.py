"""The catalog: wholly there or wholly absent, and no damage passes."""

from __future__ import annotations

import multiprocessing
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from n4a_store.errors import (
    BackendError,
    CorruptionError,
    InvalidInputError,
    LockedError,
    UnsupportedFormatError,
)
from n4a_store.settings import Durability
from n4a_store.storage import catalog as catalog_module
from n4a_store.storage.catalog import Catalog
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
    row_hash,
    row_sum,
)

OID = bytes(range(32))
ROWS: list[Row] = [
    RefRow("refs/tags/größe", 2, OID, 1),
    RefRow("refs/tags/b", 1, OID, 1),
    ReflogRow(1, 1, "refs/tags/b", None, None, 1, OID),
    ReflogRow(2, 1, "refs/tags/b", 1, OID, None, None),
    PinRow("keep", 3, OID, 1),
    PackRow("e-l-0", PackState.LIVE, 0, "", 7, 4096, 9000),
    PackRow("e-l-1", PackState.CONDEMNED, 3, "", 7, 2**40, 2**41),
    PackRow("e-l-2", PackState.HELD, 0, "run", 7, 4096, 9000),
]


def open_at(folder: Path, **options: Any) -> Catalog:
    return Catalog(folder / "catalog.db", folder / "commit.lock", Durability.NONE, **options)


def fill(folder: Path) -> Path:
    path = folder / "catalog.db"
    Catalog.create(path)
    catalog = open_at(folder)
    with catalog.write() as writer:
        writer.next_op("commit", "a message", "c0ffee")
        for row in ROWS:
            writer.put(row)
    catalog.close()
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fill(tmp_path)
    return tmp_path


@pytest.fixture
def catalog(folder: Path) -> Iterator[Catalog]:
    catalog = open_at(folder)
    yield catalog
    catalog.close()


def everything(catalog: Catalog) -> list[Row]:
    with catalog.read() as reader:
        reader.verify()
        rows: list[Row] = [*reader.refs(), *reader.reflog(), *reader.pins(), *reader.packs()]
        assert (reader.generation(), reader.sequence()) == (0, 1)
        assert len(reader.epoch()) == 8
        # The same by way of each index.
        assert [row.id for row in reader.reflog("refs/tags/b")] == [2, 1]
        assert [row.id for row in reader.reflog_of(1)] == [1, 2]
        assert reader.op_of_commit("c0ffee") is not None
        return [*rows, *reader.ops()]


def same_rows(found: list[Row]) -> bool:
    ops = [row for row in found if isinstance(row, OpRow)]
    others = {row for row in found if not isinstance(row, OpRow)}
    return others == set(ROWS) and [op.commit_id for op in ops] == ["c0ffee"]


def test_rows_round_trip_and_are_found(catalog: Catalog) -> None:
    assert same_rows(everything(catalog))
    with catalog.read() as reader:
        assert [row.name for row in reader.refs()] == ["refs/tags/b", "refs/tags/größe"]
        assert reader.ref("refs/tags/b") == ROWS[1]
        assert reader.ref("refs/tags/c") is None
        assert list(reader.refs("refs/tags/g")) == [ROWS[0]]
        assert list(reader.refs("refs/tags/%")) == []
        assert [row.id for row in reader.packs((PackState.LIVE, PackState.HELD))] == [
            "e-l-0",
            "e-l-2",
        ]
        assert reader.pack("e-l-1") == ROWS[6]
        assert [row.id for row in reader.reflog("refs/tags/b")] == [2, 1]
        op = reader.op_of_commit("c0ffee")
        assert op is not None
        assert reader.op(op.op) == op
        assert reader.op_of_commit("none") is None


def test_an_exception_undoes_everything(catalog: Catalog) -> None:
    before = everything(catalog)
    with pytest.raises(ZeroDivisionError), catalog.write() as writer:  # noqa: PT012
        writer.put(RefRow("refs/tags/new", 1, OID, 9))
        writer.delete(ROWS[1])
        writer.next_generation()
        _ = 1 // 0
    assert everything(catalog) == before


def test_the_sum_follows_every_change(catalog: Catalog) -> None:
    with catalog.write() as writer:
        writer.delete(ROWS[1])
        moved = writer.set_pack_state(ROWS[5], PackState.CONDEMNED, gc_gen=5)  # type: ignore[arg-type]
        writer.put(RefRow("refs/tags/größe", 1, OID, 2), replaced=ROWS[0])
    with catalog.read() as reader:
        reader.verify()
        assert reader.pack("e-l-0") == moved
    with pytest.raises(CorruptionError, match="lost a row"), catalog.write() as writer:
        writer.delete(ROWS[1])
    gone = RefRow("refs/tags/gone", 1, OID, 2)
    with pytest.raises(CorruptionError, match="lost a row"), catalog.write() as writer:
        writer.put(RefRow("refs/tags/gone", 1, OID, 3), replaced=gone)
    with catalog.read() as reader:
        reader.verify()


def _hash(row: Row) -> bytes:
    return row_hash(row.TABLE, row.record())


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=30))
def test_a_summary_is_the_same_whatever_the_order(changes: list[tuple[bool, int]]) -> None:
    present: set[int] = set()
    summary = Summary()
    for add, number in changes:
        row = PinRow(f"p{number}", 1, OID, number)
        if add and number not in present:
            present.add(number)
            summary = summary.grown(1, int.from_bytes(_hash(row), "big"))
        elif not add and number in present:
            present.remove(number)
            summary = summary.grown(-1, -int.from_bytes(_hash(row), "big"))
    rows = (PinRow(f"p{number}", 1, OID, number) for number in sorted(present, reverse=True))
    assert summary == Summary.over(map(_hash, rows))


def tamper(path: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement, values)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE refs SET oid = zeroblob(32) WHERE name = 'refs/tags/b'",
        "UPDATE refs SET name = 'refs/tags/c' WHERE name = 'refs/tags/b'",
        "UPDATE packs SET state = 1 WHERE id = 'e-l-0'",
        "UPDATE packs SET gc_gen = 99",
        "UPDATE reflog SET old = NULL",
        "UPDATE ops SET message = 'forged'",
        "UPDATE ops SET at = '1'",
        "UPDATE pins SET kind = 2",
        "UPDATE summaries SET rows = rows + 1",
        "UPDATE refs SET sum = zeroblob(8)",
        "DELETE FROM refs WHERE name = 'refs/tags/b'",
        "DELETE FROM reflog WHERE id = 1",
        "DELETE FROM packs",
        "DELETE FROM pins",
        "DELETE FROM ops",
        "DELETE FROM summaries WHERE name = 'pins'",
        "INSERT INTO refs SELECT 'refs/tags/z', kind, oid, op, sum FROM refs LIMIT 1",
    ],
)
def test_a_row_changed_lost_or_added_by_another_hand_is_found(folder: Path, statement: str) -> None:
    tamper(folder / "catalog.db", statement)
    catalog = open_at(folder)
    with pytest.raises(CorruptionError, match=r"catalog\.db"), catalog.read() as reader:
        reader.verify()
    catalog.close()


def test_a_row_that_another_hand_added_with_a_good_checksum_is_found(folder: Path) -> None:
    record = ["refs/tags/z", 1, OID, 1]
    tamper(
        folder / "catalog.db",
        "INSERT INTO refs VALUES (?, ?, ?, ?, ?)",
        *record,
        row_sum("refs", record),
    )
    catalog = open_at(folder)
    with pytest.raises(CorruptionError, match="do not add up"), catalog.read() as reader:
        reader.verify()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON refs BEGIN DELETE FROM packs; END",
        "CREATE VIEW v AS SELECT * FROM refs",
        "CREATE TABLE extra (x)",
        "CREATE INDEX i ON refs (oid)",
        "DROP INDEX reflog_by_name",
        "DROP TABLE pins",
        "ALTER TABLE refs ADD COLUMN more",
    ],
)
def test_another_schema_is_refused(folder: Path, statement: str) -> None:
    tamper(folder / "catalog.db", statement)
    with pytest.raises(CorruptionError):
        open_at(folder)


def set_meta(path: Path, key: str, value: object) -> None:
    tamper(
        path,
        "UPDATE meta SET value = ?, sum = ? WHERE key = ?",
        value,
        row_sum("meta", [key, value]),
        key,
    )


def test_a_catalog_of_another_version_is_refused(folder: Path) -> None:
    set_meta(folder / "catalog.db", "version", 2)
    with pytest.raises(UnsupportedFormatError, match="version 2") as caught:
        open_at(folder)
    assert caught.value.hint == "upgrade n4a_store"


def test_rows_that_this_program_could_not_have_written_are_damage(folder: Path) -> None:
    record = ["e-l-9", 9, 0, "", 1, 1, 1]
    tamper(
        folder / "catalog.db",
        "INSERT INTO packs VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        *record,
        row_sum("packs", record),
    )
    catalog = open_at(folder)
    with pytest.raises(CorruptionError, match="could never"), catalog.read() as reader:
        reader.packs()
    for key, value in (("generation", "text"), ("epoch", 7)):
        set_meta(folder / "catalog.db", key, value)
    for read in ("generation", "epoch"):
        with pytest.raises(CorruptionError), catalog.read() as reader:
            getattr(reader, read)()
    catalog.close()


def look(folder: Path) -> list[Row]:
    catalog = open_at(folder)
    try:
        return everything(catalog)
    finally:
        catalog.close()


def test_flipped_bytes_are_found_or_change_nothing(folder: Path, tmp_path: Path) -> None:
    path = folder / "catalog.db"
    data = path.read_bytes()
    used = [n for n, byte in enumerate(data) if byte]
    # Every byte that matters most, and as many of the others as a quick test allows.
    positions = {*range(120), *(n for n in range(len(data)) if n % 4096 < 16)}
    positions.update(random.Random(1).sample(used, 300))
    found = 0
    for position in sorted(positions):
        damaged = bytearray(data)
        damaged[position] ^= 0x04
        path.write_bytes(damaged)
        try:
            assert same_rows(look(folder)), position
        except (CorruptionError, UnsupportedFormatError):
            found += 1
        (folder / "catalog.db-journal").unlink(missing_ok=True)
        for extra in ("catalog.db-wal", "catalog.db-shm"):
            (folder / extra).unlink(missing_ok=True)
    assert found > 200


@pytest.mark.parametrize("size", [0, 1, 15, 16, 100, 4095, 4096, 8192, 20_000, -4096])
def test_a_catalog_cut_short_is_damage(folder: Path, size: int) -> None:
    path = folder / "catalog.db"
    data = path.read_bytes()
    path.write_bytes(data[:size])
    with pytest.raises(CorruptionError):
        look(folder)


@given(st.binary(min_size=1, max_size=5000), st.booleans())
def test_random_bytes_are_damage(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, headed: bool
) -> None:
    folder = tmp_path_factory.mktemp("random")
    (folder / "catalog.db").write_bytes((b"SQLite format 3\0" if headed else b"") + data)
    with pytest.raises(CorruptionError):
        look(folder)


@pytest.mark.parametrize("there", ["nothing", "folder"])
def test_a_missing_catalog_is_damage_and_is_never_made_anew(tmp_path: Path, there: str) -> None:
    if there == "folder":
        (tmp_path / "catalog.db").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CorruptionError, match="missing") as caught:
        open_at(tmp_path)
    assert "backup" in str(caught.value.hint)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_look_within_a_look_is_the_same_and_a_change_within_one_is_refused(
    catalog: Catalog,
) -> None:
    with catalog.read() as outer:
        with catalog.read() as inner:
            assert inner.sequence() == outer.sequence()
        assert outer.sequence() == 1
        with pytest.raises(InvalidInputError, match="within another"), catalog.write():
            pass
    with catalog.write() as writer, catalog.read() as reader:
        writer.next_op("commit", "")
        assert reader.sequence() == 2
    with catalog.read() as reader:
        assert reader.sequence() == 2


def test_a_busy_catalog_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_module, "_BUSY_SECONDS", 0.05)
    catalog = open_at(folder)
    stranger = sqlite3.connect(folder / "catalog.db", isolation_level=None)
    stranger.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LockedError) as caught, catalog.read() as reader:
        reader.sequence()
    assert caught.value.hint
    with pytest.raises(LockedError), catalog.write():
        pass
    stranger.execute("ROLLBACK")
    assert same_rows(everything(catalog))
    # A reader that lingers makes the commit fail, not half succeed.
    stranger.execute("BEGIN")
    stranger.execute("SELECT * FROM refs").fetchone()
    with pytest.raises(LockedError), catalog.write() as writer:
        writer.put(RefRow("refs/tags/new", 1, OID, 9))
    stranger.close()
    assert same_rows(everything(catalog))
    catalog.close()


def test_the_number_of_the_last_commit_stands_beside_the_catalog(folder: Path) -> None:
    saved = (folder / "catalog.db").read_bytes()
    catalog = open_at(folder)
    assert catalog.noted_sequence() == 1
    with catalog.write() as writer:
        writer.next_op("commit", "")
    assert catalog.noted_sequence() == 2
    catalog.close()
    (folder / "catalog.db").write_bytes(saved)
    restored = open_at(folder)
    with restored.read() as reader:
        assert reader.sequence() < (restored.noted_sequence() or 0)
    for content in (b"", b"not a number", b"\xff" * 70):
        (folder / "commit.lock").write_bytes(content)
        assert restored.noted_sequence() is None
    (folder / "commit.lock").unlink()
    assert restored.noted_sequence() is None
    restored.close()


def test_a_read_only_catalog_is_read_and_not_written(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for how in ("read_only", "immutable"):
        catalog = open_at(folder, **{how: True})
        assert same_rows(everything(catalog))
        with pytest.raises(BackendError, match="read-only") as caught, catalog.write():
            pass
        assert caught.value.hint
        catalog.close()
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_durability_decides_what_sqlite_syncs(folder: Path) -> None:
    for durability, level in zip(Durability, (2, 1, 0), strict=True):
        catalog = Catalog(folder / "catalog.db", folder / "commit.lock", durability)
        connection = catalog._connect()
        assert connection.execute("PRAGMA synchronous").fetchone() == (level,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("truncate",)
        catalog.close()


def count_up(folder: str, times: int) -> None:
    catalog = open_at(Path(folder))
    for _ in range(times):
        with catalog.write() as writer:
            op = writer.next_op("commit", "")
            writer.put(RefRow(f"refs/tags/n{op.op}", 1, OID, op.op))
    catalog.close()


def test_processes_commit_one_after_the_other(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=count_up, args=(str(folder), 40)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    catalog = open_at(folder)
    with catalog.read() as reader:
        reader.verify()
        assert reader.sequence() == 1 + 120
        assert len(list(reader.refs())) == 2 + 120
    catalog.close()


def test_tables_and_schema_agree() -> None:
    text = " ".join(SCHEMA)
    for kind in TABLES:
        assert f"CREATE TABLE {kind.TABLE} ({kind.COLUMNS[0]} " in text

"""Workspaces of nirs4all that were made to do harm: they are somebody else's."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from n4a_store import CorruptionError, InvalidInputError
from n4a_store.integrations.nirs4all import catalog
from n4a_store.integrations.nirs4all.catalog import read_catalog
from n4a_store.integrations.nirs4all.exporting import export_workspace
from n4a_store.integrations.nirs4all.importing import import_workspace
from tests.integrations.workspaces import make_workspace

SECRET = b"TOP SECRET KEY 123"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = make_workspace(tmp_path / "source")
    (source / "native_results" / "run").mkdir(parents=True)
    (source / "native_results" / "run" / "x.json").write_bytes(b"{}")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "id_rsa").write_bytes(SECRET)
    return source


# --- links ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "target"),
    [
        ("arrays", "secret"),
        ("arrays", "secret/id_rsa"),
        ("native_results/inner", "secret"),
        ("native_results/run/inner", "secret"),
        ("native_results/run/y.json", "secret/id_rsa"),
        ("native_results/run/y.json", "nowhere"),
    ],
)
def test_nothing_is_read_through_a_link(
    source: Path, tmp_path: Path, place: str, target: str
) -> None:
    (source / place).symlink_to(tmp_path / target)
    done = import_workspace(source, tmp_path / "ws")
    assert done.damaged == [f"{place} is a link, or no file: it was not read"]
    export_workspace(tmp_path / "ws", tmp_path / "out")
    assert (tmp_path / "out" / "native_results" / "run" / "x.json").read_bytes() == b"{}"
    written = [path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert SECRET not in written
    with pytest.raises(InvalidInputError, match="is a link"):
        export_workspace(source, tmp_path / "other")
    assert not (tmp_path / "other" / place).exists()


def test_what_is_no_file_is_not_waited_for(source: Path, tmp_path: Path) -> None:
    os.mkfifo(source / "native_results" / "run" / "pipe")
    done = import_workspace(source, tmp_path / "ws")
    assert done.damaged == ["native_results/run/pipe is a link, or no file: it was not read"]


@pytest.mark.parametrize("link", ["artifacts", "artifacts/zz"])
def test_no_artifact_is_read_through_a_link(source: Path, tmp_path: Path, link: str) -> None:
    (source / "artifacts").rename(tmp_path / "elsewhere")
    if link != "artifacts":
        (source / "artifacts").mkdir()
        edit(source, "UPDATE artifacts SET artifact_path = 'zz/' || artifact_path")
    (source / link).symlink_to(tmp_path / "elsewhere")
    done = import_workspace(source, tmp_path / "ws")
    assert done.artifacts == 0
    assert len(done.damaged) == 6
    assert "is not in" in done.damaged[0]


def test_a_workspace_that_is_reached_through_a_link_is_imported(
    source: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(source)
    done = import_workspace(tmp_path / "link", tmp_path / "ws")
    assert (done.artifacts, done.damaged) == (6, [])


# --- the catalog ------------------------------------------------------------------------------

ENDLESS = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT n FROM t"


def edit(root: Path, *statements: str) -> None:
    with closing(sqlite3.connect(root / "store.sqlite")) as db, db:
        for statement in statements:
            db.execute(statement)


@pytest.mark.parametrize("table", ["runs", "pipelines", "artifacts", "chains"])
@pytest.mark.parametrize(
    "put",
    [
        f"CREATE VIEW %s AS {ENDLESS}",
        "CREATE VIRTUAL TABLE %s USING rtree(a, b, c)",
        "CREATE TABLE %s (a, b GENERATED ALWAYS AS (hex(zeroblob(900000000))))",
        "CREATE TABLE other%s (a)",
    ],
)
def test_what_is_no_plain_table_is_never_asked(source: Path, table: str, put: str) -> None:
    edit(source, f"DROP TABLE {table}", put % table)
    with pytest.raises(CorruptionError, match=f"{table} is no plain table"):
        read_catalog(source)


def test_a_trigger_on_what_an_export_changes_is_refused(source: Path) -> None:
    edit(source, "CREATE TRIGGER t AFTER UPDATE ON Artifacts BEGIN DELETE FROM runs; END")
    with pytest.raises(CorruptionError, match="artifacts is no plain table"):
        read_catalog(source)


def test_the_view_that_nirs4all_makes_itself_is_no_obstacle(source: Path) -> None:
    edit(source, "CREATE VIEW v_chain_summary AS SELECT * FROM chains")
    assert len(read_catalog(source).artifacts) == 6


def test_ids_that_are_there_twice_do_not_multiply(source: Path) -> None:
    edit(
        source,
        "DROP TABLE runs",
        "CREATE TABLE runs (run_id, name, status, created_at)",
        "INSERT INTO runs VALUES ('r1', 'one', 'completed', ''), ('r1', 'two', 'completed', '')",
    )
    with pytest.raises(CorruptionError, match="two runs are called r1"):
        read_catalog(source)


def test_a_pipeline_of_no_run_is_left_out_and_the_others_keep_their_order(source: Path) -> None:
    edit(
        source,
        "INSERT INTO runs VALUES ('r2', 'second', 'running', '2026')",
        "INSERT INTO pipelines VALUES ('p2', 'r2', 'c', 'corn', 'x'), ('p3', 'r1', 'c', 'd', 'x')",
        "INSERT INTO pipelines VALUES ('p4', NULL, 'c', 'corn', 'x')",
    )
    rows = read_catalog(source).pipelines
    assert [(row.run_id, row.pipeline_id) for row in rows] == [
        ("r1", "p1"),
        ("r1", "p3"),
        ("r2", "p2"),
    ]
    assert (rows[2].run_name, rows[2].run_status, rows[2].run_created) == (
        "second",
        "running",
        "2026",
    )
    assert rows[2].is_running


def test_a_question_without_an_end_is_given_up(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should anything get past the look at the schema."""
    monkeypatch.setattr(catalog, "_check_schema", lambda *_: None)
    monkeypatch.setattr(catalog, "_STEPS", 2_000_000)
    columns = "artifact_id, 'p' artifact_path, 'h' content_hash, 'o' operator_class"
    edit(
        source,
        "DROP TABLE artifacts",
        f"CREATE VIEW artifacts AS WITH t(artifact_id) AS (SELECT 1 UNION ALL SELECT artifact_id"
        f" + 1 FROM t) SELECT {columns}, 't' artifact_type, 'f' format, 0 rowid FROM t",
    )
    with pytest.raises(CorruptionError, match="interrupted"):
        read_catalog(source)


@pytest.mark.parametrize("branch", ["[1e999]", "[" * 100_000 + "]" * 100_000])
def test_a_chain_whose_json_is_beyond_any_bound_is_damage(source: Path, branch: str) -> None:
    edit(source, f"UPDATE chains SET branch_path = '{branch}'")
    with pytest.raises(CorruptionError, match="chain c1"):
        read_catalog(source)

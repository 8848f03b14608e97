"""`artifacts import-workspace` and `export-workspace`."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.cli.conftest import Cli
from tests.integrations.workspaces import add_run, make_workspace


def test_in_and_out_again(tmp_path: Path, executable: Cli, cli: Cli) -> None:
    source, ws, out = make_workspace(tmp_path / "source"), tmp_path / "ws", tmp_path / "out"
    done = executable("-w", ws, "artifacts", "import-workspace", source).ok()
    assert len(done.lines) == 1
    assert "6 artifacts" in done.err
    assert "asks for trust" in done.err
    again = cli("-w", ws, "--json", "artifacts", "import-workspace", source).ok()
    assert again.json["imported"]["before"] == ["r1"]
    written = executable("-w", ws, "artifacts", "export-workspace", out).ok()
    assert written.lines == [str(out)]
    assert "6 artifact files" in written.err
    assert (
        cli("-w", ws, "--json", "artifacts", "export-workspace", tmp_path / "two")
        .ok()
        .json["exported"]["missing"]
        == []
    )
    cli("-w", ws, "artifacts", "export-workspace", out).failed(2, "not empty", "hint:")


def test_what_is_left_is_said(tmp_path: Path, cli: Cli) -> None:
    source = make_workspace(tmp_path / "source")
    files = sorted((source / "artifacts").rglob("*.pkl"))
    with closing(sqlite3.connect(source / "store.sqlite")) as db, db:
        add_run(db, "r2", {"p2": "corn"}, status="running")
    waiting = cli("-w", tmp_path / "one", "artifacts", "import-workspace", source)
    assert waiting.code == 3
    assert "still running: pipeline p2; --unfinished" in waiting.err
    files[0].unlink()
    missing = cli("-w", tmp_path / "two", "artifacts", "import-workspace", "--unfinished", source)
    assert missing.code == 3
    assert "missing: " in missing.err
    files[1].write_bytes(b"other")
    damaged = cli("-w", tmp_path / "three", "artifacts", "import-workspace", "--trust", source)
    assert damaged.code == 4
    assert "damaged: " in damaged.err
    assert "trust" not in damaged.err
    exported = cli("-w", tmp_path / "two", "artifacts", "export-workspace", tmp_path / "out")
    assert exported.code == 3
    assert "missing: " in exported.err


def test_no_workspace_there(tmp_path: Path, cli: Cli) -> None:
    ws = tmp_path / "ws"
    cli("-w", ws, "artifacts", "import-workspace", tmp_path / "nowhere").failed(10, "hint:")
    cli("-w", ws, "artifacts", "export-workspace", tmp_path / "out").failed(10, "hint:")
    make_workspace(tmp_path / "other", schema=9)
    cli("-w", ws, "artifacts", "import-workspace", tmp_path / "other").failed(15, "schema 9")

"""`artifacts import-workspace` and `export-workspace`."""

from __future__ import annotations

import hashlib
import pickle
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.preprocessing import StandardScaler

from n4a_store.artifacts.loader import ArtifactLoader
from n4a_store.errors import UntrustedError
from tests.cli.conftest import Cli, Trained
from tests.conftest import Spectra
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


def make_flat(root: Path, *names: str) -> Path:
    """A workspace of flat files: a fitted scaler under each of `names`."""
    items = []
    (root / "binaries" / "corn").mkdir(parents=True)
    for place, name in enumerate(names):
        scaler = StandardScaler().fit(np.arange(6.0).reshape(3, 2) + place)
        data = pickle.dumps(scaler)
        digest = hashlib.sha256(data).hexdigest()
        file = f"transformer_StandardScaler_{digest[:12]}.joblib"
        (root / "binaries" / "corn" / file).write_bytes(data)
        items.append(
            {
                "artifact_id": name,
                "content_hash": f"sha256:{digest}",
                "path": file,
                "artifact_type": "transformer",
                "class_name": "StandardScaler",
                "format": "joblib",
            }
        )
    folder = root / "runs" / "2025-12-12_corn" / "0001"
    folder.mkdir(parents=True)
    document = {"dataset": "corn", "artifacts": {"schema_version": "2.0", "items": items}}
    (folder / "manifest.yaml").write_text(yaml.safe_dump(document))
    return root


def test_flat_files_are_taken_by_the_same_command(
    tmp_path: Path, executable: Cli, cli: Cli
) -> None:
    source, ws = make_flat(tmp_path / "flat", "0001:0:all", "0001:1:all"), tmp_path / "ws"
    done = executable("-w", ws, "artifacts", "import-workspace", source).ok()
    assert len(done.lines) == 1
    assert "2 artifacts" in done.err
    assert "asks for trust" in done.err
    with pytest.raises(UntrustedError, match="imported from flat files"):
        ArtifactLoader(ws, "corn").load_by_id("0001:0:all")
    trusting = ("-w", tmp_path / "two", "artifacts", "import-workspace", "--trust", source)
    said = cli(*trusting, "--json").ok().json["imported"]
    assert said["taken"] == {"corn": ["0001:0:all", "0001:1:all"]}
    assert ArtifactLoader(tmp_path / "two", "corn").load_by_id("0001:0:all").mean_[0] == 2
    files = sorted((source / "binaries" / "corn").iterdir())
    files[0].unlink()
    missing = cli("-w", tmp_path / "three", "artifacts", "import-workspace", source)
    assert missing.code == 3
    assert "not taken: " in missing.err
    files[1].write_bytes(b"other")
    damaged = cli("-w", tmp_path / "four", "artifacts", "import-workspace", source)
    assert damaged.code == 4
    assert "damaged: " in damaged.err
    cli("-w", ws, "artifacts", "import-workspace", ws).failed(2, "n4a-store already")
    cli("-w", ws, "-d", "rye", "artifacts", "import-workspace", source).failed(10, "'rye'")
    (tmp_path / "old" / "artifacts" / "objects").mkdir(parents=True)
    cli("-w", ws, "artifacts", "import-workspace", tmp_path / "old").failed(15, "hint: ")


def test_loading_what_came_from_elsewhere_asks_for_trust(
    tmp_path: Path, executable: Cli, cli: Cli, trained: Trained, fermentation: Spectra
) -> None:
    bundle, ws = tmp_path / "pls.n4b", tmp_path / "ws"
    rows = tmp_path / "X.npy"
    np.save(rows, fermentation.X[:, ::8])
    at = ("-w", trained.path, "-d", "corn", "artifacts")
    cli(*at, "export", "0001_pls", "-o", bundle).ok()
    at = ("-w", ws, "-d", "corn", "artifacts")
    cli(*at, "import", bundle, "--create").ok()
    probe = (*at, "diff", "0001_pls:1:0", "0001_pls:1:1", "--probe", rows)
    executable(*probe).failed(12, "trust", "--trust")
    assert "predictions of" in cli(*probe, "--trust").ok().out
    # What reads no payload needs no trust, nor does writing the bytes out as they are.
    for words in (["show", "0001_pls:1:0"], ["verify"], ["diff", "0001_pls:1:0", "0001_pls:1:1"]):
        cli(*at, *words).ok()
    cli(*at, "export", "0001_pls", "--files", tmp_path / "files").ok()

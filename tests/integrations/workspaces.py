"""A small workspace as nirs4all 1.4.10 lays it out: a catalog of schema 5 and artifact files.

Made by hand, so that tests of damage and of rows that upstream no longer writes need nothing
that the quick suite lacks; tests behind the marker use workspaces that nirs4all made.
"""

import hashlib
import json
import pickle
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

TABLES = """
CREATE TABLE runs (run_id TEXT PRIMARY KEY, name TEXT, status TEXT, created_at TIMESTAMP);
CREATE TABLE pipelines (pipeline_id TEXT PRIMARY KEY, run_id TEXT, name TEXT, dataset_name TEXT,
    status TEXT);
CREATE TABLE chains (chain_id TEXT PRIMARY KEY, pipeline_id TEXT, model_step_idx INTEGER,
    branch_path TEXT, fold_artifacts TEXT, shared_artifacts TEXT);
CREATE TABLE artifacts (artifact_id TEXT PRIMARY KEY, artifact_path TEXT, content_hash TEXT,
    operator_class TEXT, artifact_type TEXT, format TEXT, size_bytes INTEGER);
"""


def make_workspace(root: Path, *, schema: int = 5) -> Path:
    """One run with a branching pipeline of six artifacts, and the files of all of them."""
    (root / "artifacts").mkdir(parents=True)
    with closing(sqlite3.connect(root / "store.sqlite")) as db, db:
        db.executescript(TABLES)
        db.execute(f"PRAGMA user_version = {schema}")
        add_run(db, "r1", {"p1": "corn"})
        names = {
            "p1$aaaaaaaaaaaa:all": ("transformer", "StandardScaler"),
            "p1$bbbbbbbbbbbb:all": ("transformer", "PCA"),
            "p1$cccccccccccc:0": ("model", "Ridge"),
            "p1$cccccccccccc:1": ("model", "Ridge"),
            "p1$dddddddddddd:0": ("model", "PLSRegression"),
            "final": ("model", "sklearn.pipeline.Pipeline"),
        }
        for name, (kind, operator) in names.items():
            add_artifact(db, root, name, kind, operator)
        scaler, pca, one, two, other, final = names
        add_chain(db, "c1", "p1", 3, [0], {"fold_0": one, "fold_1": two}, {"1": [scaler]})
        shared = {"1": [scaler], "2": [pca], "_source_map": {"2": {"0": [], "1": [pca]}}}
        add_chain(db, "c2", "p1", 3, [1], {"fold_0": other}, shared)
        add_chain(db, "c3", "p1", 4, None, {"final": final}, {})
    return root


def add_run(
    db: sqlite3.Connection, run_id: str, pipelines: dict[str, str], status: str = "completed"
) -> None:
    """A run with pipelines, each of a dataset."""
    values = (run_id, f"name of {run_id}", status, "2026-11-01 12:00:00")
    db.execute("INSERT INTO runs VALUES (?, ?, ?, ?)", values)
    for pipeline_id, dataset in pipelines.items():
        row = (pipeline_id, run_id, f"config_{pipeline_id}", dataset, status)
        db.execute("INSERT INTO pipelines VALUES (?, ?, ?, ?, ?)", row)


def add_artifact(db: sqlite3.Connection, root: Path, name: str, kind: str, operator: str) -> bytes:
    """A row and its file, a pickle of the name."""
    data = pickle.dumps(name)
    digest = hashlib.sha256(data).hexdigest()
    path = root / "artifacts" / digest[:2] / f"{digest[:12]}.pkl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    relative = path.relative_to(root / "artifacts").as_posix()
    row = (name, relative, f"sha256:{digest}", operator, kind, "pickle", len(data))
    db.execute("INSERT INTO artifacts VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    return data


def add_chain(
    db: sqlite3.Connection,
    chain_id: str,
    pipeline_id: str,
    step: int,
    branch: list[int] | None,
    folds: dict[str, str],
    shared: dict[str, Any],
) -> None:
    """A chain row."""
    row = (
        chain_id,
        pipeline_id,
        step,
        None if branch is None else json.dumps(branch),
        json.dumps(folds),
        json.dumps(shared),
    )
    db.execute("INSERT INTO chains VALUES (?, ?, ?, ?, ?, ?)", row)

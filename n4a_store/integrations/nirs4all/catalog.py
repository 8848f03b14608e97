"""nirs4all's own catalog, read: a SQLite file and the artifact files beside it, of any engine.

Nothing of the source is written to and nothing of it is unpickled. One read transaction gives
one moment of it, also while another process trains there; what is still running then is told
apart. A catalog that is damaged, locked or of another schema is an error before anything is
taken from it; so is one that is no plain set of rows, such as a view in a table's place, whose
answers may have no end.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from n4a_store.errors import (
    BackendError,
    CorruptionError,
    InvalidInputError,
    LockedError,
    StoreError,
    StoreNotFoundError,
    UnsupportedFormatError,
)
from n4a_store.storage.filesystem import is_read_only
from n4a_store.storage.foreign import read_verified

__all__ = ["CATALOG", "ArtifactRow", "Catalog", "ChainRow", "PipelineRow", "read_catalog"]

CATALOG, ARTIFACTS = "store.sqlite", "artifacts"
SCHEMA = 5
RUNNING = "running"
_TABLES = ("runs", "pipelines", "artifacts", "chains")
_STEPS, _STEPS_A_BYTE, _STEPS_A_LOOK = 100_000_000, 10, 1_000_000


@dataclass(frozen=True, slots=True)
class ArtifactRow:
    """An artifact of the catalog."""

    artifact_id: str
    path: str
    content_hash: str
    operator: str
    type: str
    format: str


@dataclass(frozen=True, slots=True)
class ChainRow:
    """A chain: which artifacts a prediction needs, by step and by fold."""

    chain_id: str
    pipeline_id: str
    model_step: int
    branch_path: tuple[int, ...]
    folds: Mapping[str, str]
    shared: Mapping[int, tuple[str, ...]]
    sources: Mapping[int, Mapping[int, tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class PipelineRow:
    """A pipeline, the run it belongs to, and whether both have ended."""

    pipeline_id: str
    run_id: str
    name: str
    dataset: str
    status: str
    run_name: str
    run_status: str
    run_created: str

    @property
    def is_running(self) -> bool:
        """Whether another process may still be adding to it."""
        return RUNNING in (self.status, self.run_status)


@dataclass(frozen=True, slots=True)
class Catalog:
    """One moment of a catalog.

    Args:
        root: The folder of the workspace.
        copy: The whole catalog at that moment, as the bytes of a SQLite file.
    """

    root: Path
    pipelines: tuple[PipelineRow, ...]
    artifacts: Mapping[str, ArtifactRow]
    chains: tuple[ChainRow, ...]
    copy: bytes

    def content(self, row: ArtifactRow) -> bytes | None:
        """The file of an artifact, verified; None when there is none.

        Raises:
            CorruptionError: It is not what the row declares.
            InvalidInputError: The row's path leads out of the workspace, by a link or without; or
                the file does not fit into memory.
            BackendError: It cannot be read.
        """
        folder = self.root.resolve() / ARTIFACTS
        path = (folder / row.path).resolve()
        if not path.is_relative_to(folder):
            raise InvalidInputError(f"{row.artifact_id}: {row.path!r:.120} is not in {folder}")
        if not path.is_file():
            return None
        data = read_verified(path, row.content_hash.removeprefix("sha256:").lower())
        if data is None:
            raise CorruptionError(f"{row.artifact_id}: {row.path} is not what its row declares")
        return data


def read_catalog(workspace: str | os.PathLike[str]) -> Catalog:
    """One moment of a workspace's catalog.

    Raises:
        StoreNotFoundError: There is no catalog in that folder.
        CorruptionError: It is damaged.
        UnsupportedFormatError: It is of another schema.
        LockedError: Another process keeps it locked.
        BackendError: It cannot be read.
    """
    root = Path(workspace).absolute()
    path = root / CATALOG
    if not path.is_file():
        raise StoreNotFoundError(
            f"there is no nirs4all workspace in {root}: no {CATALOG}",
            hint="name the folder that was nirs4all's workspace_path",
        )
    try:
        with _opened(path) as connection:
            connection.execute("BEGIN")
            _bound(connection)
            _check_schema(connection, path)
            _check(connection, path)
            return Catalog(
                root,
                tuple(_pipelines(connection)),
                {row.artifact_id: row for row in _artifacts(connection)},
                tuple(_chains(connection)),
                _copy(connection),
            )
    except sqlite3.Error as error:
        raise _translated(error, path) from error
    except OSError as error:
        raise BackendError(f"cannot read {path}: {error}") from error


def _translated(error: sqlite3.Error, path: Path) -> StoreError:
    text = f"{path}: {error}"
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return LockedError(text, hint="another process is writing to it; try again when it ends")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY):
        return BackendError(text)
    return CorruptionError(
        f"nirs4all's catalog is damaged: {text}", hint="sqlite3's .recover may save what is left"
    )


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, read-only, with what stands in its write-ahead log, wherever it lies."""
    log = path.with_name(path.name + "-wal")
    beside = ""
    with tempfile.TemporaryDirectory(prefix="n4a_store-") as folder:
        if is_read_only(path.parent) or not os.access(path.parent, os.W_OK):
            # SQLite reads a log only where it may write beside it.
            if log.is_file() and log.stat().st_size:
                shutil.copyfile(path, Path(folder, path.name))
                shutil.copyfile(log, Path(folder, log.name))
                path = Path(folder, path.name)
            else:
                beside = "&immutable=1"
        connection = sqlite3.connect(
            f"{path.as_uri()}?mode=ro{beside}", uri=True, timeout=5, isolation_level=None
        )
        try:
            yield connection
        finally:
            connection.close()


def _bound(connection: sqlite3.Connection) -> None:
    """Let no answer take more steps than one from a file of this size can; trust no function."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    size = int(pages) * int(page_size)
    looks = itertools.repeat(False, (_STEPS + _STEPS_A_BYTE * size) // _STEPS_A_LOOK)
    connection.set_progress_handler(lambda: next(looks, True), _STEPS_A_LOOK)
    connection.execute("PRAGMA trusted_schema = OFF")


def _check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse all but plain tables, before any of them is asked for anything."""
    schema = connection.execute(
        "SELECT type, lower(name), lower(tbl_name), rootpage > 0 FROM sqlite_master"
    ).fetchall()
    for table in _TABLES:
        columns = connection.execute("SELECT hidden FROM pragma_table_xinfo(?)", (table,))
        is_plain = ("table", table, table, 1) in schema and not any(hidden for (hidden,) in columns)
        if not is_plain or any(kind == "trigger" and on == table for kind, _, on, _ in schema):
            raise CorruptionError(f"nirs4all's catalog: {path}: {table} is no plain table")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if said != "ok":
        raise CorruptionError(
            f"nirs4all's catalog is damaged: {path}: {said}",
            hint="sqlite3's .recover may save what is left",
        )
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != SCHEMA:
        raise UnsupportedFormatError(
            f"{path} is of schema {version}; this reads schema {SCHEMA}",
            hint="open it once with nirs4all 1.4.10, which converts older ones",
        )


def _pipelines(connection: sqlite3.Connection) -> Iterator[PipelineRow]:
    # Put together here: by SQL, ids that are there twice would make each pair of rows one more.
    runs: dict[str, tuple[tuple[str, ...], list[tuple[str, ...]]]] = {}
    asked = "SELECT run_id, name, status, created_at FROM runs ORDER BY rowid"
    for run_id, *about in _texts(connection, asked):
        if run_id in runs:
            raise CorruptionError(f"nirs4all's catalog: two runs are called {run_id:.80}")
        runs[run_id] = (tuple(about), [])
    asked = "SELECT run_id, pipeline_id, name, dataset_name, status FROM pipelines ORDER BY rowid"
    for run_id, *pipeline in _texts(connection, asked):
        if run_id in runs:
            runs[run_id][1].append(tuple(pipeline))
    for run_id, (run, pipelines) in runs.items():
        for pipeline_id, *rest in pipelines:
            yield PipelineRow(pipeline_id, run_id, *rest, *run)


def _artifacts(connection: sqlite3.Connection) -> Iterator[ArtifactRow]:
    asked = (
        "SELECT artifact_id, artifact_path, content_hash, operator_class, artifact_type, format"
        " FROM artifacts ORDER BY rowid"
    )
    for fields in _texts(connection, asked):
        yield ArtifactRow(*fields)


def _texts(connection: sqlite3.Connection, asked: str) -> Iterator[list[str]]:
    for row in connection.execute(asked):
        yield [str(value or "") for value in row]


def _chains(connection: sqlite3.Connection) -> Iterator[ChainRow]:
    rows = connection.execute(
        "SELECT chain_id, pipeline_id, model_step_idx, branch_path, fold_artifacts,"
        " shared_artifacts FROM chains ORDER BY rowid"
    )
    for chain_id, pipeline_id, step, branch_path, folds, shared in rows:
        try:
            yield _chain(str(chain_id), str(pipeline_id), int(step), branch_path, folds, shared)
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise CorruptionError(f"nirs4all's catalog: chain {chain_id}: {error}") from error


def _chain(
    chain_id: str, pipeline_id: str, step: int, branch_path: Any, folds: Any, shared: Any
) -> ChainRow:
    by_step = dict(json.loads(shared or "{}"))
    by_source = dict(by_step.pop("_source_map", {}))
    return ChainRow(
        chain_id,
        pipeline_id,
        max(step, 0),
        tuple(int(branch) for branch in json.loads(branch_path or "[]") or ()),
        {str(fold): str(name) for fold, name in dict(json.loads(folds or "{}")).items() if name},
        {int(at): _ids(names) for at, names in by_step.items() if not at.startswith("_")},
        {
            int(at): {int(source): _ids(names) for source, names in dict(sources).items()}
            for at, sources in by_source.items()
        },
    )


def _ids(names: Any) -> tuple[str, ...]:
    listed = names if isinstance(names, list) else [names]
    return tuple(str(name) for name in listed if name)


def _copy(connection: sqlite3.Connection) -> bytes:
    with tempfile.TemporaryDirectory(prefix="n4a_store-") as folder:
        path = Path(folder, CATALOG)
        target = sqlite3.connect(path)
        try:
            connection.backup(target)
            # One file that stands alone: no log beside it.
            target.execute("PRAGMA journal_mode=DELETE")
        finally:
            target.close()
        return path.read_bytes()

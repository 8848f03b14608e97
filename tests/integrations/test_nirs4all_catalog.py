"""Importing and exporting workspaces: where artifacts land, and every kind of bad input."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from n4a_store import (
    ArtifactLoader,
    ArtifactNotFoundError,
    ArtifactRegistry,
    BackendError,
    CorruptionError,
    InvalidInputError,
    LockedError,
    StoreNotFoundError,
    UnsupportedFormatError,
    UntrustedError,
)
from n4a_store.integrations.nirs4all import catalog as catalog_module
from n4a_store.integrations.nirs4all.catalog import read_catalog
from n4a_store.integrations.nirs4all.exporting import export_workspace
from n4a_store.integrations.nirs4all.importing import KEPT, import_workspace
from n4a_store.integrations.nirs4all.lookup import find_foreign
from tests.integrations.workspaces import add_artifact, add_run, make_workspace


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def edit(root: Path, *statements: str) -> None:
    with closing(sqlite3.connect(root / "store.sqlite")) as db, db:
        for statement in statements:
            db.execute(statement)


# --- what an import keeps ---------------------------------------------------------------------


def test_chains_folds_branches_and_types_are_kept(tmp_path: Path) -> None:
    source = make_workspace(tmp_path / "source")
    before = tree(source)
    done = import_workspace(source, tmp_path / "ws")
    assert (done.artifacts, done.missing, done.damaged, done.unnamed) == (6, [], [], [])
    assert tree(source) == before

    registry = ArtifactRegistry(tmp_path / "ws", "corn")
    records = {record.artifact_id: record for record in registry.get_all_records("p1")}
    assert {name: (at.artifact_type, at.class_name) for name, at in records.items()} == {
        "p1:1.0:all": ("transformer", "StandardScaler"),
        "p1:1:2.100000:all": ("transformer", "PCA"),
        "p1:0:3:0": ("model", "Ridge"),
        "p1:0:3:1": ("model", "Ridge"),
        "p1:1:3:0": ("model", "PLSRegression"),
        "p1:4:all": ("model", "Pipeline"),
    }
    notes = registry.get_notes("p1:1.0:all")
    assert notes["nirs4all.id"] == "p1$aaaaaaaaaaaa:all"
    assert notes["nirs4all.chains"] == "c1 c2"
    assert registry.get_notes("p1:4:all")["nirs4all.fold"] == "final"
    run = registry.store.get_run(registry.store.ref(f"refs/runs/{done.runs[0]}").oid)
    assert run.created_at.startswith("2026-11-01T12:00:00")
    assert run.details["nirs4all.run"] == "r1"


def test_what_nirs4all_calls_it_is_found(tmp_path: Path) -> None:
    import_workspace(make_workspace(tmp_path / "source"), tmp_path / "ws")
    store = ArtifactRegistry(tmp_path / "ws", "corn").store
    assert find_foreign(store, "p1$dddddddddddd:0") == ["p1:1:3:0"]
    assert find_foreign(store, "final") == ["p1:4:all"]
    with pytest.raises(ArtifactNotFoundError, match="nothing here is called"):
        find_foreign(store, "p9$dddddddddddd:0")


def test_nothing_is_unpickled_before_it_is_trusted(tmp_path: Path) -> None:
    source = make_workspace(tmp_path / "source")
    import_workspace(source, tmp_path / "ws")
    with pytest.raises(UntrustedError, match="nirs4all source"):
        ArtifactLoader(tmp_path / "ws", "corn").load_by_id("p1:4:all")
    assert ArtifactLoader(tmp_path / "ws", "corn", trust=True).load_by_id("p1:4:all") == "final"
    import_workspace(source, tmp_path / "trusted", trusted=True)
    assert ArtifactLoader(tmp_path / "trusted", "corn").load_by_id("p1:4:all") == "final"


def test_an_import_is_repeated_for_what_is_new(tmp_path: Path) -> None:
    source = make_workspace(tmp_path / "source")
    import_workspace(source, tmp_path / "ws")
    with closing(sqlite3.connect(source / "store.sqlite")) as db, db:
        add_run(db, "r2", {"p2": "corn", "p3": "two words"})
        add_artifact(db, source, "p2$eeeeeeeeeeee:all", "encoder", "LabelEncoder")
        add_artifact(db, source, "p3$ffffffffffff:4", "odd Type", "X")
        add_artifact(db, source, "p3$ffffffffffff:5", "model", "X")
    done = import_workspace(source, tmp_path / "ws")
    assert (done.artifacts, done.before) == (2, ["r1"])
    assert len(done.damaged) == 1
    assert "odd Type" in done.damaged[0]
    names = ArtifactRegistry(tmp_path / "ws", "corn").workspace.datasets()
    assert names[0] == "corn"
    assert names[1].startswith("two_words-")


def test_only_the_datasets_asked_for(tmp_path: Path) -> None:
    source = make_workspace(tmp_path / "source")
    assert import_workspace(source, tmp_path / "ws", datasets=["wheat"]).runs == []
    assert not (tmp_path / "ws").exists()


# --- the way out ------------------------------------------------------------------------------


def test_what_was_imported_is_written_byte_for_byte(tmp_path: Path) -> None:
    source = make_workspace(tmp_path / "source")
    (source / "arrays").mkdir()
    (source / "arrays" / "corn.parquet").write_bytes(b"PAR1")
    (source / "arrays" / ".lock").write_bytes(b"")
    import_workspace(source, tmp_path / "ws")
    done = export_workspace(tmp_path / "ws", tmp_path / "out")
    assert (done.files, done.missing) == (6, [])
    theirs, ours = tree(source), tree(tmp_path / "out")
    assert set(theirs) - set(ours) == {"arrays/.lock"}
    assert read_catalog(tmp_path / "out").artifacts == read_catalog(source).artifacts
    for name, data in ours.items():
        assert name == "store.sqlite" or data == theirs[name]


def test_an_export_goes_to_a_new_folder(tmp_path: Path) -> None:
    source = make_workspace(tmp_path / "source")
    import_workspace(source, tmp_path / "ws")
    with pytest.raises(InvalidInputError, match="not empty"):
        export_workspace(tmp_path / "ws", source)
    (tmp_path / "file").write_text("x")
    with pytest.raises(BackendError, match="cannot write"):
        export_workspace(tmp_path / "ws", tmp_path / "file" / "below")


def test_a_workspace_without_nirs4all_has_nothing_to_export(tmp_path: Path) -> None:
    ArtifactRegistry(tmp_path, "corn").register([1], "p:1:all", "model")
    with pytest.raises(StoreNotFoundError, match="no workspace of nirs4all"):
        export_workspace(tmp_path, tmp_path / "out")


def test_a_row_leads_nowhere_outside(tmp_path: Path) -> None:
    source = make_workspace(tmp_path / "source")
    (tmp_path / "secret").write_bytes(b"secret")
    edit(source, "UPDATE artifacts SET artifact_path = '../../secret' WHERE artifact_id = 'final'")
    done = import_workspace(source, tmp_path / "ws")
    assert done.artifacts == 5
    assert "is not in" in done.damaged[0]


# --- bad input --------------------------------------------------------------------------------


def test_missing_and_changed_files_are_told(tmp_path: Path) -> None:
    source = make_workspace(tmp_path / "source")
    files = sorted((source / "artifacts").rglob("*.pkl"))
    files[0].unlink()
    files[1].write_bytes(b"other")
    edit(source, "INSERT INTO artifacts VALUES ('lost', 'x', 'y', 'C', 'model', 'pickle', 1)")
    done = import_workspace(source, tmp_path / "ws")
    assert (done.artifacts, len(done.missing), len(done.damaged)) == (4, 1, 1)
    assert done.unnamed == ["lost"]
    written = export_workspace(tmp_path / "ws", tmp_path / "out")
    assert (written.files, len(written.missing)) == (4, 3)


def test_no_workspace(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFoundError, match=r"no store\.sqlite"):
        import_workspace(tmp_path, tmp_path / "ws")
    assert not (tmp_path / "ws").exists()


@pytest.mark.parametrize("damage", ["header", "middle", "cut", "json"])
def test_a_damaged_catalog_is_refused_whole(tmp_path: Path, damage: str) -> None:
    source = make_workspace(tmp_path / "source")
    file = source / "store.sqlite"
    data = bytearray(file.read_bytes())
    if damage == "header":
        data[:16] = b"not a database!!"
    elif damage == "middle":
        for at in range(4096, len(data), 512):
            data[at : at + 64] = bytes(64)
    elif damage == "cut":
        del data[5000:]
    if damage == "json":
        edit(source, "UPDATE chains SET fold_artifacts = '{\"fold_0\"'")
    else:
        file.write_bytes(data)
    with pytest.raises(CorruptionError, match="nirs4all's catalog"):
        import_workspace(source, tmp_path / "ws")
    assert not (tmp_path / "ws").exists()


def test_another_schema_is_refused(tmp_path: Path) -> None:
    source = make_workspace(tmp_path / "source", schema=6)
    with pytest.raises(UnsupportedFormatError, match="schema 6; this reads schema 5"):
        import_workspace(source, tmp_path / "ws")


_WRITER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_workspace_that_another_process_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_workspace(tmp_path / "source")
    connect = sqlite3.connect
    monkeypatch.setattr(
        catalog_module.sqlite3, "connect", lambda *a, **k: connect(*a, **(k | {"timeout": 0.1}))
    )
    command = [sys.executable, "-c", _WRITER, str(source / "store.sqlite")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "locked\n"
        with pytest.raises(LockedError) as caught:
            import_workspace(source, tmp_path / "ws")
        writer.communicate("")
    assert caught.value.hint is not None
    assert import_workspace(source, tmp_path / "ws").artifacts == 6


def test_what_another_process_still_trains_waits(tmp_path: Path) -> None:
    source = make_workspace(tmp_path / "source")
    with closing(sqlite3.connect(source / "store.sqlite")) as db:
        db.execute("PRAGMA journal_mode = WAL")
        with db:
            add_run(db, "r2", {"p2": "corn"}, status="running")
            add_artifact(db, source, "p2$eeeeeeeeeeee:all", "model", "X")
        # The writer is still there, and what it committed stands in the log alone.
        assert (source / "store.sqlite-wal").stat().st_size > 0
        done = import_workspace(source, tmp_path / "ws")
        assert (done.artifacts, done.running) == (6, ["p2"])
        edit(source, "UPDATE runs SET status = 'completed'")
        edit(source, "UPDATE pipelines SET status = 'completed'")
        assert import_workspace(source, tmp_path / "ws").artifacts == 1


@pytest.mark.parametrize("with_log", [False, True])
def test_a_workspace_on_a_read_only_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_log: bool
) -> None:
    source = make_workspace(tmp_path / "source")
    monkeypatch.setattr(catalog_module, "is_read_only", lambda folder: folder == source)
    with closing(sqlite3.connect(source / "store.sqlite")) as db:
        db.execute("PRAGMA journal_mode = WAL")
        if with_log:
            with db:
                add_artifact(db, source, "p1$eeeeeeeeeeee:all", "model", "X")
        before = tree(source)
        assert import_workspace(source, tmp_path / "ws").artifacts == (7 if with_log else 6)
        assert tree(source) == before


def test_a_kept_workspace_that_names_no_files_is_damage(tmp_path: Path) -> None:
    """As a bundle can bring one: its pipeline bears the name, and its artifacts no notes."""
    with ArtifactRegistry(tmp_path / "ws", "corn") as registry:
        registry.register(b"x", f"{KEPT}:0:all", "model")
    with pytest.raises(CorruptionError, match="does not say which file of the workspace it was"):
        export_workspace(tmp_path / "ws", tmp_path / "out")

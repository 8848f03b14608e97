"""Taking over a workspace of flat files: verified, never unpickled, loaded on trust."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import yaml

from n4a_store import (
    ArtifactLoader,
    ArtifactRegistry,
    InvalidInputError,
    SerializationError,
    StoreNotFoundError,
    UnsupportedFormatError,
    UntrustedError,
    Workspace,
)
from n4a_store.artifacts.draft import PipelineDraft
from n4a_store.artifacts.flat_import import check_legacy, import_flat_workspace
from n4a_store.artifacts.run_transactions import MOST_OWN
from n4a_store.repo.fsck import fsck

UNNAMED = "no manifest that can be read names it"
Writer = Callable[..., dict[str, Any]]


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    root = tmp_path / "old"
    (root / "binaries" / "corn").mkdir(parents=True)
    return root


@pytest.fixture
def write(flat: Path) -> Writer:
    """Writes an artifact's file as another program would; gives its manifest item."""

    def write_one(obj: object, artifact_id: str, kind: str = "model", **fields: Any) -> dict:
        temporary = flat / "tmp"
        joblib.dump(obj, temporary, compress=3)
        digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
        name = f"{kind}_{type(obj).__name__}_{digest[:12]}.joblib"
        temporary.rename(flat / "binaries" / "corn" / name)
        return {
            "artifact_id": artifact_id,
            "content_hash": f"sha256:{digest}",
            "path": name,
            "artifact_type": kind,
            "class_name": type(obj).__name__,
            "format": "joblib",
            "format_version": "scikit-learn==1.5.0",
            "nirs4all_version": "nirs4all==0.6.0",
            "params": {"n": 3},
            "depends_on": [],
            "source_index": None,
            **fields,
        }

    return write_one


def put_manifest(flat: Path, items: list, run: str = "2025-12-12_corn", name: str = "0001") -> Path:
    folder = flat / "runs" / run / name
    folder.mkdir(parents=True)
    document = {"dataset": "corn", "artifacts": {"schema_version": "2.0", "items": items}}
    (folder / "manifest.yaml").write_text(yaml.safe_dump(document))
    return folder / "manifest.yaml"


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_everything_is_taken_and_loads_on_trust(
    flat: Path, write: Writer, workspace: Workspace, fitted: dict
) -> None:
    scaler = write(fitted["scaler"], "0001_pls:0:all", "transformer")
    model = write(fitted["folds"][0], "0001_pls:0:1:0", depends_on=["0001_pls:0:all"])
    config = {
        "source_models": [{"artifact_id": "0001_pls:0:1:0", "feature_index": 0}],
        "feature_columns": ["pls"],
    }
    meta = write(fitted["meta"], "0002:0:all", "meta_model", meta_config=config)
    put_manifest(flat, [model, scaler])
    put_manifest(flat, [meta], name="0002")
    before = snapshot(flat)
    report = import_flat_workspace(flat, workspace)
    assert snapshot(flat) == before
    assert report.refused == ()
    assert sorted(report.taken["corn"]) == ["0001_pls:0:1:0", "0001_pls:0:all", "0002:0:all"]
    assert report.bytes == sum(p.stat().st_size for p in (flat / "binaries").rglob("*.joblib"))

    registry = ArtifactRegistry(workspace, "corn")
    record = registry.resolve("0001_pls:0:1:0")
    assert record is not None
    assert (record.format, record.format_version) == ("joblib", "scikit-learn==1.5.0")
    assert record.producer_version == "nirs4all==0.6.0"
    assert record.path.endswith(".joblib")
    assert record.depends_on == ["0001_pls:0:all"]
    loader = ArtifactLoader(workspace, "corn")
    for load in (
        lambda: loader.load_by_id("0001_pls:0:1:0"),
        lambda: registry.load_artifact(record),
        lambda: loader.load_with_dependencies("0002:0:all"),
    ):
        with pytest.raises(UntrustedError, match=f"imported from flat files in {flat}"):
            load()
    x = fitted["x"]
    trusting = ArtifactLoader(workspace, "corn", trust=True)
    expected = fitted["folds"][0].predict(x)
    assert np.array_equal(trusting.load_by_id("0001_pls:0:1:0").predict(x), expected)
    assert np.array_equal(registry.load_artifact(record, trust=True).predict(x), expected)
    assert trusting.load_meta_model_with_sources("0002:0:all")[2] == ["pls"]


class Bomb:
    """Unpickling it leaves a trace."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def test_the_import_never_unpickles(
    flat: Path, write: Writer, workspace: Workspace, tmp_path: Path
) -> None:
    fuse = tmp_path / "exploded"
    put_manifest(flat, [write(Bomb(fuse), "p:0:all")])
    assert import_flat_workspace(flat, workspace).taken == {"corn": ("p:0:all",)}
    registry = ArtifactRegistry(workspace, "corn")
    registry.get_all_records()
    registry.export_to_manifest()
    with pytest.raises(UntrustedError):
        ArtifactLoader(workspace, "corn").preload_artifacts()
    assert not fuse.exists()
    ArtifactLoader(workspace, "corn", trust=True).load_by_id("p:0:all")
    assert fuse.exists()


def test_distrust_survives_being_named_again(
    flat: Path, write: Writer, workspace: Workspace
) -> None:
    put_manifest(flat, [write("x", "p:0:all")])
    import_flat_workspace(flat, workspace)
    registry = ArtifactRegistry(workspace, "corn")
    document = registry.export_to_manifest("p")
    document["items"][0] = {**document["items"][0], "artifact_id": "q:0:all", "pipeline_id": "q"}
    registry.import_from_manifest({**document, "pipeline_id": "q"})
    with pytest.raises(UntrustedError):
        ArtifactLoader(workspace, "corn").load_by_id("q:0:all")


def test_distrust_survives_being_depended_on(
    flat: Path, write: Writer, workspace: Workspace
) -> None:
    """What was made here vouches for itself and not for the imported thing below it."""
    put_manifest(flat, [write("x", "p:0:all")])
    import_flat_workspace(flat, workspace)
    registry = ArtifactRegistry(workspace, "corn")
    with registry.run():
        registry.register("mine", "q:0:all", "model", depends_on=["p:0:all"])
        registry.register("late", "q:1:all", "model")
        registry.add_dependency("q:1:all", "q:0:all")
    registry.register("more", "q:2:all", "model", depends_on=["q:1:all"])
    registry.delete_pipeline_artifacts("p")
    loader = ArtifactLoader(workspace, "corn")
    for name in ("q:0:all", "q:1:all", "q:2:all"):
        assert loader.load_by_id(name)
        with pytest.raises(UntrustedError, match="p:0:all was imported"):
            loader.load_with_dependencies(name)
        with ArtifactLoader(workspace, "corn", trust=True) as trusting:
            assert trusting.load_with_dependencies(name)["p:0:all"] == "x"
    (below,) = registry.resolve_dependencies("q:0:all")
    with pytest.raises(UntrustedError):
        registry.load_artifact(below)


def test_distrust_survives_the_id_being_given_to_another(
    flat: Path, write: Writer, workspace: Workspace
) -> None:
    put_manifest(flat, [write("x", "p:0:all")])
    import_flat_workspace(flat, workspace)
    registry = ArtifactRegistry(workspace, "corn")
    imported = registry.resolve("p:0:all")
    assert imported is not None
    mine = registry.register("mine", "p:0:all", "model")
    newest = registry.register("newest", "p:0:all", "model")
    assert registry.load_artifact(mine) == "mine"
    assert registry.load_artifact(newest) == "newest"
    with pytest.raises(UntrustedError):
        registry.load_artifact(imported)
    assert registry.load_artifact(imported, trust=True) == "x"
    registry.delete_pipeline_artifacts("p")
    for record in (imported, newest):
        with pytest.raises(UntrustedError, match="nothing here tells"):
            registry.load_artifact(record)
    assert registry.load_artifact(newest, trust=True) == "newest"


def test_what_cannot_be_taken_is_reported_item_by_item(
    flat: Path, write: Writer, workspace: Workspace, tmp_path: Path
) -> None:
    good = write("good", "p:0:all")
    swapped = write("swapped", "p:1:all")
    (flat / "binaries" / "corn" / swapped["path"]).write_bytes(pickle.dumps("evil"))
    missing = write("missing", "p:2:all")
    (flat / "binaries" / "corn" / missing["path"]).unlink()
    linked = write("linked", "p:3:all")
    link = flat / "binaries" / "corn" / linked["path"]
    (tmp_path / "secret").write_bytes(link.read_bytes())
    link.unlink()
    link.symlink_to(tmp_path / "secret")
    items = [
        good,
        swapped,
        missing,
        linked,
        {**good, "artifact_id": "p:4:all", "path": "../../secret"},
        {**good, "artifact_id": "p:5"},
        {**good, "artifact_id": "p:6:all", "content_hash": "sha256:abc"},
        {**good, "artifact_id": "p:7:all", "format": "legacy_pickle"},
        {**good, "artifact_id": "p:8:all", "depends_on": ["p:1:all"]},
        {**good, "artifact_id": "p:9:all", "depends_on": ["p:9:all"]},
        {**good, "artifact_id": "p:10:all", "artifact_type": "Bad Type"},
        "text",
        {**good, "artifact_id": "p:11:all", "depends_on": ["p:0:all"]},
    ]
    put_manifest(flat, items)
    torn = put_manifest(flat, [], name="torn")
    torn.write_text("artifacts: {schema_version: '2.0', items: [")
    old = put_manifest(flat, [], name="old")
    old.write_text("dataset: corn\nartifacts: [{name: x}]\n")
    report = import_flat_workspace(flat, workspace)
    assert report.taken == {"corn": ("p:0:all", "p:11:all")}
    reasons = "\n".join(f"{refused.where}: {refused.reason}" for refused in report.refused)
    for fragment in (
        "item 1: .*SHA-256 differs",
        "item 2: there is no file",
        "item 3: .*no regular file",
        "item 4: path .* is not one file name",
        "item 5: malformed artifact id",
        "item 6: content_hash is not",
        "item 7: format 'legacy_pickle' is not read; open it once with",
        "item 8: it depends on p:1:all, which was not taken",
        "item 9: it depends on p:9:all",
        "item 10: .*artifact type",
        "item 11: it is no map",
        "torn/manifest.yaml: .*not YAML",
        "old/manifest.yaml: .*schema 1",
    ):
        assert any(re.search(fragment, line) for line in reasons.splitlines()), fragment
    assert len(report.refused) == 13


def test_files_that_no_manifest_names_are_reported(
    flat: Path, write: Writer, workspace: Workspace
) -> None:
    """Whoever deletes the old folder after the import must know what he loses."""
    put_manifest(flat, [write("named", "p:0:all")])
    of_torn = write("torn", "p:1:all")
    torn = put_manifest(flat, [of_torn], name="torn")
    torn.write_text(torn.read_text()[:40])
    corn, rye = flat / "binaries" / "corn", flat / "binaries" / "rye"
    (rye / "deeper").mkdir(parents=True)
    for path in (corn / "copy.joblib", rye / "model.joblib", rye / "deeper" / "x", rye / ".hidden"):
        path.write_bytes(b"x")
    report = import_flat_workspace(flat, workspace)
    assert report.taken == {"corn": ("p:0:all",)}
    unnamed = [Path(one.where) for one in report.refused if one.reason == UNNAMED]
    assert sorted(unnamed) == sorted([
        corn / "copy.joblib", corn / of_torn["path"], rye / "model.joblib", rye / "deeper" / "x"
    ])  # fmt: skip
    assert not any(one.damaged for one in report.refused)
    only = import_flat_workspace(flat, workspace, "corn").refused
    assert not any("rye" in one.where for one in only)
    assert sum(one.reason == UNNAMED for one in only) == 2


def test_an_id_that_stands_twice_in_a_run_is_reported(
    flat: Path, write: Writer, workspace: Workspace
) -> None:
    """One of the two was dropped, and nothing said so."""
    first, last = write("first", "p:0:all"), write("last", "p:0:all")
    put_manifest(flat, [first, write("good", "p:1:all"), last])
    report = import_flat_workspace(flat, workspace)
    assert report.taken == {"corn": ("p:0:all", "p:1:all")}
    (refused,) = report.refused
    assert refused.where.endswith("0001/manifest.yaml, item 0")
    assert re.search("p:0:all stands again in .*, item 2, and the last is taken", refused.reason)
    assert ArtifactLoader(workspace, "corn", trust=True).load_by_id("p:0:all") == "last"
    put_manifest(flat, [first, first], run="2026-01-01_corn")
    assert len(import_flat_workspace(flat, workspace).refused) == 1


def test_a_huge_file_is_refused_without_being_held_in_memory(
    flat: Path, write: Writer, workspace: Workspace
) -> None:
    huge, good = write("huge", "p:0:all"), write("good", "p:1:all")
    os.truncate(flat / "binaries" / "corn" / huge["path"], 256 << 20)  # sparse: it costs nothing
    put_manifest(flat, [huge, good])
    tracemalloc.start()
    try:
        report = import_flat_workspace(flat, workspace)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.taken == {"corn": ("p:1:all",)}
    assert ["SHA-256 differs" in one.reason for one in report.refused] == [True]
    assert peak < 64 << 20


def test_each_run_folder_becomes_a_run(flat: Path, write: Writer, workspace: Workspace) -> None:
    put_manifest(flat, [write("old", "p:0:all")], run="2025-01-01_corn")
    put_manifest(flat, [write("new", "p:0:all")], run="2025-02-02_corn")
    report = import_flat_workspace(flat, workspace)
    assert len(report.runs) == 2
    loaded = [
        ArtifactLoader(workspace, "corn", run=run, trust=True).load_by_id("p:0:all")
        for run in report.runs
    ]
    assert loaded == ["old", "new"]
    registry = ArtifactRegistry(workspace, "corn")
    assert registry.resolve("p:0:all").version == 2  # type: ignore[union-attr]


def test_a_run_is_taken_in_one_commit_or_not_at_all(
    flat: Path, write: Writer, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many pipelines it has: each with a file, a lease and a buffer would be too many."""
    names = [f"{number}_p" for number in range(2 * MOST_OWN)]
    for name in names:
        items = [write(name, f"{name}:0:all")]
        if name != names[0]:
            items.append(write([name], f"{name}:1:all", depends_on=[f"{names[0]}:0:all"]))
        put_manifest(flat, items, name=name)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(PipelineDraft, "finish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            import_flat_workspace(flat, workspace)
    with workspace.store("corn") as store:
        assert (store.refs(), store.reflog()) == ([], [])
        assert len(import_flat_workspace(flat, workspace).taken["corn"]) == 2 * len(names) - 1
        assert len({moved.op for moved in store.reflog()}) == 1
        assert fsck(store, full=True).ok
    loader = ArtifactLoader(workspace, "corn", trust=True)
    assert [loader.load_by_id(f"{name}:1:all") for name in names[1:]] == [[n] for n in names[1:]]


@pytest.mark.parametrize("layout", ["metadata.json", "_binaries/x.pkl", "artifacts/objects/ab/c"])
def test_layouts_of_the_past_are_recognised_and_refused(
    flat: Path, write: Writer, workspace: Workspace, layout: str
) -> None:
    legacy = flat / "runs" / "r" / layout
    legacy.parent.mkdir(parents=True)
    legacy.write_text("{}")
    for act in (lambda: check_legacy(flat), lambda: import_flat_workspace(flat, workspace)):
        with pytest.raises(UnsupportedFormatError, match="is not read") as caught:
            act()
        assert "schema 2.0" in str(caught.value.hint)
    put_manifest(flat, [write("x", "p:0:all")])
    report = import_flat_workspace(flat, workspace)
    assert report.taken == {"corn": ("p:0:all",)}
    assert len(report.refused) == 1


def test_sources_that_are_none(flat: Path, write: Writer, workspace: Workspace) -> None:
    with pytest.raises(StoreNotFoundError, match="holds no manifests"):
        import_flat_workspace(flat, workspace)
    put_manifest(flat, [write("x", "p:0:all")])
    with pytest.raises(StoreNotFoundError, match="no dataset 'wheat'"):
        import_flat_workspace(flat, workspace, "wheat")
    with pytest.raises(InvalidInputError, match=r"are in .* themselves"):
        import_flat_workspace(flat, flat)


def test_a_format_without_a_reader_is_kept_and_says_so(
    flat: Path, write: Writer, workspace: Workspace
) -> None:
    put_manifest(
        flat, [write("x", "p:0:all", format="keras_h5"), write("y", "p:1:all", format="pkl")]
    )
    import_flat_workspace(flat, workspace)
    loader = ArtifactLoader(workspace, "corn", trust=True)
    with pytest.raises(UnsupportedFormatError, match="keras_h5"):
        loader.load_by_id("p:0:all")
    with pytest.raises(SerializationError, match="cannot be read as pkl"):
        loader.load_by_id("p:1:all")


def test_distrust_survives_being_asked_again(
    flat: Path, write: Writer, workspace: Workspace, tmp_path: Path
) -> None:
    fuse = tmp_path / "exploded"
    put_manifest(flat, [write(Bomb(fuse), "p:0:all"), write("x", "p:1:all")])
    import_flat_workspace(flat, workspace)
    loader = ArtifactLoader(workspace, "corn")
    for _ in range(2):  # the second time the pipeline is known already
        for name in ("p:1:all", "p:0:all"):
            with pytest.raises(UntrustedError):
                loader.load_by_id(name)
    assert not fuse.exists()


def test_a_manifest_that_is_a_link_is_not_read(
    flat: Path, write: Writer, workspace: Workspace, tmp_path: Path
) -> None:
    manifest = put_manifest(flat, [write("x", "p:0:all")])
    manifest.rename(tmp_path / "elsewhere.yaml")
    manifest.symlink_to(tmp_path / "elsewhere.yaml")
    report = import_flat_workspace(flat, workspace)
    assert report.taken == {}
    assert ["no regular file" in one.reason for one in report.refused] == [True, False]

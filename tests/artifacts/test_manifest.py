"""Readable manifests: written whole, read with suspicion."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from n4a_store import (
    ArtifactLoader,
    ArtifactNotFoundError,
    ArtifactRegistry,
    InvalidInputError,
    StoreNotFoundError,
    UnsupportedFormatError,
    Workspace,
)
from n4a_store.artifacts.manifest import check_manifest, load_yaml, read_manifest_file
from n4a_store.artifacts.rendition import render

Trainer = Callable[..., str]


def manifest_path(workspace: Workspace, run: str, pipeline: str = "0001_pls") -> Path:
    return workspace.path / "runs" / "corn" / run / pipeline / "manifest.yaml"


def test_a_completed_pipeline_has_a_readable_manifest(
    registry: ArtifactRegistry, workspace: Workspace, train: Trainer
) -> None:
    run = train(registry)
    document = yaml.safe_load(manifest_path(workspace, run).read_text())
    assert document["schema_version"] == "2.0"
    assert (document["dataset"], document["run_id"]) == ("corn", run)
    assert document["pipeline_id"] == "0001_pls"
    assert [item["artifact_id"] for item in document["items"]][:2] == [
        "0001_pls:0:all",
        "0001_pls:0:1:0",
    ]
    assert document == registry.export_to_manifest("0001_pls")
    checked = check_manifest(document)
    assert list(checked.records) == registry.get_all_records("0001_pls")


def test_registering_outside_a_run_writes_one_too(
    registry: ArtifactRegistry, workspace: Workspace
) -> None:
    registry.register(1, "p:0:all", "model")
    registry.register(2, "p:1:all", "model")
    (path,) = (workspace.path / "runs").rglob("manifest.yaml")
    assert len(yaml.safe_load(path.read_text())["items"]) == 2


def test_an_unfinished_pipeline_has_none(registry: ArtifactRegistry, workspace: Workspace) -> None:
    with pytest.raises(RuntimeError), registry.run():  # noqa: PT012 - a run that fails
        registry.register(1, "p:0:all", "model")
        raise RuntimeError
    assert not (workspace.path / "runs").exists()


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(alphabet=st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab:#-\x85é"), inner),
    max_leaves=10,
)


@given(values)
def test_what_is_rendered_reads_back(value: Any) -> None:
    document = {"schema_version": "2.0", "x": value, "items": [{"a": value, "b": 1}]}
    read = yaml.safe_load(render(document))
    assert repr(read) == repr(document)


def test_no_items_is_an_empty_list() -> None:
    assert yaml.safe_load(render({"items": []})) == {"items": []}
    nan = yaml.safe_load(render({"x": math.nan, "items": []}))["x"]
    assert math.isnan(nan)


def test_a_loader_from_a_manifest_sees_that_run_and_pipeline(
    registry: ArtifactRegistry, workspace: Workspace, train: Trainer
) -> None:
    first = train(registry)
    with registry.run():
        registry.register("new", "0001_pls:0:all", "model")
        registry.register("other", "0002:0:all", "model")
    path = manifest_path(workspace, first)
    for loader in (
        ArtifactLoader.from_manifest(path),
        ArtifactLoader.from_manifest(str(path), path.parent),
        ArtifactLoader.from_manifest(yaml.safe_load(path.read_text()), workspace.path),
    ):
        assert type(loader.load_by_id("0001_pls:0:all")).__name__ == "StandardScaler"
        assert len(loader.load_for_step(0)) == 1
        assert len(loader.get_all_records()) == 5
        loader.close()
    with pytest.raises(StoreNotFoundError, match="around"):
        ArtifactLoader.from_manifest(yaml.safe_load(path.read_text()), "/")
    with pytest.raises(InvalidInputError, match="results_dir"):
        ArtifactLoader.from_manifest({"schema_version": "2.0", "dataset": "corn", "items": []})


def test_a_renamed_run_folder_or_a_torn_manifest_hurts_nothing(
    registry: ArtifactRegistry, workspace: Workspace, train: Trainer
) -> None:
    """Renditions are never the source of truth."""
    run = train(registry)
    manifest_path(workspace, run).write_text("items: [{")
    (workspace.path / "runs" / "corn" / run).rename(workspace.path / "runs" / "corn" / "renamed")
    assert registry.find_orphaned_artifacts() == []
    assert registry.delete_orphaned_artifacts(dry_run=False, expire="now")[0] == []
    loader = ArtifactLoader(workspace, "corn")
    assert loader.preload_artifacts() == 5
    shutil.rmtree(workspace.path / "runs")
    assert registry.delete_orphaned_artifacts(dry_run=False, expire="now")[0] == []
    assert len(registry.get_all_records(run=run)) == 5
    loader.clear_cache()
    assert loader.preload_artifacts() == 5


def item(**changes: Any) -> dict[str, Any]:
    base = {
        "artifact_id": "p:0:all",
        "content_hash": "blake3:" + "0" * 64,
        "artifact_type": "model",
        "class_name": "Ridge",
    }
    return {**base, **changes}


def manifest(*items: Any, **changes: Any) -> dict[str, Any]:
    return {"schema_version": "2.0", "dataset": "corn", "items": list(items), **changes}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (None, "is a map"),
        ([], "is a map"),
        ({}, "no schema_version"),
        (manifest(dataset=None), "dataset"),
        (manifest(dataset="../../etc"), "dataset"),
        (manifest(run_id="a/b"), "run id"),
        (manifest(items="x"), "items is a list"),
        (manifest(items={}), "items is a list"),
        (manifest(1), "item 0: a record is a map"),
        (manifest({}), "item 0: a record without 'artifact_id'"),
        (manifest(item(artifact_id="p:0")), "item 0: a record's artifact_id|malformed"),
        (manifest(item(artifact_id=3)), "artifact_id"),
        (manifest(item(), item()), "lists p:0:all twice"),
        (manifest(item(), pipeline_id="q"), "lists artifacts of others"),
        (manifest(item(content_hash="md5:1")), "content_hash"),
        (manifest(item(path="../../x.pkl")), "path: one file name"),
        (manifest(item(path="C:\\x.pkl")), "path: one file name"),
        (manifest(item(step_index=7)), "step_index is that of another id"),
        (manifest(item(branch_path=["x"])), "branch_path"),
        (manifest(item(fold_id="all")), "fold_id"),
        (manifest(item(depends_on="p:1:all")), "depends_on: a list"),
        (manifest(item(params=[1])), "params: a map"),
        (manifest(item(params={1: 2})), "params: a map"),
        (manifest(item(size_bytes=-1)), "size_bytes"),
        (manifest(item(version=0)), "version"),
        (manifest(item(version=True)), "version"),
        (manifest(item(class_name="x" * 2000)), "class_name"),
        (manifest(item(artifact_type="Model Type")), "artifact_type"),
        (manifest(item(meta_config=[1])), "meta_config"),
        (manifest(item(meta_config={"source_models": [{"artifact_id": "x"}]})), "meta_config"),
        (manifest(item(hidden=1)), "unknown field 'hidden'"),
    ],
)
def test_a_malformed_manifest_is_a_clear_error(document: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        check_manifest(document)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"artifacts": [{"name": "scaler", "step": 0}]}, "schema 1: its artifacts are a flat list"),
        ({"schema_version": "1.0", "items": []}, "schema '1.0'"),
        ({"schema_version": 3.0, "items": []}, "schema '3.0'"),
        (manifest(item(format="legacy_pickle")), "item 0: format 'legacy_pickle'"),
    ],
)
def test_another_schema_is_refused_with_the_way_out(document: Any, message: str) -> None:
    with pytest.raises(UnsupportedFormatError, match=message) as caught:
        check_manifest(document)
    assert "schema 2.0" in str(caught.value.hint)


def test_the_section_of_the_roadmap_is_read_too() -> None:
    section = {"schema_version": "2.0", "items": [item()]}
    assert len(check_manifest({"dataset": "corn", "artifacts": section}).records) == 1


LAUGHS = "l0: &l0 [x, x]\n" + "".join(
    f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


def test_aliases_are_only_a_spelling() -> None:
    assert load_yaml("a: &x {k: [1]}\nb: *x\nc: &s 2\nd: *s", "x") == {
        "a": {"k": [1]},
        "b": {"k": [1]},
        "c": 2,
        "d": 2,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !!python/object/apply:os.system ['echo pwned']", "YAML tag"),
        ("a: !custom 1", "YAML tag"),
        ("a: &x [*x]", "inside itself"),
        ("a: &x {b: *x}", "inside itself"),
        (LAUGHS, "more than 1000000 parts"),
        ("items: [{", "not YAML"),
        ("a: 1\n b: 2", "not YAML"),
        ("a: \x00", "not YAML"),
        ("a: 2026-13-45", "malformed value"),
        ("[" * 65, "nested deeper than 64 levels"),
        ("[" * 999 + "]" * 999, "nested deeper than 64 levels"),
        # Where PyYAML's own limit of 1,000 stands before ours, as of 6.0.4, it says so.
        ("[" * 100_000, "nested deeper than 64 levels|exceeded maximum nesting depth"),
    ],
)
def test_hostile_yaml_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        load_yaml(text, "manifest.yaml")
    assert "manifest.yaml" in str(caught.value)


MERSENNE = (1 << 61) - 1


@pytest.mark.parametrize("form", ["{}", "+{}", "-{}", "0x{:x}", "0b{:b}", "{:_}"])
@pytest.mark.parametrize("kind", ["block", "flow", "nested"])
def test_keys_that_collide_are_refused_before_they_are_looked_up(form: str, kind: str) -> None:
    """Each is compared with all before it: of 40,000 that took 18 seconds."""
    keys = [form.format(at * MERSENNE) for at in range(1, 1_003)]

    def text(keys: list[str]) -> str:
        if kind == "block":
            return "".join(f"? {key}\n: [{{}}, a]\n" for key in keys)
        if kind == "flow":
            return "{" + ", ".join(f"{key}: {{b: 1}}" for key in keys) + "}"
        return "a: [" + ", ".join(f"{{b: c, {key}: 1}}" for key in keys) + "]"

    with pytest.raises(InvalidInputError, match="more than 1000 keys of many digits"):
        load_yaml(text(keys), "manifest.yaml")
    assert load_yaml(text(keys[:1_000]), "manifest.yaml")


def test_numbers_and_names_of_many_digits_are_read() -> None:
    """Seeds as values, and hashes as keys: only keys that are numbers are compared so."""
    rows = [f"{{seed: {at * MERSENNE}, 'a{at}': {at}}}" for at in range(1, 2_000)]
    assert len(load_yaml("[" + ",\n".join(rows) + "]", "manifest.yaml")) == 1_999
    hashes = "".join(f"a{at:063}: 1\n'{at:064}': 2\n" for at in range(2_000))
    assert len(load_yaml(hashes, "manifest.yaml")) == 4_000


def test_sixty_four_levels_are_read() -> None:
    value = load_yaml("[" * 64 + "]" * 64, "manifest.yaml")
    for _ in range(63):
        (value,) = value
    assert value == []


def test_a_million_items_are_refused_before_they_are_built() -> None:
    with pytest.raises(InvalidInputError, match="more than 500000 lines and items"):
        load_yaml("items: [" + "{}," * 1_000_000 + "]", "manifest.yaml")


def test_files_that_cannot_be_manifests(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFoundError, match="no manifest"):
        read_manifest_file(tmp_path / "manifest.yaml")
    (tmp_path / "latin").write_bytes(b"a: \xff")
    with pytest.raises(InvalidInputError, match="UTF-8"):
        read_manifest_file(tmp_path / "latin")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(65 * 1024 * 1024)
    with pytest.raises(InvalidInputError, match="larger than"):
        read_manifest_file(tmp_path / "huge")


def test_a_deleted_pipeline_comes_back_from_its_manifest_while_its_content_is_named(
    registry: ArtifactRegistry, train: Trainer
) -> None:
    train(registry)
    train(registry, "0002")
    document = registry.export_to_manifest("0001_pls")
    registry.delete_pipeline_artifacts("0001_pls")
    records = registry.import_from_manifest(document)
    assert [r.artifact_id for r in records] == [at["artifact_id"] for at in document["items"]]
    assert registry.resolve("0001_pls:0:all") is not None
    loaded = registry.load_artifact(registry.get_all_records("0001_pls")[0])
    assert type(loaded).__name__ == "StandardScaler"
    registry.delete_pipeline_artifacts("0001_pls")
    registry.delete_pipeline_artifacts("0002")
    with pytest.raises(ArtifactNotFoundError, match="in no run of this dataset"):
        registry.import_from_manifest(document)
    with pytest.raises(InvalidInputError, match="dataset 'wheat'"):
        registry.import_from_manifest({**document, "dataset": "wheat"})


def test_a_manifest_that_was_torn_or_edited_is_refused(
    registry: ArtifactRegistry, workspace: Workspace, train: Trainer
) -> None:
    """The tree that it names says what it has to list."""
    path = manifest_path(workspace, train(registry))
    whole = yaml.safe_load(path.read_text())
    lines = path.read_text().splitlines(keepends=True)
    refused = 0
    for cut in range(1, len(lines)):
        path.write_text("".join(lines[:cut]))
        try:
            ArtifactLoader.from_manifest(path).close()
        except (InvalidInputError, UnsupportedFormatError) as error:
            refused += "does not list what" in str(error)
        else:  # only fields were lost whose values are what a missing field means
            assert read_manifest_file(path).records == check_manifest(whole).records
    assert refused > len(whole["items"])
    path.write_text("".join(lines))
    ArtifactLoader.from_manifest(path).close()

    changed = [dict(item) for item in whole["items"]]
    changed[1]["content_hash"] = "blake3:" + "0" * 64
    for items in (whole["items"][:-1], changed):
        edited = {**whole, "items": items}
        with pytest.raises(InvalidInputError, match="does not list what") as caught:
            ArtifactLoader.from_manifest(edited, workspace.path)
        assert "manifest:" in str(caught.value.hint)
        with pytest.raises(InvalidInputError, match="does not list what"):
            registry.import_from_manifest(edited)
    run = registry.store.resolve(whole["run_id"])
    artifacts = registry.store.resolve("0001_pls:artifacts")
    for oid, said in (("0" * 63, "object id"), (run.hex, "no tree"), (artifacts.hex, "manifest")):
        with pytest.raises(InvalidInputError, match=said):
            ArtifactLoader.from_manifest({**whole, "manifest": oid}, workspace.path)
    without = {name: value for name, value in whole.items() if name != "manifest"}
    ArtifactLoader.from_manifest({**without, "items": whole["items"][:-1]}, workspace.path).close()


def test_a_manifest_without_a_dataset_says_so() -> None:
    with pytest.raises(InvalidInputError, match="names no dataset"):
        check_manifest({"schema_version": "2.0", "items": []})


def test_a_manifest_of_items_alone_is_of_the_dataset_that_takes_it(
    registry: ArtifactRegistry, tmp_path: Path
) -> None:
    record = registry.register(1, "p:0:all", "model")
    place = {"artifact_id": "q:3:all", "pipeline_id": "q", "step_index": 3}
    items = {"schema_version": "2.0", "items": [record.to_dict() | place]}
    file = tmp_path / "items.yaml"
    file.write_text(yaml.safe_dump({"artifacts": items}))
    for manifest in (items, file):
        (named,) = registry.import_from_manifest(manifest)
        assert named.artifact_id == "q:3:all"
    with pytest.raises(InvalidInputError, match="of dataset 'wheat'"):
        registry.import_from_manifest({**items, "dataset": "wheat"})


def test_a_manifest_is_believed_in_whatever_order_its_maps_are(
    registry: ArtifactRegistry, workspace: Workspace
) -> None:
    """It is written from what was registered, and compared with what was stored."""
    params = {"z": 1, "a": {"y": 2, "b": math.nan}}
    config = {"source_models": [], "feature_columns": [], "z": 1, "a": {"y": 2, "b": 3}}
    with registry.run() as run:
        registry.register(1, "p:0:all", "model", params=params, meta_config=config)
    path = manifest_path(workspace, run.id, "p")
    assert 'params: {"a": {"b": .nan, "y": 2}, "z": 1}' in path.read_text()
    document = yaml.safe_load(path.read_text())
    turned = path.with_name("turned.yaml")
    (item,) = document["items"]
    item["params"] = dict(reversed(item["params"].items()))
    turned.write_text(yaml.safe_dump(document, sort_keys=False))
    for at in (path, turned):
        assert ArtifactLoader.from_manifest(at, workspace.path).load_by_id("p:0:all") == 1
        assert [at.artifact_id for at in registry.import_from_manifest(at)] == ["p:0:all"]
    item["params"]["z"] = 2
    turned.write_text(yaml.safe_dump(document))
    with pytest.raises(InvalidInputError, match="does not list what"):
        ArtifactLoader.from_manifest(turned, workspace.path)

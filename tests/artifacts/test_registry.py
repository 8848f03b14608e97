"""Registering: what becomes visible when, and what a registry refuses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from n4a_store import (
    ArtifactLoader,
    ArtifactNotFoundError,
    ArtifactRegistry,
    ArtifactType,
    CorruptionError,
    InvalidInputError,
    InvalidNameError,
    RunStatus,
    SerializationError,
    StoreNotFoundError,
    TransactionClosedError,
    Workspace,
)
from n4a_store.artifacts.stored_runs import shown_status
from tests.repo.objects import spoil

MODEL = ArtifactType.MODEL
Trainer = Callable[..., str]


def object_kinds(registry: ArtifactRegistry) -> dict[str, set[str]]:
    kinds: dict[str, set[str]] = {}
    for oid, kind in registry.store.objects():
        kinds.setdefault(kind.label, set()).add(oid.hex)
    return kinds


def test_a_record_says_everything(registry: ArtifactRegistry, fitted: dict) -> None:
    record = registry.register(fitted["scaler"], "0001_pls:0:2:3.1:0", "transformer")
    assert record.artifact_id == "0001_pls:0:2:3.1:0"
    assert (record.pipeline_id, record.branch_path, record.step_index) == ("0001_pls", [0, 2], 3)
    assert (record.sub_index, record.fold_id, record.version) == (1, 0, 1)
    assert record.artifact_type is ArtifactType.TRANSFORMER
    assert record.class_name == "StandardScaler"
    assert record.path == f"transformer_StandardScaler_{record.short_hash}.pkl"
    assert record.content_hash.startswith("blake3:" + record.short_hash)
    assert record.format == "pickle5"
    assert record.format_version.startswith("scikit-learn==")
    assert record.producer_version.startswith("n4a_store==")
    assert record.params["with_mean"] is True
    assert record.size_bytes > 2000
    assert record.created_at.endswith("+00:00")
    assert record.is_branch_specific
    assert record.is_fold_specific
    assert not record.is_meta_model
    assert registry.resolve(record.artifact_id) == record


def test_unknown_ids_resolve_to_none(registry: ArtifactRegistry, fitted: dict) -> None:
    registry.register(fitted["scaler"], "p:0:all", "transformer")
    assert registry.resolve("p:1:all") is None
    assert registry.resolve("q:0:all") is None
    with pytest.raises(InvalidInputError, match="step and fold"):
        registry.resolve("p")


def test_asking_about_what_is_not_there_creates_nothing(tmp_path: Path) -> None:
    registry = ArtifactRegistry(tmp_path / "nowhere", "corn")
    for ask in (
        lambda: registry.resolve("p:0:all", run="20261123_a1b2c3"),
        registry.get_all_records,
        lambda: registry.get_dependencies("p:0:all"),
        lambda: ArtifactLoader(tmp_path / "nowhere", "corn").load_by_id("p:0:all"),
    ):
        with pytest.raises(StoreNotFoundError, match="no workspace"):
            ask()
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "nowhere").mkdir()
    with pytest.raises(StoreNotFoundError, match="no dataset 'corn'"):
        registry.get_all_records()
    assert not list((tmp_path / "nowhere").iterdir())


@pytest.mark.parametrize(
    "name", ["", "..", "../../x", "a/b", "a\\b", "a:b", "con", "x\0", "\u202ex", "a" * 10_000, "-x"]
)
def test_names_are_checked_before_any_file_is_touched(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidNameError):
        ArtifactRegistry(tmp_path / "ws", name)
    with pytest.raises(InvalidNameError):
        ArtifactLoader(tmp_path / "ws", name)
    registry = ArtifactRegistry(tmp_path / "ws", "corn")
    with pytest.raises(ValueError, match=r"pipeline id|artifact id"):
        registry.register(1, f"{name}:0:x", MODEL)
    assert not (tmp_path / "ws").exists()


def test_a_bad_registration_creates_nothing(tmp_path: Path) -> None:
    registry = ArtifactRegistry(tmp_path / "ws", "corn")
    with pytest.raises(SerializationError):
        registry.register(threading.Lock(), "p:0:all", MODEL)
    with pytest.raises(InvalidInputError, match="unknown artifact type"):
        registry.register(1, "p:0:all", "modle")
    with pytest.raises(InvalidInputError, match="unknown format"):
        registry.register(1, "p:0:all", MODEL, format_hint="legacy_pickle")
    with pytest.raises(InvalidInputError, match="does not handle"):
        registry.register(1, "p:0:all", MODEL, format_hint="npy")
    with pytest.raises(InvalidInputError, match=r"'joblib' is read .* not written") as only_read:
        registry.register(1, "p:0:all", MODEL, format_hint="joblib")
    assert "joblib" not in str(only_read.value.hint)
    with pytest.raises(InvalidInputError, match="list of artifact ids"):
        registry.register(1, "p:0:all", MODEL, depends_on="p:1:all")
    with pytest.raises(ArtifactNotFoundError, match="does not exist"):
        registry.register(1, "p:0:all", MODEL, depends_on=["p:1:all"])
    assert not (tmp_path / "ws").exists()


def test_nothing_is_visible_before_the_pipeline_completes(
    registry: ArtifactRegistry, workspace: Workspace, fitted: dict
) -> None:
    other = ArtifactRegistry(workspace, "corn")
    with registry.run() as run:
        registry.register(fitted["scaler"], "p:0:all", "transformer")
        registry.register(fitted["meta"], "q:0:all", MODEL)
        mine = registry.resolve("p:0:all")
        assert mine is not None
        assert registry.load_artifact(mine).mean_.shape == (120,)
        assert other.resolve("p:0:all") is None
        registry.complete_pipeline("p")
        assert other.resolve("p:0:all") == mine == registry.resolve("p:0:all")
        assert other.resolve("q:0:all") is None
        stored = other.store.get_run(other.store.resolve(f"refs/runs/{run.id}"))
        assert stored.status is RunStatus.RUNNING
        assert shown_status(other.store, stored) is RunStatus.RUNNING
    assert other.resolve("q:0:all") is not None
    stored = other.store.get_run(other.store.resolve(f"refs/runs/{run.id}"))
    assert stored.status is RunStatus.COMPLETE
    assert stored.dataset == "corn"
    assert "numpy" in stored.environment
    assert sorted(other.store.get_tree(stored.pipelines)) == ["p", "q"]


def test_a_failed_run_leaves_nothing_of_what_is_unfinished(
    registry: ArtifactRegistry, fitted: dict
) -> None:
    with pytest.raises(RuntimeError, match="no convergence"), registry.run() as run:  # noqa: PT012
        registry.register(fitted["scaler"], "p:0:all", "transformer")
        registry.complete_pipeline("p")
        registry.register(np.arange(5000.0), "q:0:all", MODEL)
        raise RuntimeError("no convergence")
    assert registry.resolve("p:0:all") is not None
    assert registry.resolve("q:0:all") is None
    assert [ref.name for ref in registry.store.refs()] == [
        "refs/pipelines/p",
        f"refs/runs/{run.id}",
    ]
    assert registry.store.get_run(registry.store.resolve(run.id)).status is RunStatus.FAILED
    assert not list((registry.store.path / "txn").iterdir())
    sizes = [registry.store.info(oid).size for oid, _ in registry.store.objects()]
    assert 40_000 not in sizes


def test_the_three_moments_without_with(registry: ArtifactRegistry, fitted: dict) -> None:
    run = registry.start_run()
    with pytest.raises(InvalidInputError, match="open already"):
        registry.start_run()
    registry.register(fitted["scaler"], "p:0:all", "transformer")
    assert registry.cleanup_failed_run() == 1
    assert registry.resolve("p:0:all") is None
    assert registry.cleanup_failed_run() == 0
    with pytest.raises(InvalidInputError, match="no run is open"):
        registry.end_run()
    with pytest.raises(TransactionClosedError, match="has ended"):
        run.register(fitted["scaler"], "p:0:all", "transformer")
    with pytest.raises(TransactionClosedError, match="has ended"):
        run.complete_pipeline("p")
    registry.start_run()
    registry.register(fitted["scaler"], "p:0:all", "transformer")
    registry.end_run()
    assert registry.resolve("p:0:all").version == 1  # type: ignore[union-attr]


def test_a_run_that_registers_nothing_creates_nothing(tmp_path: Path) -> None:
    registry = ArtifactRegistry(tmp_path / "ws", "corn")
    with registry.run():
        pass
    with pytest.raises(RuntimeError), registry.run():
        raise RuntimeError
    assert not (tmp_path / "ws").exists()


def test_all_of_a_failed_run_can_be_taken_back(
    registry: ArtifactRegistry, train: Trainer, fitted: dict
) -> None:
    train(registry)
    before = registry.get_all_records()
    registry.start_run()
    registry.register(fitted["meta"], "0001_pls:0:all", MODEL)
    registry.complete_pipeline("0001_pls")
    registry.register(fitted["meta"], "new:0:all", MODEL)
    registry.complete_pipeline("new")
    registry.register(fitted["meta"], "open:0:all", MODEL)
    assert registry.cleanup_failed_run(completed=True) == 3
    assert registry.get_all_records() == before


def test_repeating_a_training_adds_no_blob_and_no_artifact_tree(
    registry: ArtifactRegistry, train: Trainer, fitted: dict
) -> None:
    first = train(registry)
    before = object_kinds(registry)
    artifacts = registry.store.get_tree(registry.store.resolve("refs/pipelines/0001_pls"))
    second = train(registry)
    after = object_kinds(registry)
    again = registry.store.get_tree(registry.store.resolve("refs/pipelines/0001_pls"))
    assert after["blob"] == before["blob"]
    assert again["artifacts"] == artifacts["artifacts"]
    # One manifest and one tree of pipelines; a run object for each of its two states.
    assert len(after["tree"] - before["tree"]) == 2
    assert len(after["run"] - before["run"]) == 2
    assert {record.version for record in registry.get_all_records(run=first)} == {1}
    assert {record.version for record in registry.get_all_records(run=second)} == {2}
    assert {record.version for record in registry.get_all_records()} == {2}


def test_versions_count_per_id(registry: ArtifactRegistry, fitted: dict) -> None:
    for versions in ({"p:0:all": 1, "p:1:all": 1}, {"p:0:all": 2}, {"p:0:all": 3, "p:1:all": 2}):
        with registry.run():
            for artifact_id, version in versions.items():
                record = registry.register(fitted["scaler"], artifact_id, "transformer")
                assert record.version == version
        for artifact_id, version in versions.items():
            assert registry.resolve(artifact_id).version == version  # type: ignore[union-attr]


def test_outside_a_run_each_registration_is_a_transaction_of_one(
    registry: ArtifactRegistry, workspace: Workspace, fitted: dict
) -> None:
    other = ArtifactRegistry(workspace, "corn")
    first = registry.register(fitted["scaler"], "p:0:all", "transformer")
    assert other.resolve("p:0:all") == first
    registry.register(fitted["meta"], "p:1:all", MODEL, depends_on=["p:0:all"])
    assert len(registry.store.refs("refs/runs/")) == 1
    second = registry.register(fitted["meta"], "p:0:all", MODEL)
    assert (first.version, second.version) == (1, 2)
    runs = [ref.name.rpartition("/")[2] for ref in registry.store.refs("refs/runs/")]
    seen = {registry.resolve("p:0:all", run=run).class_name for run in runs}  # type: ignore[union-attr]
    assert seen == {"StandardScaler", "Ridge"}
    assert registry.resolve("p:1:all").version == 1  # type: ignore[union-attr]


def test_an_id_registered_twice_in_one_run_gives_the_second(
    registry: ArtifactRegistry, fitted: dict
) -> None:
    with registry.run():
        registry.register(fitted["scaler"], "p:0:all", "transformer")
        registry.register(fitted["meta"], "p:1:all", MODEL, depends_on=["p:0:all"])
        assert registry.register(fitted["meta"], "p:0:all", MODEL).version == 2
    assert registry.resolve("p:0:all").class_name == "Ridge"  # type: ignore[union-attr]
    # What depended on the first one still does.
    (dep,) = registry.resolve_dependencies("p:1:all")
    assert dep.class_name == "StandardScaler"


def test_a_completed_pipeline_can_go_on_in_the_same_run(
    registry: ArtifactRegistry, fitted: dict
) -> None:
    with registry.run():
        registry.register(fitted["scaler"], "p:0:all", "transformer")
        registry.complete_pipeline("p")
        registry.complete_pipeline("p")
        registry.register(fitted["meta"], "p:1:all", MODEL, depends_on=["p:0:all"])
        assert registry.resolve("p:0:all") is not None
    assert [record.version for record in registry.get_all_records("p")] == [1, 1]
    with pytest.raises(InvalidInputError, match="nothing has been registered"), registry.run():
        registry.complete_pipeline("never")


def test_equal_content_is_stored_once_and_found_by_hash(
    registry: ArtifactRegistry, fitted: dict
) -> None:
    with registry.run():
        a = registry.register(fitted["scaler"], "a:0:all", "transformer")
        b = registry.register(fitted["scaler"], "b:0:all", "transformer")
        c = registry.register(fitted["meta"], "b:1:all", MODEL)
    assert a.content_hash == b.content_hash != c.content_hash
    assert a.path == b.path
    assert registry.resolve_by_hash(a.content_hash) == [a, b]
    assert registry.resolve_by_hash(a.content_hash.removeprefix("blake3:")) == [a, b]
    assert registry.resolve_by_hash(a.content_hash.upper()) == [a, b]
    assert registry.store.resolve(a.content_hash).hex == a.content_hash.removeprefix("blake3:")
    assert registry.resolve_by_hash("0" * 64) == []


def test_a_short_hash_is_no_identity(registry: ArtifactRegistry, fitted: dict) -> None:
    """Names for people are short; identity is 256 bits."""
    record = registry.register(fitted["scaler"], "a:0:all", "transformer")
    assert len(record.content_hash.removeprefix("blake3:")) == 64
    assert registry.resolve_by_hash(record.short_hash) == []


def test_what_was_closed_can_be_asked_again(
    registry: ArtifactRegistry, loader: ArtifactLoader, fitted: dict
) -> None:
    """Closing gives files and memory back; the next question opens the store again."""
    first = registry.register(fitted["scaler"], "p:0:all", "transformer")
    assert loader.load_by_id("p:0:all").mean_.shape == (120,)
    registry.close()
    loader.close()
    assert registry.resolve("p:0:all") == first
    assert loader.load_by_id("p:0:all").mean_.shape == (120,)
    registry.close()
    assert registry.register(fitted["meta"], "p:1:all", MODEL).version == 1
    assert [record.artifact_id for record in loader.get_all_records()] == ["p:0:all", "p:1:all"]


def test_several_threads_share_a_run(registry: ArtifactRegistry) -> None:
    errors: list[BaseException] = []

    def work(fold: int) -> None:
        try:
            for step in range(5):
                registry.register(np.full(600, fold * 10.0 + step), f"p:{step}:{fold}", MODEL)
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    with registry.run():
        threads = [threading.Thread(target=work, args=(fold,)) for fold in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors
    records = registry.get_all_records()
    assert len(records) == 20
    for record in records:
        array = registry.load_artifact(record)
        assert array[0] == record.fold_id * 10.0 + record.step_index


def test_names_of_branches_stand_in_the_manifest(registry: ArtifactRegistry, fitted: dict) -> None:
    with registry.run():
        registry.name_branch("p", [0, 1], "snv")
        registry.register(fitted["scaler"], "p:0:1:3:all", "transformer")
    (pipeline,) = registry._view.pipelines("p")
    assert pipeline.manifest.links.branches == {"0:1": "snv"}  # type: ignore[union-attr]


def test_objects_that_are_false_or_tiny_or_none(registry: ArtifactRegistry) -> None:
    for place, obj in enumerate([None, 0, "", b"", [], False, np.empty(0), np.float64(0.1)]):
        record = registry.register(obj, f"p:{place}:all", MODEL)
        loaded = registry.load_artifact(record)
        assert type(loaded) is type(obj)
        assert repr(loaded) == repr(obj)


def test_steps_and_folds_are_listed_in_order(
    registry: ArtifactRegistry, train: Trainer, fitted: dict
) -> None:
    train(registry)
    folds = registry.get_fold_models("0001_pls", 1, [0])
    assert [record.fold_id for record in folds] == [0, 1, 2]
    assert folds == registry.get_artifacts_for_step("0001_pls", 1, [0])
    assert registry.get_artifacts_for_step("0001_pls", 1, [0], fold_id=1) == folds[1:2]
    assert registry.get_artifacts_for_step("0001_pls", 1, [1]) == []
    assert registry.get_artifacts_for_step("0001_pls", 1, []) == []
    with pytest.raises(ArtifactNotFoundError, match="no pipeline"):
        registry.get_fold_models("nope", 1)


def test_two_registries_extend_one_pipeline_at_once(workspace: Workspace, fitted: dict) -> None:
    """Outside a run nobody's registration is lost to another's."""
    registries = [ArtifactRegistry(workspace, "corn") for _ in range(3)]
    registries[0].register(fitted["scaler"], "p:0:all", "transformer")

    def work(place: int) -> None:
        for step in range(1, 5):
            registries[place].register(place * 10 + step, f"p:{place}:{step}:all", MODEL)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(registries[0].get_all_records("p")) == 13
    for registry in registries:
        registry.close()


def test_formats_can_be_asked_for(registry: ArtifactRegistry) -> None:
    array = np.arange(3.0)
    assert registry.register(array, "p:0:all", MODEL).format == "npy"
    assert registry.register(array, "p:1:all", MODEL, format_hint="pickle5").format == "pickle5"


def test_params_are_canonical(registry: ArtifactRegistry) -> None:
    record = registry.register(
        StandardScaler(), "p:0:all", "transformer", params={"n": np.int64(3), "t": (1, 2)}
    )
    assert record.params == {"n": 3, "t": [1, 2]}
    assert registry.resolve("p:0:all") == record
    assert registry.register(Ridge(alpha=2.0), "p:1:all", MODEL).params["alpha"] == 2.0


def test_an_open_run_may_ask_before_it_has_registered_anything(tmp_path: Path) -> None:
    registry = ArtifactRegistry(tmp_path / "new", "corn")
    with pytest.raises(StoreNotFoundError):
        registry.get_all_records()
    assert not (tmp_path / "new").exists()
    with registry.run():
        assert registry.resolve("p:0:all") is None
        assert registry.get_all_records() == []
        assert registry.find_orphaned_artifacts() == []


def test_a_hash_finds_what_had_it_once(registry: ArtifactRegistry) -> None:
    versions = []
    for content in (1, 1, 2):
        with registry.run():
            versions.append(registry.register([content], "a:0:all", "model"))
            registry.register([1], "b:0:all", "model")
    found = registry.resolve_by_hash(versions[0].content_hash)
    # Each id once: as it is, or else as it was last.
    assert [(at.artifact_id, at.version) for at in found] == [("a:0:all", 2), ("b:0:all", 3)]
    assert registry.load_artifact(found[0]) == [1]
    assert registry.resolve_by_hash(versions[2].content_hash) == [versions[2]]


def test_a_damaged_old_run_hides_no_record_of_today(
    registry: ArtifactRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    with registry.run() as old:
        registry.register([1], "a:0:all", "model")
    with registry.run():
        record = registry.register([2], "a:0:all", "model")
    spoil(registry.store, registry.store.ref(f"refs/runs/{old.id}").oid)
    registry.close()
    assert registry.resolve_by_hash(record.content_hash) == [record]
    assert "not every run could be asked" in caplog.text
    with pytest.raises(CorruptionError):
        registry.resolve_by_hash("0" * 64)

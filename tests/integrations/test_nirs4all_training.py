"""The real nirs4all trains with and without the store: equal scores, identical predictions."""

import contextlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("nirs4all", reason="needs the extra [nirs4all]")

from n4a_store import ArtifactRegistry, CorruptionError, Workspace
from n4a_store.integrations import nirs4all as integration
from n4a_store.integrations.nirs4all.addresses import Address
from n4a_store.integrations.nirs4all.lookup import find_foreign
from n4a_store.repo.fsck import fsck
from tests.integrations.training import (
    CASES,
    Case,
    catalog,
    chains,
    export,
    failure,
    files,
    glucose,
    predict,
    replays,
    scores,
    train,
)

pytestmark = pytest.mark.nirs4all


def folder(root: Path, case: Case) -> tuple[Path, Path]:
    """Where a case is trained without the store, and with it."""
    where = root / case.name.replace(" ", "_")
    return where / "plain", where / "kept"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_equal_scores_identical_replay_and_no_files(case: Case, tmp_path: Path) -> None:
    plain, kept = folder(tmp_path, case)
    train(case, plain)
    with integration.installed():
        train(case, kept)
    assert scores(kept) == scores(plain)
    assert scores(kept)
    assert files(plain)
    assert files(kept) == []

    data = case.data()
    if isinstance(data, tuple):
        without = list(replays(plain, data[0]))
        with integration.installed():
            with_store = list(replays(kept, data[0]))
        assert [name for name, _ in with_store] == [name for name, _ in without]
        for (name, ours), (_, theirs) in zip(with_store, without, strict=True):
            if isinstance(theirs, np.ndarray):
                assert np.array_equal(ours, theirs), name
            elif theirs.startswith("FileNotFoundError"):
                # A variant whose files upstream never wrote, because another was better.
                assert isinstance(ours, np.ndarray), name
            else:
                assert ours == theirs, name


def test_every_row_names_what_the_store_holds(tmp_path: Path) -> None:
    with integration.installed():
        for case in (CASES[1], CASES[2], CASES[5]):
            train(case, tmp_path / "ws")
    rows = catalog(tmp_path / "ws", "SELECT artifact_path, content_hash FROM artifacts")
    assert len(rows) > 40
    workspace = Workspace(tmp_path / "ws")
    for dataset in workspace.datasets():
        registry = ArtifactRegistry(workspace, dataset)
        records = {
            f"n4a_store/{dataset}/{record.pipeline_id}/{record.artifact_id.partition(':')[2]}": (
                record.content_hash
            )
            for record in registry.get_all_records()
        }
        named = catalog(tmp_path / "ws", "SELECT artifact_id, artifact_path FROM artifacts")
        for name, path in named:
            at = Address.parse(path)
            if at.dataset == dataset:
                assert find_foreign(registry.store, name) == [at.artifact_id]
        ours = {path: content for path, content in rows if path.split("/")[1] == dataset}
        assert ours.items() <= records.items()
        assert fsck(registry.store, full=True).problems == ()
        registry.close()


def test_training_again_adds_no_artifact(tmp_path: Path) -> None:
    case = CASES[3]
    with integration.installed():
        train(case, tmp_path)
        registry = ArtifactRegistry(tmp_path, "dataset")
        first = registry.get_all_records()
        train(case, tmp_path)
    records = registry.get_all_records()
    assert len(records) == 2 * len(first) > 0
    assert {record.content_hash for record in records} == {one.content_hash for one in first}


def test_upstream_reads_none_of_the_manifests_that_the_store_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import yaml

    parsed: list[str] = []
    real = yaml.safe_load
    monkeypatch.setattr(yaml, "safe_load", lambda of: parsed.append(of.name) or real(of))
    theirs = tmp_path / "elsewhere" / "manifest.yaml"
    theirs.parent.mkdir()
    theirs.write_text("{path: artifacts/ab/kept.joblib}")
    with integration.installed():
        train(CASES[3], tmp_path)
        assert list(tmp_path.rglob("runs/**/manifest.yaml"))
    assert set(parsed) == {str(theirs)}


def test_a_failed_pipeline_leaves_what_its_rows_name_and_no_more(tmp_path: Path) -> None:
    case = Case("failure", failure)
    with integration.installed(), pytest.raises(RuntimeError, match="alpha"):
        train(case, tmp_path)
    registry = ArtifactRegistry(tmp_path, "dataset")
    rows = catalog(tmp_path, "SELECT artifact_path FROM artifacts")
    assert len(registry.get_all_records()) == len(rows) > 0
    (run,) = registry.store.refs("refs/runs/")
    assert registry.store.get_run(run.oid).status == "failed"
    with integration.installed():
        ((_, predicted),) = replays(tmp_path, glucose()[0])
    assert isinstance(predicted, np.ndarray)


def test_predictions_and_bundles_are_those_of_files(tmp_path: Path) -> None:
    X = glucose()[0]
    plain, kept = tmp_path / "plain", tmp_path / "kept"
    train(CASES[3], plain)
    with integration.installed():
        train(CASES[3], kept)
    for (_, theirs), (_, ours) in zip(chains(plain), chains(kept), strict=True):
        expected = predict(plain, X, chain_id=theirs, engine="legacy")
        with integration.installed():
            assert np.array_equal(predict(kept, X, chain_id=ours, engine="legacy"), expected)
            ours_bundle = export(kept, ours, tmp_path / f"{ours}.n4a")
            script = export(kept, ours, tmp_path / f"{ours}.n4a.py", "n4a.py")
        theirs_bundle = export(plain, theirs, tmp_path / f"{theirs}.n4a")
        assert script.stat().st_size > 1000
        # A bundle stands alone: a nirs4all without the store predicts from it.
        expected = predict(tmp_path, X, model=str(theirs_bundle), engine="legacy")
        found = predict(tmp_path, X, model=str(ours_bundle), engine="legacy")
        assert np.array_equal(found, expected)
    assert files(kept) == []


def test_a_bundle_is_imported_into_the_store(tmp_path: Path) -> None:
    from nirs4all.pipeline.bundle.loader import BundleLoader
    from nirs4all.pipeline.storage.artifacts import artifact_registry

    plain = tmp_path / "plain"
    train(CASES[3], plain)
    export(plain, chains(plain)[0][1], tmp_path / "model.n4a")
    with integration.installed():
        registry = artifact_registry.ArtifactRegistry(tmp_path / "kept", "corn")
        made = BundleLoader(tmp_path / "model.n4a").import_artifacts_to_registry(
            registry, new_pipeline_id="bought"
        )
        assert len(made) == 5
        loaded = [registry.load_artifact(record) for record in registry.get_all_records()]
        registry.close()
    assert files(tmp_path / "kept") == []
    records = ArtifactRegistry(tmp_path / "kept", "corn").get_all_records("bought")
    assert [record.class_name for record in records].count("PLSRegression") == 3
    assert sorted(type(obj).__name__ for obj in loaded) == sorted(
        record.class_name for record in records
    )


def test_a_damaged_store_stops_a_prediction(tmp_path: Path) -> None:
    with integration.installed():
        train(CASES[3], tmp_path)
        registry = ArtifactRegistry(tmp_path, "dataset")
        for pipeline in {record.pipeline_id for record in registry.get_all_records()}:
            registry.delete_pipeline_artifacts(pipeline)
        registry.close()
        found = dict(replays(tmp_path, glucose()[0]))
    for name, said in found.items():
        assert isinstance(said, str), name
        assert said.startswith(CorruptionError.__name__), name


def test_deleting_a_run_there_drops_its_pipelines_here_and_can_be_undone(tmp_path: Path) -> None:
    from nirs4all.pipeline.storage.workspace_store import WorkspaceStore

    with integration.installed():
        train(CASES[3], tmp_path)
        train(CASES[7], tmp_path)
        registry = ArtifactRegistry(tmp_path, "dataset")
        before = {record.pipeline_id for record in registry.get_all_records()}
        ((first,),) = catalog(tmp_path, "SELECT run_id FROM runs ORDER BY rowid LIMIT 1")
        with WorkspaceStore(tmp_path) as workspace:
            workspace.delete_run(first)
        after = {record.pipeline_id for record in registry.get_all_records()}
        ((left,),) = catalog(tmp_path, "SELECT pipeline_id FROM pipelines")
        assert after == {left} < before
        ((_, predicted),) = replays(tmp_path, glucose()[0])
    assert isinstance(predicted, np.ndarray)
    assert len(registry.find_orphaned_artifacts()) > 0


def test_retraining_reads_from_the_store_and_keeps_its_artifacts_there(tmp_path: Path) -> None:
    from nirs4all.pipeline import PipelineRunner

    scores_of: dict[str, list[Any]] = {}
    for way in ("plain", "kept"):
        where = tmp_path / way
        around = integration.installed() if way == "kept" else contextlib.nullcontext()
        with around, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            best = train(CASES[3], where).best
            runner = PipelineRunner(
                workspace_path=where, verbose=0, save_charts=False, log_file=False, random_state=0
            )
            runner.retrain(best, glucose(), mode="transfer", dataset_name="later")
        scores_of[way] = [score[1:] for score in scores(where)]
    assert scores_of["kept"] == scores_of["plain"]
    assert len(catalog(tmp_path / "kept", "SELECT 1 FROM runs")) == 2
    assert files(tmp_path / "kept") == []
    kept = Workspace(tmp_path / "kept")
    count = sum(len(ArtifactRegistry(kept, name).get_all_records()) for name in kept.datasets())
    ((rows,),) = catalog(tmp_path / "kept", "SELECT count(*) FROM artifacts")
    assert count == rows > 8


def test_a_worker_that_fails_leaves_nothing_visible(tmp_path: Path) -> None:
    def steps() -> list[Any]:
        from sklearn.cross_decomposition import PLSRegression
        from sklearn.model_selection import KFold
        from sklearn.preprocessing import StandardScaler

        # 400 components of 262 channels: upstream skips such a variant and goes on.
        return [
            StandardScaler(),
            KFold(3),
            {"model": {"_or_": [PLSRegression(2), PLSRegression(400)]}},
        ]

    case = Case("skipped", steps, options={"n_jobs": 2})
    plain, kept = folder(tmp_path, case)
    train(case, plain)
    with integration.installed():
        train(case, kept)
    assert scores(kept) == scores(plain)
    registry = ArtifactRegistry(kept, "dataset")
    rows = catalog(kept, "SELECT artifact_path FROM artifacts")
    assert {row[0] for row in rows} == {
        f"n4a_store/dataset/{record.pipeline_id}/{record.artifact_id.partition(':')[2]}"
        for record in registry.get_all_records()
    }
    (run,) = registry.store.refs("refs/runs/")
    assert registry.store.get_run(run.oid).status == "complete"

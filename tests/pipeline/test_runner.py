"""Runs: what is kept, what a second run adds, and what a failure leaves."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from chemotools.scatter import StandardNormalVariate
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cross_decomposition import PLSRegression
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import KFold
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from n4a_store.errors import InvalidInputError, NotFoundError
from n4a_store.objects.model import RunStatus
from n4a_store.objects.oid import Kind
from n4a_store.pipeline.predictor import Predictor
from n4a_store.pipeline.run_result import Outcome
from n4a_store.pipeline.runner import PipelineRunner
from tests.pipeline.training import DATASET, added_kinds, objects_of

FOLDS = KFold(3)


def sweep() -> list[Any]:
    forest = RandomForestRegressor(n_estimators=5, random_state=0)
    return [
        FOLDS,
        {"branch": {"snv": [StandardNormalVariate()], "raw": []}},
        {"y_processing": MinMaxScaler()},
        {
            "_or_": [
                {"_range_": [2, 4], "param": "n_components", "model": PLSRegression()},
                [{"model": PLSRegression(2)}, {"model": forest}, {"stack": Ridge()}],
            ]
        },
    ]


class Failing(TransformerMixin, BaseEstimator):
    def fit(self, X: Any, y: Any = None) -> Failing:
        return self

    def transform(self, X: Any) -> Any:
        raise RuntimeError("the lamp is out")


class Shrinking(Failing):
    def transform(self, X: Any) -> Any:
        return X[:-1]


def test_every_pipeline_of_a_sweep_is_kept(train: Any, workspace: Any, fermentation: Any) -> None:
    run = train(sweep(), fermentation, name="glucose")
    assert len(run.pipelines) == 4
    assert all(name[4:].startswith("_glucose_") for name in run.pipelines)
    with workspace.store(DATASET) as store:
        kept = store.get_run(store.ref(f"refs/runs/{run.id}").oid)
        assert kept.status is RunStatus.COMPLETE
        assert set(store.get_tree(kept.pipelines)) == set(run.pipelines)
        assert {ref.name for ref in store.refs("refs/pipelines/")} == {
            f"refs/pipelines/{name}" for name in run.pipelines
        }


def test_training_again_adds_no_blob_and_no_artifact(
    train: Any, workspace: Any, fermentation: Any
) -> None:
    first = train(sweep(), fermentation, X_test=fermentation.X[:3])
    before = objects_of(workspace)
    second = train(sweep(), fermentation, X_test=fermentation.X[:3])
    added = added_kinds(before, objects_of(workspace))
    assert added[Kind.BLOB] == 0
    with workspace.store(DATASET) as store:
        artifacts = {
            store.get_tree(store.ref(f"refs/pipelines/{name}").oid)["artifacts"].oid
            for name in second.pipelines
        }
        assert artifacts <= set(before)
    # A manifest a pipeline, and a tree of pipelines with its run each time one completes.
    assert added[Kind.TREE] <= 2 * len(second.pipelines)
    assert first.results == [
        type(row)(**{**row.to_dict(), "run_id": first.id}) for row in second.results
    ]


def test_results_are_rows_of_folds_branches_and_models(train: Any, fermentation: Any) -> None:
    run = train(sweep(), fermentation, X_test=fermentation.X[:3], y_test=fermentation.y[:3])
    held = run.results.select(partition="val")
    assert {row.fold_id for row in held} == {0, 1, 2}
    assert {row.branch_names for row in held} == {("snv",), ("raw",)}
    assert {row.model for row in held} == {"PLSRegression", "RandomForestRegressor", "Ridge"}
    tests = run.results.select(partition="test")
    assert {row.fold_id for row in tests} == {None}
    # 3 pipelines with one model and one with three, on two branches
    assert (len(held), len(tests)) == ((3 + 3) * 2 * 3, (3 + 3) * 2)
    assert run.best == min(run.ranking(), key=lambda score: score.score)


def test_the_users_estimators_are_never_touched(train: Any, fermentation: Any) -> None:
    scaler, model, seen = StandardScaler(), PLSRegression(2), RandomForestRegressor(3)
    before = [dict(vars(one)) for one in (scaler, model, seen)]
    train([FOLDS, scaler, {"model": model}, {"model": seen, "params": {"n_estimators": 2}}],
          fermentation)  # fmt: skip
    assert [dict(vars(one)) for one in (scaler, model, seen)] == before


def test_a_failing_pipeline_leaves_nothing_and_the_sweep_goes_on(
    train: Any, workspace: Any, fermentation: Any, caplog: pytest.LogCaptureFixture
) -> None:
    steps = [FOLDS, StandardScaler(), {"_or_": [None, Failing()]}, {"_or_": [
        {"model": PLSRegression(2)}, {"model": PLSRegression(3)}]}]  # fmt: skip
    with caplog.at_level(logging.WARNING):
        run = train(steps, fermentation, may_fail=True)
    assert [one.outcome for one in run.outcomes] == [Outcome.COMPLETE] * 2 + [Outcome.FAILED] * 2
    for name, why in run.failures.items():
        assert why == "step 2, fold 0: RuntimeError: the lamp is out"
        assert name in caplog.text
    alone = train(steps[:2] + steps[3:], fermentation)
    with workspace.store(DATASET) as store:
        assert {ref.name.rpartition("/")[2] for ref in store.refs("refs/pipelines/")} == set(
            run.pipelines
        ) | set(alone.pipelines)
        kept = store.get_run(store.ref(f"refs/runs/{run.id}").oid)
        assert set(store.get_tree(kept.pipelines)) == set(run.pipelines)
        assert kept.details["failures"] == run.failures


def test_a_run_that_fails_before_anything_is_stored_is_the_newest_all_the_same(
    train: Any, workspace: Any, fermentation: Any
) -> None:
    """It left no trace, and predict(None) went on with the run before it."""
    earlier = train([FOLDS, PLSRegression(2)], fermentation)
    failed = train([Failing(), FOLDS, PLSRegression(2)], fermentation, may_fail=True)
    with workspace.store(DATASET) as store:
        kept = store.get_run(store.ref(f"refs/runs/{failed.id}").oid)
        assert kept.details["failures"] == failed.failures
        assert kept.parents == (store.ref(f"refs/runs/{earlier.id}").oid,)
    with Predictor(workspace, DATASET) as predictor:
        assert len(predictor.predict(earlier, fermentation.X)) == len(fermentation.X)
        for ref in (None, failed):
            with pytest.raises(NotFoundError, match="has no complete pipeline"):
                predictor.predict(ref, fermentation.X)


def test_what_a_failed_pipeline_had_stored_before_is_no_object(
    train: Any, workspace: Any, fermentation: Any
) -> None:
    train([FOLDS, {"model": PLSRegression(2)}], fermentation)
    before = objects_of(workspace)
    run = train([FOLDS, StandardScaler(), Failing(), {"model": Ridge()}], fermentation,
                may_fail=True)  # fmt: skip
    assert run.pipelines == ()
    assert added_kinds(before, objects_of(workspace))[Kind.BLOB] == 0
    with pytest.raises(InvalidInputError, match=r"no pipeline of run .* the lamp is out"):
        _ = run.best


def test_a_transformer_that_loses_rows_is_named(train: Any, fermentation: Any) -> None:
    run = train([Shrinking(), {"model": Ridge()}], fermentation, may_fail=True)
    assert list(run.failures.values()) == ["step 0: Shrinking turned 21 rows into shape (20, 1047)"]


def test_an_interrupt_keeps_what_is_complete(workspace: Any, fermentation: Any) -> None:
    def interrupt(progress: Any) -> None:
        if progress.done == 2:
            raise KeyboardInterrupt

    runner = PipelineRunner(workspace, progress=interrupt)
    with pytest.raises(KeyboardInterrupt):
        runner.run(sweep(), *fermentation, dataset=DATASET)
    with workspace.store(DATASET) as store:
        (ref,) = store.refs("refs/runs/")
        run = store.get_run(ref.oid)
        assert run.status is RunStatus.FAILED
        assert len(store.get_tree(run.pipelines)) == 2


@pytest.mark.parametrize(
    ("X", "y", "more", "said"),
    [
        (np.ones(5), np.ones(5), {}, "X must have two dimensions"),
        (np.ones((5, 2)), np.ones(4), {}, "y must have one entry for each of the 5 rows"),
        (np.ones((0, 2)), np.ones(0), {}, "X is empty"),
        (np.array([["a", None]], dtype=object), np.ones(1), {}, "holds objects"),
        (np.ones((5, 2)), np.ones(5), {"X_test": np.ones((2, 3))}, "X_test has 3 features, X has"),
        (np.ones((5, 2)), np.ones(5), {"y_test": np.ones(2)}, "without X_test"),
        (np.ones((5, 2)), np.ones(5), {"groups": np.ones(2)}, "groups must have"),
    ],
)
def test_data_that_do_not_fit_create_nothing(
    workspace: Any, X: Any, y: Any, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidInputError, match=said):
        PipelineRunner(workspace).run([{"model": Ridge()}], X, y, DATASET, **more)
    assert not workspace.path.exists()


def test_a_mistake_in_the_definition_creates_nothing(workspace: Any) -> None:
    with pytest.raises(InvalidInputError, match="step 0"):
        PipelineRunner(workspace).run([{"modle": Ridge()}], np.ones((5, 2)), np.ones(5), DATASET)
    assert not workspace.path.exists()


def test_a_dataset_with_a_bad_name_creates_nothing(workspace: Any) -> None:
    with pytest.raises(InvalidInputError, match="dataset"):
        PipelineRunner(workspace).run([{"model": Ridge()}], np.ones((5, 2)), np.ones(5), "../x")
    assert not workspace.path.exists()


def test_branches_may_split_differently(train: Any, fermentation: Any) -> None:
    run = train([{"branch": [[KFold(2)], [KFold(4)]]}, {"model": LinearRegression()}], fermentation)
    assert len(run.results.select(branch_path=(0,))) == 2
    assert len(run.results.select(branch_path=(1,))) == 4


def test_a_pipeline_has_one_id_in_every_run_and_another_when_it_changes(
    train: Any, fermentation: Any
) -> None:
    first = train([FOLDS, {"model": Ridge(alpha=1.0)}], fermentation)
    again = train([FOLDS, {"model": Ridge(alpha=1.0)}], fermentation)
    changed = train([FOLDS, {"model": Ridge(alpha=2.0)}], fermentation)
    assert first.pipelines == again.pipelines
    assert first.pipelines != changed.pipelines
    assert first.id != again.id

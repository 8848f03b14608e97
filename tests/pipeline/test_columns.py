"""Columns with names, and numbers below a mask: none is taken for another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from n4a_store.artifacts.registry import ArtifactRegistry
from n4a_store.errors import InvalidInputError
from n4a_store.pipeline.predictor import Predictor
from n4a_store.pipeline.run_result import Outcome
from n4a_store.pipeline.runner import PipelineRunner
from n4a_store.pipeline.transfer import transfer_model
from tests.pipeline.light import Mean
from tests.pipeline.training import DATASET

X = np.arange(40.0).reshape(10, 4) % 7
Y = np.arange(10.0)


class Frame:
    """Rows with names of columns, as those of polars and pandas."""

    def __init__(self, rows: np.ndarray, columns: Any) -> None:
        self.rows = rows
        self.columns = columns

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.array(self.rows, dtype, copy=copy)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("scaled", [False, True])
def test_columns_in_another_order_than_a_model_was_fitted_on(workspace: Any, scaled: bool) -> None:
    """scikit-learn refuses them, and saw an array without names."""
    scaler, model = StandardScaler().fit(X), Ridge().fit(X, Y)
    (scaler if scaled else model).feature_names_in_ = np.array(list("abcd"), dtype=object)
    with ArtifactRegistry(workspace, DATASET) as registry, registry.run():
        registry.register(scaler, "p:0:all", "transformer")
        registry.register(model, "p:1:all", "model", depends_on=["p:0:all"] if scaled else [])
    with Predictor(workspace, DATASET) as predictor:
        expected = predictor.predict("p", X)
        for columns in (["a", "b", "c", "d"], None, [1, 2, 3, 4], 3):
            assert np.array_equal(predictor.predict("p", Frame(X, columns)), expected)
        with pytest.raises(InvalidInputError, match="column 2 is 'd', not 'c'") as caught:
            predictor.predict("p", Frame(X, ["a", "b", "d", "c"]))
        assert ("StandardScaler" if scaled else "Ridge") in str(caught.value)


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("scaled", [False, True])
def test_a_training_remembers_the_names_of_its_columns(
    workspace: Any, scaled: bool, jobs: int
) -> None:
    """Estimators are fitted on arrays, and a shuffled frame predicted like any other."""
    names = ["1100", "1102", "1104", "1106"]
    steps = [
        *([StandardScaler()] if scaled else []),
        KFold(2),
        Ridge(),
        {"_or_": [LinearRegression(), None]},
    ]
    run = PipelineRunner(workspace, n_jobs=jobs).run(steps, Frame(X, names), Y, DATASET)
    assert not run.failures
    model = next(m for m in run.ranking() if m.model == "Ridge")
    key = f"{model.pipeline_id}:{model.step_index}:0"
    with Predictor(workspace, DATASET) as predictor:
        expected = predictor.predict(model, Frame(X, names))
        assert np.array_equal(predictor.predict(model, X), expected)
        for shuffled, said in (
            (names[::-1], "4 from '1100' to '1106', and was given 4 from '1106' to '1100'"),
            (["1100", "1104", "1102", "1106"], "names between are others, or in another order"),
        ):
            for ref in (model, key):
                with pytest.raises(InvalidInputError, match=said) as caught:
                    predictor.predict(ref, Frame(X[:, ::-1], shuffled))
            assert ("StandardScaler" if scaled else "Ridge") in str(caught.value)
    for columns, trained_again in ((names, 0), (names[::-1], len(run.pipelines))):
        runner = PipelineRunner(workspace, n_jobs=jobs, reuse_fits=False)
        again = runner.run(steps, Frame(X, columns), Y, DATASET, resume=True)
        done = [one for one in again.outcomes if one.outcome is Outcome.COMPLETE]
        assert len(done) == trained_again
    with Predictor(workspace, DATASET) as predictor:
        assert np.array_equal(
            predictor.predict(again, Frame(X, names[::-1]), model="Ridge"), expected
        )
    taken = transfer_model(workspace, DATASET, model.pipeline_id, "elsewhere")
    with (
        Predictor(workspace, "elsewhere") as predictor,
        pytest.raises(InvalidInputError, match="was fitted on other columns"),
    ):
        predictor.predict(taken, Frame(X, names))


def test_what_a_record_says_of_columns_otherwise_is_its_own_business(workspace: Any) -> None:
    for at, odd in enumerate(({}, [], "a", {"digest": 1}, None)):
        with ArtifactRegistry(workspace, DATASET) as registry, registry.run():
            meta = {"trained_columns": odd, "mine": 1}
            registry.register(Ridge().fit(X, Y), f"p{at}:1:all", "model", meta_config=meta)
        with Predictor(workspace, DATASET) as predictor:
            assert len(predictor.predict(f"p{at}", Frame(X, list("abcd")))) == len(X)


def test_test_rows_have_the_columns_of_the_training_rows(workspace: Any) -> None:
    runner = PipelineRunner(workspace)
    rows = Frame(X, list("abcd"))
    with pytest.raises(InvalidInputError, match="X_test has other columns than X: column 0 is"):
        runner.run([Mean()], rows, Y, DATASET, X_test=Frame(X, list("bacd")))
    assert not workspace.path.exists()
    rows._mask = X > 0  # type: ignore[attr-defined]  # a frame may have a column called so
    for test in (rows, X):
        assert not runner.run([Mean()], rows, Y, DATASET, X_test=test).failures


def test_dates_are_not_taken_for_numbers(workspace: Any) -> None:
    """As targets they were the nanoseconds since 1970."""
    runner = PipelineRunner(workspace)
    for dates in (Y.astype("datetime64[D]"), Y.astype("timedelta64[s]")):
        with pytest.raises(InvalidInputError, match=r"y holds (datetime|timedelta)64"):
            runner.run([Mean()], X, dates, DATASET)
        with pytest.raises(InvalidInputError, match="y_test holds"):
            runner.run([Mean()], X, Y, DATASET, X_test=X, y_test=dates)


def test_masked_numbers_are_not_taken_for_measured_ones(workspace: Any) -> None:
    """What lies below a mask was trained on, and predicted from."""
    runner = PipelineRunner(workspace)
    masked, targets = np.ma.masked_greater(X, 5), np.ma.masked_greater(Y, 5)
    for data in ({"X": masked, "y": Y}, {"X": X, "y": targets}, {"X": X, "y": Y, "X_test": masked}):
        with pytest.raises(InvalidInputError, match="has masked values") as caught:
            runner.run([Mean()], dataset=DATASET, **data)
        assert "filled(np.nan)" in str(caught.value.hint)
    runner.run([Mean()], np.ma.masked_array(X), Y, DATASET)  # nothing in it is masked
    with (
        Predictor(workspace, DATASET) as predictor,
        pytest.raises(InvalidInputError, match="X has masked values"),
    ):
        predictor.predict(None, masked)

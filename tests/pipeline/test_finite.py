"""NaN and infinity when predicting: the first is named, unless the estimators take it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse  # type: ignore[import-untyped]
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

from n4a_store.errors import InvalidInputError
from n4a_store.pipeline.finite import first_bad_number
from n4a_store.pipeline.predictor import Predictor
from n4a_store.pipeline.runner import PipelineRunner
from tests.pipeline.light import Halves, Mean, Same
from tests.pipeline.training import DATASET

X = np.random.default_rng(0).uniform(1, 2, size=(12, 4))
Y = X.sum(axis=1)
R = {"model": Ridge()}


class Imputes(Same):
    """Takes NaN, and does not tell beforehand."""

    def transform(self, X: Any) -> Any:
        return np.nan_to_num(X, nan=0.0, posinf=0.0, neginf=0.0)


class Lost(Mean):
    """Says nothing about large numbers."""

    def predict(self, X: Any) -> Any:
        return np.where(X.max(axis=1) > 5, np.nan, super().predict(X))


class Asks(Same):
    """Refuses for another reason."""

    def __init__(self, most: float) -> None:
        self.most = most

    def transform(self, X: Any) -> Any:
        if X[0, 0] > self.most:
            raise ValueError("too much")
        return X


def spoilt(value: float, *places: tuple[int, int]) -> np.ndarray:
    rows = X.copy()
    for place in places:
        rows[place] = value
    return rows


def predict(workspace: Any, steps: list[Any], rows: Any) -> np.ndarray:
    assert not PipelineRunner(workspace).run(steps, X, Y, DATASET).failures
    with Predictor(workspace, DATASET) as predictor:
        return predictor.predict(None, rows)


@pytest.mark.parametrize(
    "steps",
    [[R], [Halves(), R], [StandardScaler(), R], [FunctionTransformer(np.log1p), R],
     [MinMaxScaler(), {"y_processing": MinMaxScaler()}, R],
     [Halves(), Same(), R, {"stack": Ridge()}]],
)  # fmt: skip
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_first_bad_number_is_named(workspace: Any, steps: list[Any], bad: float) -> None:
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(
            InvalidInputError, match=f"^X holds {bad} in row 3, column 2, which "
        ) as told,
    ):
        predict(workspace, steps, spoilt(bad, (3, 2), (3, 3), (5, 0)))
    assert "does not take" in str(told.value)
    assert "SimpleImputer()" in str(told.value.hint)
    assert isinstance(told.value.__cause__, ValueError)


def test_the_estimator_that_refuses_is_named(workspace: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"_Ridge_\w+:1:all \(Ridge\) does not take"):
        predict(workspace, [StandardScaler(), R], spoilt(np.nan, (0, 0)))
    with pytest.raises(InvalidInputError, match=r":0:all \(StandardScaler\) does not take"):
        predict(workspace, [StandardScaler(), R], spoilt(np.inf, (0, 0)))


@pytest.mark.parametrize(
    "steps",
    [[SimpleImputer(), R], [Imputes(), R], [{"model": HistGradientBoostingRegressor(max_iter=3)}],
     [StandardScaler(), SimpleImputer(), R], [{"model": make_pipeline(SimpleImputer(), Ridge())}]],
)  # fmt: skip
def test_who_takes_nan_gets_it(workspace: Any, steps: list[Any]) -> None:
    said = predict(workspace, steps, spoilt(np.nan, (3, 2)))
    assert np.isfinite(said).all()


def test_what_a_step_makes_of_good_numbers_is_not_blamed_on_x(workspace: Any) -> None:
    rows = X.copy()
    rows[4, 1] = 0.0
    with np.errstate(divide="ignore"), pytest.raises(InvalidInputError) as told:
        predict(workspace, [FunctionTransformer(np.log), R], rows)
    assert str(told.value).startswith("what 0001_Ridge_")
    assert "is given holds -inf in row 4, column 1, which" in str(told.value)


def test_what_a_source_says_is_not_blamed_on_x(workspace: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"is given holds nan in row 3, column 0, which"):
        predict(workspace, [Halves(), {"model": Lost()}, {"stack": Ridge()}], spoilt(9.0, (3, 1)))


def test_other_refusals_are_the_estimators_own(workspace: Any) -> None:
    with pytest.raises(ValueError, match=r"^too much$"):
        predict(workspace, [Asks(9.0), R], X + 10)


def test_the_first_is_the_first_row_by_row() -> None:
    assert first_bad_number(X) is None
    assert first_bad_number(np.ones((2, 2), dtype=int)) is None
    assert first_bad_number(np.array([1.0, np.nan])) is None
    assert first_bad_number(spoilt(np.inf, (2, 3), (7, 0))) == (2, 3, np.inf)
    table = sparse.csr_array(spoilt(np.inf, (2, 3), (2, 1), (7, 0)))
    assert first_bad_number(table) == (2, 1, np.inf)
    assert first_bad_number(sparse.csc_array(table)) == (2, 1, np.inf)
    assert first_bad_number(sparse.csr_array(X)) is None

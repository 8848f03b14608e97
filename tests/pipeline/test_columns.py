"""Columns with names, and numbers below a mask: none is taken for another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from n4a_store.artifacts.registry import ArtifactRegistry
from n4a_store.errors import InvalidInputError
from n4a_store.pipeline.predictor import Predictor
from n4a_store.pipeline.runner import PipelineRunner
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


def test_test_rows_have_the_columns_of_the_training_rows(workspace: Any) -> None:
    runner = PipelineRunner(workspace)
    rows = Frame(X, list("abcd"))
    with pytest.raises(InvalidInputError, match="X_test has other columns than X: column 0 is"):
        runner.run([Mean()], rows, Y, DATASET, X_test=Frame(X, list("bacd")))
    assert not workspace.path.exists()
    rows._mask = X > 0  # type: ignore[attr-defined]  # a frame may have a column called so
    for test in (rows, X):
        assert not runner.run([Mean()], rows, Y, DATASET, X_test=test).failures


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

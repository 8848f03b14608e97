"""Scores: scikit-learn's numbers, with numpy alone."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, r2_score, root_mean_squared_error

from n4a_store.pipeline.scoring import accuracy, r2, rmse

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(9,), (9, 1), (9, 3)])
def test_numbers_are_scikit_learns(shape: tuple[int, ...]) -> None:
    y, predicted = RNG.normal(size=shape), RNG.normal(size=shape)
    assert rmse(y, predicted) == pytest.approx(root_mean_squared_error(y, predicted), rel=1e-15)
    assert r2(y, predicted) == pytest.approx(r2_score(y, predicted), rel=1e-15)


def test_a_column_of_predictions_is_not_broadcast_over_a_vector_of_targets() -> None:
    y = RNG.normal(size=7)
    assert rmse(y, y.reshape(-1, 1)) == 0.0
    assert r2(y, y.reshape(-1, 1)) == 1.0


def test_constant_targets() -> None:
    y = np.ones(4)
    assert r2(y, y) == r2_score(y, y) == 1.0
    assert r2(y, y + 1) == r2_score(y, y + 1) == 0.0


def test_r2_of_a_single_row_means_nothing() -> None:
    assert r2(np.ones(1), np.zeros(1)) is None


def test_accuracy_counts_rows() -> None:
    y, predicted = np.array(["a", "b", "a"]), np.array(["a", "a", "a"])
    assert accuracy(y, predicted) == accuracy_score(y, predicted)
    assert accuracy(np.array([[1, 0], [1, 1]]), np.array([[1, 0], [0, 1]])) == 0.5

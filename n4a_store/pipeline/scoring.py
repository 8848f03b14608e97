"""The scores of the runner: RMSE, R2 and accuracy, with numpy alone.

The formulas are scikit-learn's (``root_mean_squared_error``, ``r2_score`` and
``accuracy_score`` with their defaults: several outputs are averaged uniformly).
"""

from __future__ import annotations

import numpy as np

__all__ = ["accuracy", "r2", "rmse"]


def _columns(y: np.ndarray) -> np.ndarray:
    return np.asarray(y, dtype=np.float64).reshape(len(y), -1)


def rmse(y: np.ndarray, predicted: np.ndarray) -> float:
    """The root of the mean squared error, averaged over outputs."""
    errors = (_columns(y) - _columns(predicted)) ** 2
    return float(np.mean(np.sqrt(np.mean(errors, axis=0))))


def r2(y: np.ndarray, predicted: np.ndarray) -> float | None:
    """The coefficient of determination; None for fewer than two rows, where it means nothing.

    Constant targets give 1.0 when they are hit exactly, else 0.0.
    """
    if len(y) < 2:
        return None
    true, guess = _columns(y), _columns(predicted)
    residual = np.sum((true - guess) ** 2, axis=0)
    total = np.sum((true - np.mean(true, axis=0)) ** 2, axis=0)
    constant = total == 0
    scores = 1 - residual / np.where(constant, 1.0, total)
    scores = np.where(constant, np.where(residual == 0, 1.0, 0.0), scores)
    return float(np.mean(scores))


def accuracy(y: np.ndarray, predicted: np.ndarray) -> float:
    """The share of rows whose label, or whole row of labels, is right."""
    same = np.asarray(y) == np.asarray(predicted).reshape(np.shape(y))
    return float(np.mean(same if same.ndim == 1 else np.all(same, axis=1)))

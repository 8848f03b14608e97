"""Estimators that need no library, so that a process that has them starts quickly."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np


class Params:
    """Tells its parameters, as scikit-learn's estimators do."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return dict(vars(self))

    def set_params(self, **params: Any) -> Params:
        vars(self).update(params)
        return self


class Mean(Params):
    """Says the mean of the targets, plus something."""

    def __init__(self, plus: float = 0.0) -> None:
        self.plus = plus

    def fit(self, X: Any, y: Any) -> Mean:
        self.mean_ = np.mean(y) + self.plus
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.mean_)


class Same(Params):
    """Transforms nothing."""

    def fit(self, X: Any, y: Any = None) -> Same:
        return self

    def transform(self, X: Any) -> Any:
        return X


class Picky(Same):
    """Fails unless it is told not to."""

    def __init__(self, ok: bool = True) -> None:
        self.ok = ok

    def fit(self, X: Any, y: Any = None) -> Picky:
        if not self.ok:
            raise ValueError("not today")
        return self


class Deadly(Same):
    """Kills its process, unless that is ``spared`` or the file ``once`` is there."""

    def __init__(self, spared: int = 0, once: str = "") -> None:
        self.spared = spared
        self.once = once

    def fit(self, X: Any, y: Any = None) -> Deadly:
        if self.once and Path(self.once).exists():
            return self
        if self.once:
            Path(self.once).touch()
        if os.getpid() != self.spared:
            os.kill(os.getpid(), signal.SIGKILL)
        return self


class Halves:
    """A splitter into two folds."""

    def split(self, X: Any, y: Any = None) -> Any:
        rows = np.arange(len(X))
        yield rows[::2], rows[1::2]
        yield rows[1::2], rows[::2]


class FailsIn(Mean):
    """Fails on the training rows of one fold."""

    def __init__(self, first_row: float = 0.0) -> None:
        self.first_row = first_row

    def fit(self, X: Any, y: Any) -> FailsIn:
        if X[0, 0] == self.first_row:
            raise ValueError("bad luck")
        self.mean_ = np.mean(y)
        return self


class Wrong(Mean):
    """Predicts whatever it is told to."""

    def __init__(self, said: Any = None) -> None:
        self.said = said

    def fit(self, X: Any, y: Any) -> Wrong:
        return self

    def predict(self, X: Any) -> Any:
        return self.said


class Open(Mean):
    """Holds what no pickle can."""

    def fit(self, X: Any, y: Any) -> Open:
        self.mean_ = 0.0
        self.file_ = (row for row in X)
        return self


class InPlace(Same):
    """Writes into the rows it is given."""

    def transform(self, X: Any) -> Any:
        X -= 1
        return X


class Scaled(Same):
    """Adds a number to all rows."""

    def __init__(self, plus: float = 0.0) -> None:
        self.plus = plus

    def transform(self, X: Any) -> Any:
        return X + self.plus

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

"""What the demonstration trains: several preprocessings, PLS and a forest, folds and branches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from n4a_store.demo.spectra import load_coffee, load_fermentation
from n4a_store.errors import InvalidInputError

__all__ = ["SWEEPS", "Sweep"]

_EVERY = 10


@dataclass(frozen=True, slots=True)
class Sweep:
    """One dataset and the pipelines to train on it.

    Args:
        title: What it is about, for people.
        make: Gives the pipeline with its generators, X, y, and rows to predict.
    """

    dataset: str
    title: str
    make: Callable[[], tuple[list[Any], np.ndarray, np.ndarray, np.ndarray]]


def _preprocessings() -> dict[str, list[Any]]:
    from chemotools.derivative import SavitzkyGolay
    from chemotools.scatter import StandardNormalVariate
    from sklearn.preprocessing import StandardScaler

    # By position: chemotools has renamed window, order and derivative between its versions.
    derivative = (15, 2, 1)
    return {
        "centred": [StandardScaler(with_std=False)],
        "snv": [StandardNormalVariate(), StandardScaler(with_std=False)],
        "derivative": [SavitzkyGolay(*derivative), StandardScaler()],
        "snv-derivative": [StandardNormalVariate(), SavitzkyGolay(*derivative), StandardScaler()],
    }


def _fermentation() -> tuple[list[Any], np.ndarray, np.ndarray, np.ndarray]:
    from sklearn.cross_decomposition import PLSRegression
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import KFold
    from sklearn.preprocessing import StandardScaler

    data = load_fermentation()
    forest = RandomForestRegressor(n_estimators=50, random_state=0)
    pipeline = [
        KFold(n_splits=3, shuffle=True, random_state=0),
        {"branch": _preprocessings()},
        {"y_processing": StandardScaler()},
        {
            "_or_": [
                {"_range_": [2, 8, 1], "param": "n_components", "model": PLSRegression()},
                {"model": forest, "name": "forest"},
            ]
        },
    ]
    return pipeline, data.X, data.glucose, data.X_test[::_EVERY]


def _coffee() -> tuple[list[Any], np.ndarray, np.ndarray, np.ndarray]:
    from sklearn.cross_decomposition import PLSRegression
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.preprocessing import LabelEncoder

    data = load_coffee()
    forest = RandomForestClassifier(n_estimators=50, random_state=0)
    pipeline = [
        StratifiedKFold(n_splits=3, shuffle=True, random_state=0),
        {"y_processing": LabelEncoder()},
        {"branch": _preprocessings()},
        {
            "_or_": [
                [
                    {"transform": PLSRegression(n_components=4), "name": "pls scores"},
                    {"model": LogisticRegression(max_iter=1000), "name": "pls-da"},
                ],
                {"model": forest, "name": "forest"},
            ]
        },
    ]
    return pipeline, data.X, data.country, data.X


def _checked(
    make: Callable[[], tuple[list[Any], np.ndarray, np.ndarray, np.ndarray]],
) -> Callable[[], tuple[list[Any], np.ndarray, np.ndarray, np.ndarray]]:
    def checked() -> tuple[list[Any], np.ndarray, np.ndarray, np.ndarray]:
        try:
            return make()
        except ModuleNotFoundError as error:
            raise InvalidInputError(
                f"the demo needs {error.name}, which is not installed",
                hint="pip install 'n4a_store[demo]'",
            ) from error

    return checked


SWEEPS = (
    Sweep("fermentation", "glucose in a fermentation, near infrared", _checked(_fermentation)),
    Sweep("coffee", "where coffee comes from, mid infrared", _checked(_coffee)),
)

"""Duck types: what the runner takes an object for, with and without scikit-learn."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from sklearn.base import TransformerMixin
from sklearn.cluster import KMeans
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import StackingClassifier, StackingRegressor
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, StandardScaler

from n4a_store.errors import InvalidInputError
from n4a_store.pipeline.estimators import (
    clone_estimator,
    instantiate,
    is_model,
    is_splitter,
    is_transformer,
    params_of,
    set_params,
    takes_labels_only,
    takes_targets,
)


class Plain:
    """Neither of scikit-learn nor like it."""

    _estimator_type = "regressor"

    def __init__(self) -> None:
        self.seen: list[int] = []

    def fit(self, X: Any) -> None:
        self.seen.append(len(X))

    def predict(self, X: Any) -> Any:
        return X

    def transform(self, X: Any) -> Any:
        return X


class OnlyMixed(TransformerMixin):  # type: ignore[misc]
    """Its tags cannot be asked for: scikit-learn's base class is what ends their chain."""

    def fit(self, X: Any, y: Any = None) -> Any:
        return self

    def transform(self, X: Any) -> Any:
        return X


# Neither shows a predict before it is fitted: it would be that of what fit makes of None.
STACK = StackingRegressor([("ridge", Ridge())])
VOTES = StackingClassifier([("logistic", LogisticRegression())])


@pytest.mark.parametrize(
    ("obj", "model", "transformer", "splitter"),
    [
        (Ridge(), True, False, False),
        (StandardScaler(), False, True, False),
        (KFold(), False, False, True),
        (PLSRegression(), True, True, False),
        (LinearDiscriminantAnalysis(), True, True, False),
        (KMeans(), False, True, False),
        (PCA(), False, True, False),
        (make_pipeline(StandardScaler(), Ridge()), True, False, False),
        (Plain(), True, True, False),
        (STACK, True, True, False),
        (VOTES, True, True, False),
        (make_pipeline(StandardScaler(), STACK), True, True, False),
        (GridSearchCV(STACK, {"passthrough": [False, True]}), True, True, False),
        (RFE(Ridge()), False, True, False),
        (SelectFromModel(Ridge()), False, True, False),
        (OnlyMixed(), False, True, False),
        ("a b", False, False, False),
        (b"a b", False, False, False),
        (None, False, False, False),
    ],
)
def test_what_an_object_is(obj: Any, model: bool, transformer: bool, splitter: bool) -> None:
    assert (is_model(obj), is_transformer(obj), is_splitter(obj)) == (model, transformer, splitter)


def test_a_copy_is_unfitted_or_at_least_apart() -> None:
    fitted = Ridge(alpha=2).fit([[0.0], [1.0]], [0, 1])
    copy = clone_estimator(fitted)
    assert copy.alpha == 2
    assert not hasattr(copy, "coef_")
    plain = Plain()
    other = clone_estimator(plain)
    other.fit([1])
    assert (plain.seen, other.seen) == ([], [1])


def test_parameters_of_what_has_none() -> None:
    assert params_of(Plain()) is None
    assert params_of(Ridge())["alpha"] == 1.0  # type: ignore[index]
    with pytest.raises(InvalidInputError, match="Plain has no set_params"):
        set_params(Plain(), {"k": 1}, "step 1")


def test_signatures_tell_what_fit_wants() -> None:
    assert takes_labels_only(LabelEncoder())
    assert not takes_labels_only(StandardScaler())
    assert not takes_labels_only(object())
    assert takes_targets(StandardScaler(), "fit")
    assert not takes_targets(Plain(), "fit")


def test_a_class_that_needs_arguments_is_no_step() -> None:
    assert isinstance(instantiate(Ridge), Ridge)
    with pytest.raises(InvalidInputError, match="KMeansLike cannot be made"):
        instantiate(type("KMeansLike", (), {"__init__": lambda self, k: None}))


WITHOUT = """
import sys
import numpy as np

class Scale:
    def fit(self, X):
        self.mean = X.mean(axis=0)
        return self
    def transform(self, X):
        return X - self.mean

class Halves:
    def split(self, X, y=None):
        rows = np.arange(len(X))
        yield rows[::2], rows[1::2]
        yield rows[1::2], rows[::2]

class Least:
    def fit(self, X, y):
        self.weights = np.linalg.lstsq(X, y, rcond=None)[0]
    def predict(self, X):
        return X @ self.weights

from n4a_store import PipelineRunner, Predictor
rng = np.random.default_rng(0)
X, y = rng.normal(size=(20, 3)), rng.normal(size=20)
run = PipelineRunner(sys.argv[1]).run(
    [Halves(), Scale(), {"model": Least()}, {"stack": Least()}], X, y, "plain"
)
assert not run.failures, run.failures
assert Predictor(sys.argv[1], "plain").predict(None, X).shape == (20,)
assert "sklearn" not in sys.modules
"""


def test_training_and_predicting_need_no_scikit_learn(tmp_path: Any) -> None:
    # Classes of __main__: they are stored by value, and nothing of them is taken for granted.
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(tmp_path / "w")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr

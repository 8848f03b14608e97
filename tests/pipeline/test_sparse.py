"""Sparse rows: shared by branches, pipelines and processes, and nobody can change them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import sparse  # type: ignore[import-untyped]
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder
from sklearn.svm import SVR

from n4a_store.pipeline.data import frozen, received
from n4a_store.pipeline.fit_cache import FitCache
from n4a_store.pipeline.predictor import Predictor
from n4a_store.pipeline.runner import PipelineRunner
from tests.pipeline.light import Halves, Same
from tests.pipeline.training import DATASET

PARTS = ("data", "indices", "indptr")
Y = np.arange(12.0)


def table() -> Any:
    rng = np.random.default_rng(1)
    return sparse.random_array((12, 6), density=0.5, rng=rng, format="csr")


def same(left: Any, right: Any) -> bool:
    return all(np.array_equal(getattr(left, part), getattr(right, part)) for part in PARTS)


class Does(Same):
    """Does something to the rows it is given, when it is fitted or when it transforms."""

    def __init__(self, what: str, when: str) -> None:
        self.what = what
        self.when = when

    def fit(self, X: Any, y: Any = None) -> Does:
        if self.when == "fit":
            DEEDS[self.what](X)
        return self

    def transform(self, X: Any) -> Any:
        if self.when == "transform":
            DEEDS[self.what](X)
        return X


class DoesAsModel(Does):
    def predict(self, X: Any) -> Any:
        if self.when == "predict":
            DEEDS[self.what](X)
        return np.zeros(X.shape[0])


def _data(X: Any) -> None:
    X.data -= 1


def _indices(X: Any) -> None:
    X.indices[:] = 0


def _indptr(X: Any) -> None:
    X.indptr[1:] = X.indptr[-1]


def _scale(X: Any) -> None:
    X *= 3


def _other_arrays(X: Any) -> None:
    X.data = np.zeros_like(X.data)


def _more_entries(X: Any) -> None:
    X[0, :] = 7.0


DEEDS: dict[str, Callable[[Any], None]] = {
    "data": _data, "indices": _indices, "indptr": _indptr, "scale": _scale,
    "other arrays": _other_arrays, "more entries": _more_entries,
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Changing the sparsity structure")
@pytest.mark.parametrize("what", ["data", "indices", "indptr", "scale", "more entries"])
@pytest.mark.parametrize("when", ["fit", "transform", "predict"])
def test_writing_into_sparse_rows_is_refused_as_into_dense_ones(
    workspace: Any, what: str, when: str
) -> None:
    X = table()
    before = X.copy()
    bad = {"model": DoesAsModel(what, when)} if when == "predict" else Does(what, when)
    run = PipelineRunner(workspace).run([Halves2(), bad, Ridge()], X, Y, DATASET)
    (why,) = run.failures.values()
    assert why.startswith("step 1, fold 0: ValueError: ")
    assert "read-only" in why
    assert why.endswith("(a step must not write into the rows it is given)")
    assert same(X, before)
    assert X.data.flags.writeable


class Halves2(Halves):
    def split(self, X: Any, y: Any = None) -> Any:
        return super().split(range(X.shape[0]))


@pytest.mark.parametrize("when", ["fit", "transform", "predict", "split"])
def test_what_a_step_makes_of_its_own_table_stays_its_own(workspace: Any, when: str) -> None:
    what = "other arrays"
    X, before = table(), table()
    own: Any = Does(what, when)
    if when == "predict":
        own = {"model": DoesAsModel(what, when), "name": "odd"}
    if when == "split":
        own = None
    split = SplitsAnd(what) if when == "split" else Halves2()
    runner = PipelineRunner(workspace)
    steps = [split, {"branch": {"odd": [own], "even": []}}, {"model": Ridge(), "name": "ridge"}]
    run = runner.run(steps, X, Y, DATASET)
    alone = runner.run([Halves2(), {"model": Ridge(), "name": "ridge"}], X, Y, DATASET)
    assert not run.failures
    assert same(X, before)
    expected = [row.rmse for row in alone.results]
    paths = [(1,)] if when == "transform" else [(0,), (1,)]
    for path in paths:
        found = [row.rmse for row in run.results.select(branch_path=path) if row.model == "ridge"]
        if not (when == "fit" and path == (0,)):
            assert found == expected


class SplitsAnd(Halves2):
    """A splitter that does something to the rows it is shown."""

    def __init__(self, what: str) -> None:
        self.what = what

    def split(self, X: Any, y: Any = None) -> Any:
        DEEDS[self.what](X)
        return super().split(X)


def test_sparse_rows_give_what_scikit_learn_gives(workspace: Any) -> None:
    # SVR puts other arrays into the table that it is handed, and sorts them in place.
    X = table()
    folds = KFold(3)
    models = {"svr": SVR(), "ridge": Ridge()}
    steps = [folds, MaxAbsScaler(), {"branch": {name: [one] for name, one in models.items()}}]
    run = PipelineRunner(workspace).run(steps, X, Y, DATASET)
    assert not run.failures
    with Predictor(workspace, DATASET) as predictor:
        for name, model in models.items():
            by_hand = cross_val_predict(make_pipeline(MaxAbsScaler(), clone(model)), X, Y, cv=folds)
            assert np.array_equal(predictor.stored(run.id, branch=[name]), by_hand)


def test_nor_does_a_model_change_what_the_next_predicts_on(workspace: Any) -> None:
    X = table()
    odd = {"model": DoesAsModel("other arrays", "predict"), "name": "odd"}
    steps = [Halves2(), odd, {"model": Ridge(), "name": "ridge"}, {"stack": Ridge()}]
    run = PipelineRunner(workspace).run(steps, X, Y, DATASET, X_test=X)
    with Predictor(workspace, DATASET) as predictor:
        said = predictor.predict(run.id, X)
        assert np.array_equal(said, predictor.stored(run.id, partition="test"))
    assert same(X, table())


def test_columns_out_of_order_are_sorted_in_a_copy() -> None:
    X = table()
    X.indices[:2], X.data[:2] = X.indices[:2][::-1].copy(), X.data[:2][::-1].copy()
    X.has_sorted_indices = False
    before = X.copy()
    shared = frozen(X)
    assert shared.has_sorted_indices
    assert (shared != X).nnz == 0
    assert same(X, before)


def test_a_sparse_table_is_shared_and_not_copied_and_frozen_where_it_is_received() -> None:
    X = table()
    shared = frozen(X)
    for part in PARTS:
        assert np.shares_memory(getattr(X, part), getattr(shared, part))
        assert not getattr(received(X), part).flags.writeable


def test_the_memory_of_fits_counts_sparse_rows() -> None:
    rows = np.arange(200.0).reshape(-1, 2)
    encoder = OneHotEncoder()
    fits = FitCache(max_bytes=1_000)
    fits.fit_transform(encoder, rows, Y, "a")
    fits.fit_transform(encoder, rows, Y, "b")
    assert (fits.report.fitted, fits.report.reused) == (2, 0)
    roomy = FitCache()
    roomy.fit_transform(encoder, rows, Y, "a")
    roomy.fit_transform(encoder, rows, Y, "b")
    assert (roomy.report.fitted, roomy.report.reused) == (1, 1)

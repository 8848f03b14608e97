"""Fits that are not made again: only when nothing about them is in doubt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chemotools.scatter import StandardNormalVariate
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import Lasso, Ridge
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from n4a_store.artifacts.bundle import export_bundle, import_bundle
from n4a_store.artifacts.subject import identify
from n4a_store.artifacts.workspace import Workspace
from n4a_store.errors import CorruptionError
from n4a_store.objects.oid import Kind
from n4a_store.pipeline.fit_cache import FitCache, FitReport, fit_key
from n4a_store.pipeline.runner import PipelineRunner
from tests.pipeline.training import DATASET, added_kinds, objects_of

X = np.random.default_rng(0).normal(size=(9, 4))
Y = X[:, 0].copy()
STEPS = [KFold(3), StandardNormalVariate(), StandardScaler(), {"model": PLSRegression(2)}]


class Homemade(TransformerMixin, BaseEstimator):
    def fit(self, X: Any, y: Any = None) -> Homemade:
        return self

    def transform(self, X: Any) -> Any:
        return X


class WithoutParams:
    def fit(self, X: Any, y: Any = None) -> WithoutParams:
        return self

    def transform(self, X: Any) -> Any:
        return X


@pytest.mark.parametrize(
    "doubtful",
    [
        PCA(2),  # random_state is open
        PCA(2, random_state=np.random.RandomState(0)),
        make_pipeline(StandardScaler(), PCA(2)),
        SelectFromModel(Lasso()),  # random_state of what is inside
        FunctionTransformer(lambda x: x),
        Homemade(),  # of a module without a version
        WithoutParams(),
    ],
)
def test_any_doubt_means_no_key(doubtful: Any) -> None:
    assert fit_key(doubtful, X, Y) is None


def test_the_key_holds_all_that_a_fit_depends_on() -> None:
    keys = {
        fit_key(StandardScaler(), X, Y),
        fit_key(StandardScaler(with_mean=False), X, Y),
        fit_key(StandardScaler(), X + 1, Y),
        fit_key(StandardScaler(), np.asfortranarray(X), Y),
        fit_key(StandardScaler(), X, Y + 1),
        fit_key(StandardNormalVariate(), X, Y),
        fit_key(PCA(2, random_state=0), X, Y),
        fit_key(PCA(2, random_state=1), X, Y),
    }
    assert len(keys) == 8
    assert None not in keys
    assert fit_key(StandardScaler(), X.copy(), Y.copy()) in keys


def test_a_process_fits_once_and_forgets_what_does_not_fit_in() -> None:
    cache = FitCache(max_bytes=X.nbytes)
    first, _ = cache.fit_transform(StandardScaler(), X, Y, "p:0:all")
    again, rows = cache.fit_transform(StandardScaler(), X, Y, "q:0:all")
    assert again is first
    assert np.array_equal(rows, StandardScaler().fit_transform(X))
    assert (cache.report.fitted, cache.report.reused) == (1, 1)
    cache.fit_transform(StandardNormalVariate(), X, Y, "p:1:all")
    cache.fit_transform(StandardScaler(), X, Y, "r:0:all")
    assert (cache.report.fitted, cache.report.reused) == (3, 1)


def test_reports_add_up() -> None:
    both = FitReport(1, 2, 3, 4.0, 5.0).plus(FitReport(1, 1, 1, 1.0, 1.0))
    assert both == FitReport(2, 3, 4, 5.0, 6.0)


def test_the_next_run_loads_what_this_one_fitted_and_adds_nothing(
    train: Any, workspace: Any, open_predictor: Any, fermentation: Any
) -> None:
    first = train(STEPS, fermentation)
    assert (first.fits.fitted, first.fits.loaded) == (6, 0)
    before = objects_of(workspace)
    second = train(STEPS, fermentation)
    assert (second.fits.fitted, second.fits.loaded) == (0, 6)
    assert added_kinds(before, objects_of(workspace))[Kind.BLOB] == 0
    # Another model on the same preprocessing: its transformers are there already.
    other = train([*STEPS[:3], {"model": Ridge()}], fermentation)
    assert (other.fits.fitted, other.fits.loaded) == (0, 6)
    said = open_predictor().predict(other.id, fermentation.X)
    pipe = make_pipeline(StandardNormalVariate(), StandardScaler(), Ridge())
    by_hand = [
        pipe.fit(fermentation.X[rows], fermentation.y[rows]).predict(fermentation.X)
        for rows, _ in KFold(3).split(fermentation.X)
    ]
    assert np.array_equal(said, np.mean(by_hand, axis=0))


def test_what_was_imported_is_never_loaded_in_the_place_of_a_fit(
    train: Any, workspace: Any, fermentation: Any, tmp_path: Path
) -> None:
    """To load it can run code, and training asks nobody for trust."""
    theirs = Workspace(tmp_path / "theirs")
    run = PipelineRunner(theirs).run(STEPS, *fermentation, dataset=DATASET)
    with theirs.store(DATASET) as store:
        subject = identify(store, store.resolve_entry(run.id), run.id)
        export_bundle(store, [(run.id, subject)], DATASET, tmp_path / "run.n4b")
    import_bundle(workspace.create(DATASET), tmp_path / "run.n4b")
    mine = train(STEPS, fermentation)
    assert (mine.fits.fitted, mine.fits.loaded) == (6, 0)


def test_other_data_are_fitted_anew(train: Any, fermentation: Any) -> None:
    train(STEPS, fermentation)
    moved = type(fermentation)(fermentation.X + 1e-12, fermentation.y)
    assert train(STEPS, moved).fits.loaded == 0
    assert train(STEPS, type(fermentation)(fermentation.X, fermentation.y * 2)).fits.loaded == 0


def test_a_transformer_with_a_fit_transform_of_its_own_is_fitted_in_each_run(
    train: Any, fermentation: Any
) -> None:
    steps = [KFold(3), PCA(3, random_state=0), {"model": Ridge()}]
    train(steps, fermentation)
    again = train(steps, fermentation)
    assert (again.fits.fitted, again.fits.loaded) == (3, 0)


def test_reuse_can_be_turned_off(workspace: Any, train: Any, fermentation: Any) -> None:
    train(STEPS, fermentation)
    runner = PipelineRunner(workspace, reuse_fits=False)
    again = runner.run(STEPS, *fermentation, dataset=DATASET)
    assert (again.fits.fitted, again.fits.loaded) == (6, 0)


def test_a_sweep_fits_a_common_preprocessing_once(train: Any, fermentation: Any) -> None:
    models = {"_range_": [1, 3], "param": "n_components", "model": PLSRegression()}
    run = train([*STEPS[:3], models], fermentation)
    assert (run.fits.fitted, run.fits.reused) == (6, 12)


def test_a_damaged_fit_is_an_error_not_a_new_fit(
    train: Any, workspace: Any, fermentation: Any
) -> None:
    train(STEPS, fermentation)
    with workspace.store(DATASET) as store:
        packs = sorted(store.layout.packs.iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(packs[-1].read_bytes())
    for place in range(200, len(data) - 1000, 400):
        data[place] ^= 1
    packs[-1].chmod(0o644)
    packs[-1].write_bytes(data)
    with pytest.raises(CorruptionError):
        train(STEPS, fermentation)

"""Predicting: the right models by every name, the same bits in another process, clear errors."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from chemotools.scatter import StandardNormalVariate
from sklearn.base import clone
from sklearn.cross_decomposition import PLSRegression
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from n4a_store.artifacts.registry import ArtifactRegistry
from n4a_store.artifacts.workspace import Workspace
from n4a_store.errors import (
    ArtifactNotFoundError,
    InvalidInputError,
    NotFoundError,
    RefNotFoundError,
    StoreNotFoundError,
)
from n4a_store.pipeline.graph import VersionMismatchWarning
from n4a_store.pipeline.predictor import Predictor
from n4a_store.pipeline.runner import PipelineRunner
from tests.pipeline.light import Mean
from tests.pipeline.training import DATASET

FOLDS = KFold(3)
BRANCHES = {"snv": [StandardNormalVariate()], "scaled": [StandardScaler()]}
STEPS = [
    FOLDS,
    {"branch": BRANCHES},
    {"y_processing": MinMaxScaler()},
    {"model": PLSRegression(2), "name": "pls"},
    {"model": RandomForestRegressor(5, random_state=0), "name": "forest"},
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: Any, fermentation: Any) -> tuple[Workspace, str]:
    """A workspace in which a pipeline has been trained, for tests that only ask, and its id."""
    workspace = Workspace(tmp_path_factory.mktemp("trained") / "workspace")
    (pipeline,) = PipelineRunner(workspace).run(STEPS, *fermentation, dataset=DATASET).pipelines
    return workspace, pipeline


FRESH = """
import sys
import numpy as np
from n4a_store.pipeline.graph import VersionMismatchWarning
from n4a_store.pipeline.predictor import Predictor
workspace, dataset, X, out, *refs = sys.argv[1:]
predictor = Predictor(workspace, dataset)
np.save(out, [predictor.predict(ref, np.load(X)) for ref in refs])
assert not any(name.startswith("n4a_store.pipeline.runner") for name in sys.modules)
"""


def test_a_fresh_process_gives_the_same_bits(
    train: Any, workspace: Any, open_predictor: Any, fermentation: Any, tmp_path: Any
) -> None:
    steps = [STEPS, [*STEPS, {"stack": Ridge()}]]
    runs = [train(one, fermentation, X_test=fermentation.X).id for one in steps]
    np.save(tmp_path / "X.npy", fermentation.X)
    done = subprocess.run(
        [sys.executable, "-c", FRESH, str(workspace.path), DATASET,
         str(tmp_path / "X.npy"), str(tmp_path / "out.npy"), *runs],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    predictor = open_predictor()
    for run, fresh in zip(runs, np.load(tmp_path / "out.npy"), strict=True):
        # What the fitted models said before they were ever stored.
        assert np.array_equal(fresh, predictor.stored(run, partition="test"))
        assert np.array_equal(fresh, predictor.predict(run, fermentation.X))


def test_what_a_training_gave_back_is_called_by_its_id(
    train: Any, workspace: Any, fermentation: Any
) -> None:
    """All of a result, with its rows, stood in the message."""
    run = train(STEPS, fermentation)
    with Predictor(workspace, DATASET) as predictor:
        for ref, name in (
            (run, f"refs/runs/{run.id}"),
            (run.best, f"{run.id}:{run.best.pipeline_id}"),
            (None, "the (best pipeline|newest run)"),
        ):
            with pytest.raises(InvalidInputError, match=f"^{name} gives no probabilities"):
                predictor.predict_proba(ref, fermentation.X)
            with pytest.raises(NotFoundError, match=f"^{name} has no stored predictions 'test'"):
                predictor.stored(ref, partition="test")


def test_a_predictor_goes_to_another_process(
    trained: tuple[Workspace, str], fermentation: Any
) -> None:
    """As loaders and registries do: it is what somebody hands to joblib."""
    workspace, pipeline = trained
    X, _ = fermentation
    with Predictor(workspace, DATASET, trust=True) as predictor:
        expected = predictor.predict(pipeline, X)
        data = pickle.dumps(predictor)
        name = repr(predictor)
    with pickle.loads(data) as other:
        assert np.array_equal(other.predict(pipeline, X), expected)
        assert repr(other) == name == f"Predictor({str(workspace.path)!r}, {DATASET!r})"
        assert other._trust


def test_none_is_the_best_of_the_newest_run(
    train: Any, open_predictor: Any, fermentation: Any
) -> None:
    train([FOLDS, {"model": Ridge(alpha=1e-9)}], fermentation)
    newest = train(STEPS, fermentation)
    best = newest.best
    choice = open_predictor().select(None)
    assert choice.run_id == newest.id
    assert choice.manifest.pipeline_id == best.pipeline_id
    assert (choice.head.branch_path, choice.head.step_index) == (best.branch_path, best.step_index)
    means = {
        (row.branch_path, row.model): np.mean(
            [r.rmse for r in newest.results.select(branch_path=row.branch_path, model=row.model)]
        )
        for row in newest.results
    }
    assert best.score == pytest.approx(min(means.values()))


def test_ties_go_to_the_earliest(train: Any, open_predictor: Any, fermentation: Any) -> None:
    twice = {"_or_": [{"model": Ridge(), "name": "a"}, {"model": Ridge(), "name": "b"}]}
    run = train([FOLDS, twice], fermentation)
    assert open_predictor().select(None).manifest.pipeline_id == run.pipelines[0]


def test_by_branch_model_and_fold(train: Any, open_predictor: Any, fermentation: Any) -> None:
    X, y = fermentation
    run = train(STEPS, fermentation)
    predictor = open_predictor()
    rows, _ = list(FOLDS.split(X))[1]
    scaler = MinMaxScaler().fit(y[rows].reshape(-1, 1))
    targets = scaler.transform(y[rows].reshape(-1, 1)).ravel()
    snv = clone(BRANCHES["snv"][0]).fit_transform(X)
    by_hand = PLSRegression(2).fit(snv[rows], targets).predict(snv).reshape(-1, 1)
    expected = scaler.inverse_transform(by_hand).ravel()
    asked = {"model": "pls", "fold": 1}
    assert np.array_equal(predictor.predict(run.id, X, branch=["snv"], **asked), expected)
    assert np.array_equal(predictor.predict(run.id, X, branch=[0], **asked), expected)
    assert np.array_equal(predictor.predict(run.id, X, branch="snv", **asked), expected)
    (pipeline,) = run.pipelines
    key = predictor.select(run.id, branch=[0], **asked).keys[0]
    for ref in (f"{pipeline}:{key}", f"refs/pipelines/{pipeline}:{key}"):
        assert np.array_equal(predictor.predict(ref, X), expected)
    named = predictor.predict(None, X, pipeline=pipeline, branch=[0], **asked)
    assert np.array_equal(named, expected)


def test_by_tag_on_a_run_or_a_pipeline_that_was_replaced(
    train: Any, workspace: Any, open_predictor: Any, fermentation: Any
) -> None:
    run = train(STEPS, fermentation)
    (pipeline,) = run.pipelines
    predictor = open_predictor()
    expected = predictor.predict(run.id, fermentation.X)
    with workspace.store(DATASET) as store:
        manifest = store.resolve(f"refs/pipelines/{pipeline}")
        with store.transaction() as txn:
            txn.adopt_path(f"refs/pipelines/{pipeline}")
            txn.set_ref("refs/tags/production", manifest)
        with store.transaction() as txn:
            txn.adopt_path(f"refs/runs/{run.id}")
            txn.set_ref("refs/tags/run", store.resolve(f"refs/runs/{run.id}"))
    train(STEPS, type(fermentation)(fermentation.X, fermentation.y * 2))
    assert not np.array_equal(predictor.predict(pipeline, fermentation.X), expected)
    for ref in ("production", "run", "refs/tags/production", run.id, f"{pipeline}@{{1}}"):
        assert np.array_equal(predictor.predict(ref, fermentation.X), expected)


def test_averages_weighted_by_score(train: Any, open_predictor: Any, fermentation: Any) -> None:
    run = train([FOLDS, {"model": PLSRegression(2)}], fermentation)
    predictor = open_predictor()
    parts = [predictor.predict(run.id, fermentation.X, fold=fold) for fold in range(3)]
    plain = predictor.predict(run.id, fermentation.X)
    assert np.array_equal(plain, np.mean(parts, axis=0))
    weights = [1 / row.rmse for row in run.results]
    weighted = predictor.predict(run.id, fermentation.X, average="weighted")
    assert np.array_equal(weighted, np.average(parts, axis=0, weights=weights))
    with pytest.raises(InvalidInputError, match="average is one of mean, weighted"):
        predictor.predict(run.id, fermentation.X, average="median")


class Middle(Mean):
    """Skips targets that are missing."""

    def fit(self, X: Any, y: Any) -> Middle:
        self.mean_ = np.nanmean(y)
        return self


def test_a_score_that_is_no_number_weighs_nothing(
    train: Any, open_predictor: Any, fermentation: Any
) -> None:
    """Every row came out as NaN, without a word."""
    y = fermentation.y.copy()
    y[:2] = np.nan  # in the first fold's held-out rows, which nothing is fitted on
    run = train([KFold(3), {"model": Middle()}], fermentation._replace(y=y))
    predictor = open_predictor()
    assert np.isfinite(predictor.predict(run.id, fermentation.X, fold=0)).all()
    with pytest.raises(InvalidInputError, match="fold 0 has the validation score nan"):
        predictor.predict(run.id, fermentation.X, average="weighted")


def test_the_sources_of_a_stack_can_be_asked_but_do_not_compete_with_it(
    train: Any, open_predictor: Any, fermentation: Any
) -> None:
    run = train([*STEPS[:1], *STEPS[3:], {"stack": Ridge(alpha=1e6), "name": "meta"}], fermentation)
    predictor = open_predictor()
    assert predictor.select(run.id).head.name == "meta"
    assert predictor.select(run.id, model="pls").head.name == "pls"
    assert run.best.model == "meta"
    scores = {row.model: row.rmse for row in run.results.select(fold_id=0)}
    assert scores["meta"] > scores["pls"]  # by its score alone it would not be chosen


@pytest.mark.parametrize(
    ("ref", "asked", "error", "said"),
    [
        ("nothing", {}, RefNotFoundError, "nothing"),
        (None, {"pipeline": "other"}, NotFoundError, "no pipeline 'other'"),
        (None, {"branch": [7]}, ArtifactNotFoundError, r"no model that fits: branch \[7\]"),
        (None, {"model": "svm"}, ArtifactNotFoundError, "model 'svm'"),
        (None, {"fold": 9}, ArtifactNotFoundError, "fold 9"),
        (None, {"model": "pls", "fold": 9}, ArtifactNotFoundError, "no model of fold 9"),
        ("PIPELINE:9:all", {}, ArtifactNotFoundError, "no artifact 9:all"),
        ("PIPELINE:x", {}, InvalidInputError, "step or fold"),
        ("PIPELINE:0:all", {}, InvalidInputError, "only models predict"),
        ("PIPELINE:artifacts", {}, InvalidInputError, "step or fold"),
    ],
)
def test_what_is_not_there_is_named(
    trained: tuple[Workspace, str], fermentation: Any,
    ref: str | None, asked: dict[str, Any], error: type[Exception], said: str,
) -> None:  # fmt: skip
    workspace, pipeline = trained
    ref = None if ref is None else ref.replace("PIPELINE", pipeline)
    with Predictor(workspace, DATASET) as predictor, pytest.raises(error, match=said):
        predictor.predict(ref, fermentation.X, **asked)


def test_spectra_of_another_length_are_refused(
    trained: tuple[Workspace, str], fermentation: Any
) -> None:
    with Predictor(trained[0], DATASET) as predictor:
        with pytest.raises(InvalidInputError, match="fitted on 1047 features, and was given 1000"):
            predictor.predict(None, fermentation.X[:, :1000])
        with pytest.raises(InvalidInputError, match="X must have two dimensions"):
            predictor.predict(None, fermentation.X[0])


def test_what_is_no_model_says_so(workspace: Workspace, fermentation: Any) -> None:
    """Anything can be stored, or come in a bundle, as a model."""
    registry = ArtifactRegistry(workspace, DATASET)
    wrong = {"model": "predict", "transformer": "transform", "encoder": "inverse_transform"}
    fitted = Ridge().fit(fermentation.X, fermentation.y)
    for kind in wrong:
        model = f"{kind}:1:all"
        registry.register(np.arange(3.0), f"{kind}:0:all", kind)
        registry.register(fitted, model, "model", depends_on=[f"{kind}:0:all"])
    registry.register_meta_model([1], "meta:2:all", ["model:1:all"], ["a"])
    registry.close()
    asked = {"model:0:all": "model", "transformer:1:all": "transformer", "encoder:1:all": "encoder"}
    with Predictor(workspace, DATASET) as predictor:
        for name, kind in asked.items():
            said = rf"{kind}:0:all \(ndarray\) has no {wrong[kind]}\(\)"
            with pytest.raises(InvalidInputError, match=said):
                predictor.predict(name, fermentation.X)
        with pytest.raises(InvalidInputError, match=r"meta:2:all \(list\) has no predict"):
            predictor.predict("meta:2:all", fermentation.X)


class Forgetful(Ridge):
    """Has forgotten what it was fitted on when it was loaded, as a model of catboost has."""

    def fit(self, X: Any, y: Any) -> Forgetful:
        super().fit(X, y)
        self.n_features_in_ = 0
        return self

    def predict(self, X: Any) -> Any:
        return X @ self.coef_ + self.intercept_


def test_a_model_that_does_not_know_its_features_predicts(
    workspace: Any, train: Any, fermentation: Any
) -> None:
    train([FOLDS, StandardScaler(), {"model": Forgetful()}], fermentation)
    with Predictor(workspace, DATASET) as predictor:
        said = predictor.predict(None, fermentation.X[:4])
    assert said.shape == (4,)
    assert np.isfinite(said).all()


def test_a_dataset_that_does_not_exist_is_not_created(
    workspace: Any, train: Any, fermentation: Any
) -> None:
    with pytest.raises(StoreNotFoundError):
        Predictor(workspace, "nowhere")
    assert not workspace.path.exists()
    train([{"model": Ridge()}], fermentation)
    with pytest.raises(StoreNotFoundError):
        Predictor(workspace, "nowhere")
    assert workspace.datasets() == [DATASET]


def test_another_version_of_a_library_is_warned_of_once(
    trained: tuple[Workspace, str], fermentation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor(trained[0], DATASET)
    monkeypatch.setattr("n4a_store.pipeline.graph.library_of", lambda cls: "scikit-learn==99.0")
    with pytest.warns(
        VersionMismatchWarning, match=r"written with .*scikit-learn==99.0 is"
    ) as told:
        predictor.predict(None, fermentation.X, branch="scaled")
    assert len(told) == 1
    predictor.predict(None, fermentation.X, branch="scaled")
    predictor.close()


def test_what_a_training_gave_back_names_its_models(
    train: Any, open_predictor: Any, fermentation: Any
) -> None:
    """A run's result, a model's score, a pipeline of a run; and the rows alone for the best."""
    model = {"model": PLSRegression(2), "name": "pls"}
    run = train([FOLDS, {"branch": BRANCHES}, model], fermentation)
    predictor, X = open_predictor(), fermentation.X
    best = predictor.predict(run.id, X)
    for ref in (run, run.best, f"{run.id}:{run.pipelines[0]}", f"runs/{run.id}"):
        assert np.array_equal(predictor.predict(ref, X), best)
    assert np.array_equal(predictor.predict(X=X), best)
    worst = run.ranking()[-1]
    assert np.array_equal(
        predictor.predict(worst, X), predictor.predict(run.id, X, branch=worst.branch_path)
    )
    for wrong in (5, b"x", ["a"], run.results):
        with pytest.raises(InvalidInputError, match="named by text"):
            predictor.predict(wrong, X)
    with pytest.raises(InvalidInputError, match="X"):
        predictor.predict(run)
    assert "pls" in run._repr_html_()


def test_a_score_means_the_model_that_got_it(
    train: Any, workspace: Workspace, open_predictor: Any, fermentation: Any
) -> None:
    """Not another of its name, not a later training of its pipeline, not another dataset's."""
    models = [Ridge(1.0), Ridge(1e6)]
    first = train([FOLDS, *models], fermentation)
    predictor, X = open_predictor(), fermentation.X
    better, worse = first.ranking()
    assert (better.model, better.run_id) == (worse.model, first.run_id)
    assert better.step_index != worse.step_index
    before = [predictor.predict(score, X) for score in (better, worse)]
    assert not np.allclose(*before)
    assert [predictor.select(score).head.step_index for score in (better, worse)] == [
        better.step_index, worse.step_index,
    ]  # fmt: skip
    turned = fermentation._replace(y=-fermentation.y)
    second = train([FOLDS, *models], turned)
    assert second.pipelines == first.pipelines
    for score, said in zip((better, worse), before, strict=True):
        assert np.array_equal(predictor.predict(score, X), said)
        assert predictor.select(score).run_id == first.run_id
    assert np.allclose(predictor.predict(second.best, X), -before[0])
    with pytest.raises(NotFoundError, match="of run"):
        predictor.predict(replace(better, run_id="20200101_abcdef"), X)
    assert isinstance(predictor.predict(better, X, model="Ridge", fold=0), np.ndarray)


def test_what_is_asked_of_an_artifact_must_fit_it(
    train: Any, open_predictor: Any, fermentation: Any
) -> None:
    run = train([FOLDS, {"branch": {"e\u0301": [], "raw": []}}, Ridge()], fermentation)
    predictor, X = open_predictor(), fermentation.X
    [pipeline] = run.pipelines
    name = f"{pipeline}:0:2:1"
    said = predictor.predict(name, X)
    for fitting in (
        {"fold": 1}, {"branch": [0]}, {"branch": "e\u0301"}, {"branch": "\u00e9"},
        {"model": "Ridge"}, {"pipeline": pipeline},
    ):  # fmt: skip
        assert np.array_equal(predictor.predict(name, X, **fitting), said)
    for other in ({"fold": 0}, {"fold": 7}, {"branch": [1]}, {"model": "zz"}, {"pipeline": "zz"}):
        with pytest.raises(ArtifactNotFoundError, match="not what was asked for"):
            predictor.predict(name, X, **other)
    with pytest.raises(InvalidInputError, match="fold"):
        predictor.predict(pipeline, X, fold=True)
    both = {"branch": {"e\u0301": [], "\u00e9": []}}
    with pytest.raises(InvalidInputError, match="two branches are called"):
        train([FOLDS, both, Ridge()], fermentation)


def test_a_run_without_a_model_says_so(workspace: Workspace, fermentation: Any) -> None:
    registry = ArtifactRegistry(workspace, DATASET)
    registry.register(StandardScaler().fit(fermentation.X), "p:0:all", "transformer")
    with pytest.raises(ArtifactNotFoundError, match="the newest run has no model\n"):
        Predictor(workspace, DATASET).predict(None, fermentation.X)


def test_branches_may_have_names_with_blanks(
    train: Any, open_predictor: Any, fermentation: Any
) -> None:
    branches = {"first derivative": [StandardScaler()], "SNV + PLS": [StandardNormalVariate()]}
    run = train([FOLDS, {"branch": branches}, {"model": PLSRegression(2)}], fermentation)
    assert {row.branch_names for row in run.results} == {("first derivative",), ("SNV + PLS",)}
    predictor = open_predictor()
    by_name = predictor.predict(run, fermentation.X, branch=["SNV + PLS"])
    assert np.array_equal(by_name, predictor.predict(run, fermentation.X, branch=[1]))


def test_none_never_means_an_older_run(
    train: Any, open_predictor: Any, fermentation: Any, workspace: Workspace
) -> None:
    """A training that failed as a whole would have been answered by the one before, in silence."""
    older = train([FOLDS, {"model": Ridge()}], fermentation)
    hopeless = [FOLDS, {"model": RandomForestRegressor(n_estimators=-1)}]
    failed = train(hopeless, fermentation, may_fail=True)
    assert failed.failures
    with pytest.raises(NotFoundError, match=f"{failed.id}, the newest run of .*, has no complete"):
        open_predictor().predict(None, fermentation.X)
    assert open_predictor().select(older.id).run_id == older.id

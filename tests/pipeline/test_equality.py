"""The runner's numbers are those of plain scikit-learn, bit for bit, on real spectra."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chemotools.derivative import SavitzkyGolay
from chemotools.scatter import StandardNormalVariate
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestRegressor, StackingClassifier, StackingRegressor
from sklearn.feature_selection import RFE
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    RepeatedKFold,
    ShuffleSplit,
    StratifiedKFold,
    cross_val_predict,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, LabelEncoder, MinMaxScaler, StandardScaler

FOLDS = KFold(3, shuffle=True, random_state=0)
PLS = PLSRegression(n_components=3)


def fold_mean(pipeline: Any, X: Any, y: Any, X_new: Any) -> Any:
    """What averaging fold models means, written by hand."""
    said = [clone(pipeline).fit(X[rows], y[rows]).predict(X_new) for rows, _ in FOLDS.split(X, y)]
    return np.mean(said, axis=0)


@pytest.mark.parametrize(
    "chain",
    [
        [StandardScaler()],
        [StandardNormalVariate(), SavitzkyGolay(11), StandardScaler(with_std=False)],
        [StandardScaler(), PCA(4, random_state=0)],  # its fit_transform has bits of its own
    ],
)
def test_held_out_predictions_are_those_of_cross_val_predict(
    train: Any, open_predictor: Any, fermentation: Any, chain: list[Any]
) -> None:
    X, y = fermentation
    run = train([FOLDS, *chain, {"model": PLS}], fermentation)
    hand = make_pipeline(*chain, PLS)
    held = open_predictor().stored(run.run_id)
    assert np.array_equal(held, cross_val_predict(hand, X, y, cv=FOLDS))
    assert np.array_equal(open_predictor().predict(run.run_id, X), fold_mean(hand, X, y, X))


def test_y_processing_is_a_transformed_target(
    train: Any, open_predictor: Any, fermentation: Any
) -> None:
    X, y = fermentation
    steps = [FOLDS, StandardScaler(), {"y_processing": MinMaxScaler()}, {"model": PLS}]
    run = train(steps, fermentation)
    hand = make_pipeline(
        StandardScaler(), TransformedTargetRegressor(PLS, transformer=MinMaxScaler())
    )
    assert np.array_equal(open_predictor().stored(run.id), cross_val_predict(hand, X, y, cv=FOLDS))
    assert np.array_equal(open_predictor().predict(run.id, X), fold_mean(hand, X, y, X))


def test_chained_y_processing_is_undone_in_the_right_order(
    train: Any, open_predictor: Any, fermentation: Any
) -> None:
    X, y = fermentation
    log = FunctionTransformer(np.log1p, np.expm1, check_inverse=False)
    chained = [log, StandardScaler()]
    in_one = train([FOLDS, {"y_processing": chained}, {"model": PLS}], fermentation)
    in_two = train(
        [FOLDS, {"y_processing": chained[0]}, {"y_processing": chained[1]}, {"model": PLS}],
        fermentation,
    )
    hand = TransformedTargetRegressor(PLS, transformer=make_pipeline(*chained))
    expected = cross_val_predict(hand, X, y, cv=FOLDS)
    assert np.array_equal(open_predictor().stored(in_one.id), expected)
    assert np.array_equal(open_predictor().stored(in_two.id), expected)
    assert np.array_equal(open_predictor().predict(in_two.id, X), fold_mean(hand, X, y, X))


def test_what_stands_before_the_splitter_is_fitted_on_all_rows(
    train: Any, open_predictor: Any, fermentation: Any
) -> None:
    X, y = fermentation
    run = train([StandardScaler(), FOLDS, {"model": PLS}], fermentation)
    scaled = StandardScaler().fit_transform(X)
    assert np.array_equal(
        open_predictor().stored(run.id), cross_val_predict(PLS, scaled, y, cv=FOLDS)
    )


def test_without_a_splitter_there_is_one_model(
    train: Any, open_predictor: Any, fermentation: Any
) -> None:
    X, y = fermentation
    run = train([StandardScaler(), {"model": PLS}], fermentation)
    hand = make_pipeline(StandardScaler(), PLS).fit(X, y)
    assert np.array_equal(open_predictor().predict(run.id, X), hand.predict(X))
    assert [row.partition for row in run.results] == ["train"]


def test_refit_predicts_with_a_model_of_all_rows(
    train: Any, open_predictor: Any, fermentation: Any
) -> None:
    X, y = fermentation
    steps = [FOLDS, StandardScaler(), {"y_processing": MinMaxScaler()},
             {"model": PLS, "refit": True}]  # fmt: skip
    run = train(steps, fermentation, X_test=X[:5])
    hand = make_pipeline(
        StandardScaler(), TransformedTargetRegressor(PLS, transformer=MinMaxScaler())
    )
    expected = clone(hand).fit(X, y).predict(X)
    predictor = open_predictor()
    assert np.array_equal(predictor.predict(run.id, X), expected)
    assert np.array_equal(predictor.stored(run.id, partition="test"), expected[:5])
    assert np.array_equal(predictor.stored(run.id), cross_val_predict(hand, X, y, cv=FOLDS))


def test_each_branch_is_a_pipeline_of_its_own(
    train: Any, open_predictor: Any, fermentation: Any
) -> None:
    X, y = fermentation
    chains = {
        ("snv",): [StandardNormalVariate()],
        ("deep", "first"): [SavitzkyGolay(11), StandardScaler()],
        ("deep", "second"): [SavitzkyGolay(11), StandardNormalVariate()],
    }
    inner = {"first": [StandardScaler()], "second": [StandardNormalVariate()]}
    deep = [SavitzkyGolay(11), {"branch": inner}]
    steps = [FOLDS, {"branch": {"snv": [StandardNormalVariate()], "deep": deep}},
             StandardScaler(with_std=False), {"model": PLS}]  # fmt: skip
    run = train(steps, fermentation)
    predictor = open_predictor()
    for names, chain in chains.items():
        hand = make_pipeline(*chain, StandardScaler(with_std=False), PLS)
        assert np.array_equal(
            predictor.predict(run.id, X, branch=list(names)), fold_mean(hand, X, y, X)
        )
        assert np.array_equal(
            predictor.stored(run.id, branch=list(names)), cross_val_predict(hand, X, y, cv=FOLDS)
        )
    assert {row.branch_names for row in run.results} == set(chains)


def test_a_stack_is_scikit_learns_stack(train: Any, open_predictor: Any, fermentation: Any) -> None:
    X, y = fermentation
    forest = RandomForestRegressor(n_estimators=5, random_state=0)
    steps = [
        FOLDS,
        {"model": PLSRegression(n_components=2), "name": "small", "refit": True},
        {"model": PLSRegression(n_components=5), "name": "large", "refit": True},
        {"model": forest, "name": "forest", "refit": True},
        {"stack": Ridge(alpha=0.1)},
    ]
    run = train(steps, fermentation)
    hand = StackingRegressor(
        [("small", PLSRegression(n_components=2)), ("large", PLSRegression(n_components=5)),
         ("forest", forest)],
        final_estimator=Ridge(alpha=0.1),
        cv=FOLDS,
    ).fit(X, y)  # fmt: skip
    assert np.array_equal(open_predictor().predict(run.id, X), hand.predict(X))


@pytest.mark.parametrize("as_step", [False, True])
def test_a_stack_of_scikit_learn_is_a_model_before_it_shows_that_it_predicts(
    train: Any, open_predictor: Any, fermentation: Any, as_step: bool
) -> None:
    X, y = fermentation
    stack = StackingRegressor([("small", PLSRegression(n_components=2)), ("ridge", Ridge())])
    assert not hasattr(stack, "predict")
    run = train([FOLDS, {"model": stack} if as_step else stack], fermentation)
    assert np.array_equal(open_predictor().predict(run.id, X), fold_mean(stack, X, y, X))


def test_a_bare_selector_of_features_selects(
    train: Any, open_predictor: Any, fermentation: Any
) -> None:
    X, y = fermentation
    select = RFE(Ridge(), n_features_to_select=0.1, step=0.5)
    run = train([FOLDS, select, PLS], fermentation)
    assert [score.model for score in run.ranking()] == ["PLSRegression"]
    hand = make_pipeline(select, PLS)
    assert np.array_equal(open_predictor().predict(run.id, X), fold_mean(hand, X, y, X))


def test_a_stack_without_refit_averages_its_sources_folds(
    train: Any, open_predictor: Any, fermentation: Any
) -> None:
    X, y = fermentation
    sizes = (2, 5)
    models = [{"model": PLSRegression(n_components=k)} for k in sizes]  # one class, twice
    run = train([FOLDS, *models, {"stack": Ridge(alpha=0.1)}], fermentation, X_test=X[:4])
    bases = [PLSRegression(n_components=k) for k in sizes]
    held = np.column_stack([cross_val_predict(base, X, y, cv=FOLDS) for base in bases])
    meta = Ridge(alpha=0.1).fit(held, y)
    averaged = np.column_stack([fold_mean(base, X, y, X) for base in bases])
    predictor = open_predictor()
    assert np.array_equal(predictor.predict(run.id, X), meta.predict(averaged))
    assert np.array_equal(predictor.stored(run.id, partition="test"), meta.predict(averaged)[:4])


def test_a_stack_over_all_branches(train: Any, open_predictor: Any, fermentation: Any) -> None:
    X, y = fermentation
    chains = [[StandardNormalVariate()], [StandardScaler()]]
    run = train(
        [FOLDS, {"branch": chains}, {"model": PLS}, {"stack": Ridge(), "over": "branches"}],
        fermentation,
    )
    pipes = [make_pipeline(*chain, PLS) for chain in chains]
    held = np.column_stack([cross_val_predict(pipe, X, y, cv=FOLDS) for pipe in pipes])
    meta = Ridge().fit(held, y)
    averaged = np.column_stack([fold_mean(pipe, X, y, X) for pipe in pipes])
    assert np.array_equal(open_predictor().predict(run.id, X), meta.predict(averaged))


def test_classifiers(train: Any, open_predictor: Any, coffee: Any) -> None:
    X, y = coffee
    X = X[:, ::50]
    folds = StratifiedKFold(3)
    model = LogisticRegression(C=0.01)  # which converges soon
    data = type(coffee)(X, y)
    run = train([folds, StandardScaler(), {"model": model}], data)
    hand = make_pipeline(StandardScaler(), model)
    held = cross_val_predict(hand, X, y, cv=folds)
    predictor = open_predictor()
    assert np.array_equal(predictor.stored(run.id), held)
    fitted = [clone(hand).fit(X[rows], y[rows]) for rows, _ in folds.split(X, y)]
    mean = np.mean([one.predict_proba(X) for one in fitted], axis=0)
    labels, probabilities = predictor.predict_proba(run.id, X)
    assert np.array_equal(probabilities, mean)
    assert np.array_equal(predictor.predict(run.id, X), labels[np.argmax(mean, axis=1)])
    assert {row.accuracy for row in run.results} == {
        float(np.mean(held[rows] == y[rows])) for _, rows in folds.split(X, y)
    }


def test_a_stack_of_classifiers(train: Any, open_predictor: Any, coffee: Any) -> None:
    X, y = coffee.X[:, ::20], (coffee.y == "Brasil").astype(int)
    folds = StratifiedKFold(3)
    bases = [GaussianNB(), KNeighborsClassifier(3)]
    models = [{"model": base, "refit": True} for base in bases]
    run = train([folds, *models, {"stack": LogisticRegression()}], type(coffee)(X, y))
    hand = StackingClassifier(
        [(str(i), base) for i, base in enumerate(bases)], LogisticRegression(), cv=folds
    ).fit(X, y)
    assert np.array_equal(open_predictor().predict_proba(run.id, X)[1], hand.predict_proba(X))


def test_labels_encoded_by_y_processing_come_back(
    train: Any, open_predictor: Any, coffee: Any
) -> None:
    X, y = coffee.X[:, ::20], coffee.y
    model = GaussianNB()
    folds = StratifiedKFold(3)
    steps = [folds, {"y_processing": LabelEncoder()}, {"model": model}]
    run = train(steps, type(coffee)(X, y))
    assert np.array_equal(open_predictor().stored(run.id), cross_val_predict(model, X, y, cv=folds))


def test_rows_that_several_folds_hold_out_have_their_mean(
    train: Any, open_predictor: Any, fermentation: Any
) -> None:
    X, y = fermentation
    folds = RepeatedKFold(n_splits=3, n_repeats=2, random_state=0)
    run = train([folds, {"model": PLS}], fermentation)
    total = np.zeros(len(y))
    for rows, held in folds.split(X, y):
        total[held] += clone(PLS).fit(X[rows], y[rows]).predict(X[held])
    assert np.array_equal(open_predictor().stored(run.id), total / 2)


def test_rows_that_no_fold_holds_out_have_none(
    train: Any, open_predictor: Any, fermentation: Any
) -> None:
    X, y = fermentation
    folds = ShuffleSplit(2, test_size=5, random_state=0)
    steps = [folds, {"model": PLS}, {"model": Ridge()}, {"stack": Ridge(), "name": "s"}]
    run = train(steps, fermentation)
    held = np.zeros(len(y), dtype=bool)
    for _, rows in folds.split(X):
        held[rows] = True
    stored = open_predictor().stored(run.id, model="PLSRegression")
    assert np.array_equal(np.isnan(stored), ~held)
    assert sum(row.n for row in run.results.select(model="s")) <= 2 * 5


def test_groups_reach_the_splitter(train: Any, open_predictor: Any, fermentation: Any) -> None:
    X, y = fermentation
    groups = np.arange(len(y)) // 3
    run = train([GroupKFold(3), {"model": PLS}], fermentation, groups=groups)
    expected = cross_val_predict(PLS, X, y, cv=GroupKFold(3), groups=groups)
    assert np.array_equal(open_predictor().stored(run.id), expected)


def test_two_targets(train: Any, open_predictor: Any, fermentation: Any) -> None:
    X = fermentation.X
    y = np.column_stack([fermentation.y, fermentation.y**2])
    data = type(fermentation)(X, y)
    run = train([FOLDS, {"y_processing": StandardScaler()}, {"model": PLS}], data)
    hand = TransformedTargetRegressor(PLS, transformer=StandardScaler())
    assert np.array_equal(open_predictor().predict(run.id, X), fold_mean(hand, X, y, X))

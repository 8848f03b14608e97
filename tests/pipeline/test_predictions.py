"""Predictions: y-processing undone in order, and several models averaged."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import FunctionTransformer, LabelEncoder, MinMaxScaler
from sklearn.svm import LinearSVC

from n4a_store.errors import InvalidInputError
from n4a_store.pipeline.predictions import (
    Prediction,
    as_columns,
    average,
    decode_targets,
    encode_targets,
    predict,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 3))
LABELS = np.array(list("abcabcabcabc"))


def test_a_chain_of_y_processing_is_undone_from_its_end() -> None:
    y = RNG.uniform(1, 5, size=12)
    log = FunctionTransformer(np.log, np.exp).fit(y.reshape(-1, 1))
    scale = MinMaxScaler().fit(log.transform(y.reshape(-1, 1)))
    encoded = encode_targets(scale, encode_targets(log, y))
    assert encoded.shape == y.shape
    assert (encoded.min(), encoded.max()) == pytest.approx((0, 1))
    assert decode_targets([log, scale], encoded) == pytest.approx(y)
    wrong = decode_targets([scale, log], encoded)
    assert not np.allclose(wrong, y)


def test_two_targets_stay_two() -> None:
    y = RNG.normal(size=(12, 2))
    scale = MinMaxScaler().fit(y)
    assert decode_targets([scale], encode_targets(scale, y)) == pytest.approx(y)


def test_an_encoder_of_labels_gets_the_vector_and_gives_the_labels_back() -> None:
    encoder = LabelEncoder().fit(LABELS)
    codes = encode_targets(encoder, LABELS)
    said = predict(LogisticRegression().fit(X, codes), X, [encoder])
    assert said.labels is not None
    assert list(said.labels) == ["a", "b", "c"]
    assert set(said.values) <= {"a", "b", "c"}


def test_one_model_is_not_averaged() -> None:
    said = predict(Ridge().fit(X, X[:, 0]), X, [])
    assert average([said]) is said


def test_numbers_are_averaged_plainly_or_by_weight() -> None:
    parts = [RNG.normal(size=5) for _ in range(3)]
    said = [Prediction(part, "regression") for part in parts]
    assert np.array_equal(average(said).values, np.mean(parts, axis=0))
    weighted = average(said, [1.0, 2.0, 1.0]).values
    assert np.array_equal(weighted, np.average(parts, axis=0, weights=[1.0, 2.0, 1.0]))


def test_classifiers_are_averaged_by_probability() -> None:
    models = [LogisticRegression(C=c).fit(X, LABELS) for c in (0.01, 10)]
    said = average([predict(model, X, []) for model in models])
    mean = np.mean([model.predict_proba(X) for model in models], axis=0)
    assert np.array_equal(said.values, models[0].classes_[np.argmax(mean, axis=1)])


def test_a_fold_that_never_saw_a_label_gives_it_no_probability() -> None:
    few = LABELS != "b"
    models = [LogisticRegression().fit(X, LABELS), LogisticRegression().fit(X[few], LABELS[few])]
    said = average([predict(model, X, []) for model in models])
    assert said.probabilities is not None
    assert said.probabilities.sum(axis=1) == pytest.approx(1)
    assert np.array_equal(said.probabilities[:, 1], models[0].predict_proba(X)[:, 1] / 2)


def test_classifiers_without_probabilities_vote_and_ties_go_to_the_smallest() -> None:
    parts = [np.array(list(votes)) for votes in ("abc", "abb", "cba")]
    said = [Prediction(part, "classification") for part in parts]
    assert list(average(said).values) == ["a", "b", "a"]
    assert list(average(said, [1.0, 1.0, 5.0]).values) == ["c", "b", "a"]


def test_columns_for_a_meta_model() -> None:
    proba = predict(LogisticRegression().fit(X, LABELS), X, [])
    assert as_columns(proba, "step 1").shape == (12, 3)
    binary = predict(LogisticRegression().fit(X, LABELS == "a"), X, [])
    assert as_columns(binary, "step 1").shape == (12, 1)
    assert as_columns(Prediction(np.ones((4, 2)), "regression"), "").shape == (4, 2)
    with pytest.raises(InvalidInputError, match="step 3"):
        as_columns(predict(LinearSVC().fit(X, LABELS), X, []), "step 3")

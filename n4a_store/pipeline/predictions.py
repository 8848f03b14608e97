"""From fitted models to predictions in the user's units: one arithmetic for training and use.

The trainer's scores and the predictor's answers come from the same functions, so that what was
validated is what predicts. Models of several folds are averaged: numbers by their mean,
classifiers by their mean probabilities where all give them for the same labels, else by vote
(ties go to the smallest label).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from n4a_store.errors import InvalidInputError
from n4a_store.pipeline.estimators import class_name, labels_of, takes_labels_only
from n4a_store.pipeline.results import CLASSIFICATION, REGRESSION

__all__ = [
    "Prediction",
    "as_columns",
    "as_tables",
    "average",
    "decode_targets",
    "encode_targets",
    "from_table",
    "predict",
]

_BINARY = 2


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one model, or several averaged, say about some rows.

    Args:
        values: Numbers or labels, in the user's units, one entry a row.
        task: ``regression`` or ``classification``.
        labels: For a classifier, its labels in the order of ``probabilities``.
        probabilities: (n, labels), where the classifier gives them.
    """

    values: np.ndarray
    task: str
    labels: np.ndarray | None = None
    probabilities: np.ndarray | None = None


def encode_targets(encoder: Any, y: np.ndarray) -> np.ndarray:
    """Targets through a fitted step of y-processing, keeping their number of dimensions."""
    if takes_labels_only(encoder):
        return np.asarray(encoder.transform(y))
    encoded = np.asarray(encoder.transform(y.reshape(-1, 1) if y.ndim == 1 else y))
    one = y.ndim == 1 and encoded.ndim > 1 and encoded.shape[1] == 1
    return encoded.ravel() if one else encoded


def decode_targets(encoders: Sequence[Any], values: np.ndarray) -> np.ndarray:
    """Predictions back through a chain of y-processing: last applied, first undone."""
    for encoder in reversed(encoders):
        flat = values.ndim == 1
        if takes_labels_only(encoder):
            values = np.asarray(encoder.inverse_transform(values.ravel()))
            continue
        values = np.asarray(encoder.inverse_transform(values.reshape(-1, 1) if flat else values))
        if flat and values.ndim > 1 and values.shape[1] == 1:
            values = values.ravel()
    return values


def predict(model: Any, X: Any, encoders: Sequence[Any]) -> Prediction:
    """What one fitted model says, in the user's units."""
    known = labels_of(model)
    said = np.asarray(model.predict(X))
    if said.shape[:1] != X.shape[:1]:
        raise InvalidInputError(
            f"{class_name(model)} predicted shape {said.shape} for {X.shape[0]} rows"
        )
    values = decode_targets(encoders, said)
    if known is None:
        return Prediction(values, REGRESSION)
    if isinstance(known, list) or not callable(getattr(model, "predict_proba", None)):
        return Prediction(values, CLASSIFICATION)
    labels = decode_targets(encoders, np.asarray(known))
    return Prediction(values, CLASSIFICATION, labels, np.asarray(model.predict_proba(X)))


def average(
    predictions: Sequence[Prediction], weights: Sequence[float] | None = None
) -> Prediction:
    """Several predictions for the same rows as one; a single one is given back as it is."""
    if len(predictions) == 1:
        return predictions[0]
    labels, tables = as_tables(predictions)
    if weights is None:
        mean = np.asarray(np.mean(tables, axis=0))
    else:
        mean = np.asarray(np.average(tables, axis=0, weights=weights))
    return from_table(predictions, labels, mean)


def as_tables(predictions: Sequence[Prediction]) -> tuple[np.ndarray | None, list[np.ndarray]]:
    """Each prediction as numbers that a mean makes sense of.

    Numbers as they are; probabilities over all labels that any of the models knows (a fold that
    never saw a label gives it none); without probabilities one vote for the label said.

    Returns:
        The labels, in the order of the tables' last axis, and the tables. None for regression.
    """
    if predictions[0].task == REGRESSION:
        return None, [p.values for p in predictions]
    if all(p.probabilities is not None and p.labels is not None for p in predictions):
        known = [np.asarray(p.labels) for p in predictions]
        given = [np.asarray(p.probabilities) for p in predictions]
        if all(np.array_equal(known[0], labels) for labels in known):
            return known[0], given
        union = np.unique(np.concatenate(known))
        return union, [_widen(t, at, union) for t, at in zip(given, known, strict=True)]
    union = np.unique(np.concatenate([p.values.ravel() for p in predictions]))
    return union, [(p.values[..., None] == union).astype(float) for p in predictions]


def _widen(table: np.ndarray, labels: np.ndarray, union: np.ndarray) -> np.ndarray:
    wide = np.zeros((len(table), len(union)))
    wide[:, np.searchsorted(union, labels)] = table
    return wide


def from_table(
    predictions: Sequence[Prediction], labels: np.ndarray | None, mean: np.ndarray
) -> Prediction:
    """The inverse of :func:`as_tables` for the mean of its tables."""
    if labels is None:
        return Prediction(mean, REGRESSION)
    values = labels[np.argmax(mean, axis=-1)]
    if any(p.probabilities is None for p in predictions):
        return Prediction(values, CLASSIFICATION)
    return Prediction(values, CLASSIFICATION, labels, mean)


def as_columns(prediction: Prediction, where: str) -> np.ndarray:
    """A prediction as features for a meta-model, (n, k).

    Numbers as they are; probabilities of a classifier, without the first of two, which says
    nothing new (as scikit-learn's ``StackingClassifier``).

    Raises:
        InvalidInputError: A classifier without probabilities whose labels are no numbers.
    """
    if prediction.probabilities is not None:
        table = prediction.probabilities
        return table[:, 1:] if table.shape[1] == _BINARY else table
    values = prediction.values
    if values.dtype.kind not in "biuf":
        raise InvalidInputError(
            f"{where}: labels {values.dtype} of a classifier without predict_proba "
            "cannot feed a meta-model",
            hint="use a classifier with predict_proba, or encode the labels with y_processing",
        )
    return values.reshape(len(values), -1)

"""What is learnt about a model while its folds are trained: held-out predictions and scores.

An :class:`Evaluation` is handed each fit's predictions and closes into a :class:`TrainedModel`,
which keeps ids and predictions and lets the fitted models go. A row that several folds held
out has the average of what they said; a row that none held out has no prediction and is left
out of every score and of every meta-model's training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from n4a_store.pipeline.context import DataSelector
from n4a_store.pipeline.predictions import Prediction, as_tables, average, from_table
from n4a_store.pipeline.results import REGRESSION, Scores
from n4a_store.pipeline.scoring import accuracy, r2, rmse

__all__ = ["Evaluation", "FoldRows", "TrainedModel"]


@dataclass(frozen=True, slots=True)
class FoldRows:
    """The row numbers of one fold."""

    fold_id: int
    train: np.ndarray
    held: np.ndarray


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """What is kept of a model once it has been registered.

    Args:
        selector: Its branch and step.
        name, class_name: What the results call it.
        task: ``regression`` or ``classification``.
        artifact_ids: The artifacts whose predictions are averaged, in order of folds.
        scores: The numbers, fold by fold, then the test rows.
        rows: The rows that were held out, sorted; empty without a splitter.
        held: What was said about them, in the user's units; None without a splitter.
        folds: Which rows each fold trained on and held out.
        test: What was said about the test rows, if there are any.
        sources: Of a meta-model, the models that feed it.
    """

    selector: DataSelector
    name: str
    class_name: str
    task: str
    artifact_ids: tuple[str, ...]
    scores: tuple[Scores, ...]
    rows: np.ndarray
    held: Prediction | None
    folds: tuple[FoldRows, ...]
    test: Prediction | None = None
    sources: tuple[TrainedModel, ...] = ()

    @property
    def place(self) -> tuple[tuple[int, ...], int | None]:
        """Its branch and step, which no other model of its pipeline has."""
        return tuple(self.selector.branch_path), self.selector.step_index

    @property
    def is_held_out(self) -> bool:
        """Whether it has said something about rows that it had not seen."""
        return self.held is not None

    @property
    def is_stack(self) -> bool:
        """Whether it is a meta-model."""
        return bool(self.sources)


class Evaluation:
    """Gathers what the fits of one model say.

    Args:
        y: The targets of all training rows, in the user's units.
        y_test: The targets of the test rows, if they are known.
    """

    def __init__(self, y: np.ndarray, y_test: np.ndarray | None) -> None:
        self._y = y
        self._y_test = y_test
        self._scores: list[Scores] = []
        self._held: list[Prediction] = []
        self._folds: list[FoldRows] = []
        self._tests: list[Prediction] = []
        self._task = REGRESSION

    def held_out(self, fold: FoldRows, said: Prediction) -> None:
        """What the fold's model said about the rows it did not see."""
        self._task = said.task
        self._folds.append(fold)
        self._held.append(said)
        self._scores.append(score(self._y[fold.held], said, fold.fold_id, "val"))

    def training(self, said: Prediction) -> None:
        """What a model said about the rows it was fitted on, where nothing is held out."""
        self._task = said.task
        self._scores.append(score(self._y, said, None, "train"))

    def test(self, said: Prediction, *, alone: bool = False) -> None:
        """What one fit said about the test rows; ``alone`` when it is the one that counts."""
        if alone:
            self._tests.clear()
        self._tests.append(said)

    def close(
        self,
        selector: DataSelector,
        name: str,
        class_name: str,
        artifact_ids: list[str],
        sources: tuple[TrainedModel, ...] = (),
    ) -> TrainedModel:
        """All of it as a value."""
        rows, held = merge_folds(self._folds, self._held, len(self._y))
        test = average(self._tests) if self._tests else None
        scores = list(self._scores)
        if test is not None and self._y_test is not None:
            scores.append(score(self._y_test, test, None, "test"))
        return TrainedModel(
            selector,
            name,
            class_name,
            self._task,
            tuple(artifact_ids),
            tuple(scores),
            rows,
            held,
            tuple(self._folds),
            test,
            sources,
        )


def score(y: np.ndarray, said: Prediction, fold_id: int | None, partition: str) -> Scores:
    """The numbers that fit the task."""
    if said.task == REGRESSION:
        return Scores(fold_id, partition, len(y), rmse(y, said.values), r2(y, said.values))
    return Scores(fold_id, partition, len(y), accuracy=accuracy(y, said.values))


def merge_folds(
    folds: list[FoldRows], held: list[Prediction], n: int
) -> tuple[np.ndarray, Prediction | None]:
    """The held-out rows in order, and one prediction for each of them."""
    if not folds:
        return np.arange(0), None
    at = np.concatenate([fold.held for fold in folds])
    counts = np.bincount(at, minlength=n)
    rows = np.flatnonzero(counts)
    labels, tables = as_tables(held)
    if counts.max() == 1:
        order = np.argsort(at, kind="stable")
        values = np.concatenate([one.values for one in held])[order]
        whole = from_table(held, labels, np.concatenate(tables)[order])
        # What the models said, not what the largest probability says: some classifiers differ.
        return rows, Prediction(values, whole.task, whole.labels, whole.probabilities)
    total = np.zeros((n, *tables[0].shape[1:]))
    for fold, table in zip(folds, tables, strict=True):
        # add.at, since a bootstrap may hold a row out twice in one fold.
        np.add.at(total, fold.held, table)
    shape = (-1, *([1] * (total.ndim - 1)))
    return rows, from_table(held, labels, total[rows] / counts[rows].reshape(shape))

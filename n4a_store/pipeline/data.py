"""The data on its way through a pipeline, as frozen values.

:class:`TrainingData` is what the user gave, checked once at the door. A :class:`Lane` is what
one fit sees: all rows before the splitter, one fold's rows after it. A :class:`PathState` is
one place on one path of branches: the lanes there, and the models trained on the way.

A lane keeps its training rows, its held-out rows and the test rows as matrices of their own and
transforms each by itself, as scikit-learn's ``Pipeline`` inside ``cross_val_predict`` does:
that is what makes the numbers equal bit for bit.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from n4a_store.errors import InvalidInputError
from n4a_store.pipeline.columns import (
    TrainedColumns,
    check_names,
    column_names,
    no_numbers,
    without_nulls,
)
from n4a_store.pipeline.context import DataSelector
from n4a_store.pipeline.evaluation import TrainedModel

__all__ = [
    "Encoder",
    "Lane",
    "PathState",
    "TrainingData",
    "as_table",
    "check_data",
    "frozen",
    "initial_state",
    "is_sparse",
    "received",
    "table_bytes",
]


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a run trains on: rows are samples.

    Args:
        X: Features, (n, p).
        y: Targets, (n,) or (n, t).
        X_test, y_test: Rows that no fit ever sees; targets may be missing.
        groups: A group per row, for splitters that want it.
        columns: The names of the features, where X had some.
    """

    X: Any
    y: np.ndarray
    X_test: Any = None
    y_test: np.ndarray | None = None
    groups: np.ndarray | None = None
    columns: TrainedColumns | None = None

    @property
    def rows(self) -> int:
        """The number of training rows."""
        return int(self.X.shape[0])


_SPARSE_PARTS = ("data", "indices", "indptr")


def as_table(X: Any, what: str) -> Any:
    """``X`` as a table of numbers with two dimensions.

    Raises:
        InvalidInputError: It has another shape, or is empty.
    """
    table = X.tocsr() if is_sparse(X) else _as_array(X, what)
    if table.ndim != 2:
        hint = "one row a sample: reshape(1, -1) for a single one" if table.ndim == 1 else None
        raise InvalidInputError(
            f"{what} must have two dimensions, (samples, features), not shape {table.shape}",
            hint=hint,
        )
    if table.dtype.kind not in "biuf":
        said = "objects" if table.dtype == object else f"{table.dtype}"
        raise InvalidInputError(f"{what} holds {said}, not numbers{no_numbers(X)}")
    if 0 in table.shape:
        raise InvalidInputError(f"{what} is empty: shape {table.shape}")
    return _plain(table)


def _as_array(values: Any, what: str) -> np.ndarray:
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        # An array of its numbers holds what lies below the mask as well, and nobody would know.
        raise InvalidInputError(
            f"{what} has masked values, which would be taken for measured ones",
            hint=f"leave them out, or pass {what}.filled(np.nan) to a model that takes NaN",
        )
    try:
        return without_nulls(values, np.asarray(values))
    except ValueError as error:  # rows of different lengths
        raise InvalidInputError(f"{what} is no array: {error}") from error


def _plain(array: Any) -> Any:
    """The same array with numpy's own dtype object and class, frozen.

    An array that came through a pickle, as in a worker process, has a dtype that equals the
    usual one without being it, or is mapped from a file; estimators copy that, and their pickles
    then differ in nothing else.
    """
    if not isinstance(array, np.ndarray):
        return frozen(array)
    plain = np.asarray(array)
    return frozen(plain if array.dtype.hasobject else plain.view(np.dtype(array.dtype.str)))


def frozen(table: Any) -> Any:
    """The same rows, which nobody may change: branches and pipelines share what they train on."""
    if is_sparse(table):
        return _frozen_sparse(table)
    if not isinstance(table, np.ndarray):
        return table
    shared = table.view()
    shared.flags.writeable = False
    return shared


def is_sparse(table: Any) -> bool:
    """Whether ``table`` is a sparse matrix or array of scipy."""
    return callable(getattr(table, "tocsr", None))


def table_bytes(table: Any) -> int:
    """What the numbers of a table take in memory."""
    if is_sparse(table):
        rows = table.tocsr()
        return sum(getattr(rows, part).nbytes for part in _SPARSE_PARTS)
    return int(getattr(table, "nbytes", 0))


def _frozen_sparse(table: Any) -> Any:
    """A sparse table of its own over the same numbers, none of which can be written.

    Of its own, because a step can change a sparse table without writing a number: scikit-learn's
    own SVC gives the one it is handed other arrays.
    """
    rows = table.tocsr()
    if not rows.has_sorted_indices:
        # Who needs them in order sorts them in place.
        rows = rows.sorted_indices()
    shared = copy.copy(rows)
    for part in _SPARSE_PARTS:
        setattr(shared, part, frozen(getattr(rows, part)))
    return shared


def _targets(y: Any, rows: int, what: str) -> Any:
    targets = _as_array(y, what)
    if targets.ndim not in (1, 2) or targets.shape[0] != rows:
        raise InvalidInputError(
            f"{what} must have one entry for each of the {rows} rows, not shape {targets.shape}"
        )
    if targets.dtype.kind in "mM":
        # Estimators would take the nanoseconds since 1970, and say what comes out in floats.
        raise InvalidInputError(
            f"{what} holds {targets.dtype}, not numbers or labels",
            hint="turn it into numbers in a unit of your choice",
        )
    return _plain(targets)


def received(value: Any) -> Any:
    """The same data in a process that they were sent to: a dataclass with arrays anywhere."""
    if isinstance(value, np.ndarray) or is_sparse(value):
        return _plain(value)
    if isinstance(value, tuple):
        return value if hasattr(value, "_fields") else type(value)(map(received, value))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: received(getattr(value, f.name)) for f in fields(value)})
    return value


def check_data(X: Any, y: Any, X_test: Any, y_test: Any, groups: Any) -> TrainingData:
    """The user's arrays, checked against each other before anything is fitted.

    Raises:
        InvalidInputError: Shapes do not fit together; the message names the argument.
    """
    table = as_table(X, "X")
    rows, columns = table.shape
    targets = _targets(y, rows, "y")
    classes = None if groups is None else _targets(groups, rows, "groups")
    names = column_names(X)
    kept = TrainedColumns.of(names)
    if X_test is None:
        if y_test is not None:
            raise InvalidInputError("y_test was given without X_test")
        return TrainingData(table, targets, groups=classes, columns=kept)
    test = as_table(X_test, "X_test")
    if test.shape[1] != columns:
        raise InvalidInputError(f"X_test has {test.shape[1]} features, X has {columns}")
    check_names(column_names(X_test), names, "X_test has other columns than X")
    test_targets = None if y_test is None else _targets(y_test, test.shape[0], "y_test")
    return TrainingData(table, targets, test, test_targets, classes, kept)


@dataclass(frozen=True, slots=True)
class Encoder:
    """A fitted step of y-processing on a lane."""

    artifact_id: str
    fitted: Any


@dataclass(frozen=True, slots=True)
class Lane:
    """The data of one fit.

    Args:
        fold_id: The fold; None for all rows.
        train_rows, held_rows: Row numbers in the user's data; ``held_rows`` is empty where
            nothing is held out, and ``X_held`` is None.
        X_train, X_held, X_test: Features as transformed so far.
        y_train: Targets as processed so far.
        transformers: The ids of the fitted transformers so far, in order.
        encoders: The fitted y-processing so far, in order.
    """

    fold_id: int | None
    train_rows: np.ndarray
    held_rows: np.ndarray
    X_train: Any
    X_held: Any
    X_test: Any
    y_train: np.ndarray
    transformers: tuple[str, ...] = ()
    encoders: tuple[Encoder, ...] = ()

    def handed(self) -> Lane:
        """The same for one fit: what it does to the tables it is given, no other fit sees."""
        if not is_sparse(self.X_train):
            return self
        tables = {part: frozen(getattr(self, part)) for part in ("X_train", "X_held", "X_test")}
        return replace(self, **tables)

    @property
    def dependencies(self) -> list[str]:
        """What a model fitted on this lane depends on: transformers, then y-processing."""
        return [*self.transformers, *(encoder.artifact_id for encoder in self.encoders)]


@dataclass(frozen=True, slots=True)
class PathState:
    """One place on one path.

    Args:
        selector: Which path.
        lanes: The data there: one lane with all rows, or one a fold.
        is_split: Whether the splitter lies behind. With ``refits``, a last lane then goes on
            with all rows, for models that are fitted once more on everything.
        models: The models trained on the way here.
    """

    selector: DataSelector
    lanes: tuple[Lane, ...]
    is_split: bool = False
    models: tuple[TrainedModel, ...] = ()
    refits: bool = False

    def with_lanes(self, lanes: list[Lane]) -> PathState:
        """The same place with other data."""
        return replace(self, lanes=tuple(lanes))

    def with_model(self, model: TrainedModel) -> PathState:
        """The same place, one model further."""
        return replace(self, models=(*self.models, model))

    def enter(self, index: int, name: str) -> PathState:
        """The state at the entrance of a branch."""
        return replace(self, selector=self.selector.enter(index, name))


def initial_state(data: TrainingData, *, refits: bool) -> PathState:
    """The state before the first step: one lane with all rows."""
    lane = Lane(None, np.arange(data.rows), np.arange(0), data.X, None, data.X_test, data.y)
    return PathState(DataSelector(), (lane,), refits=refits)

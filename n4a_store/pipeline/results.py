"""Scores as frozen rows, and the list that holds them.

A row is one number set for one model on one set of rows: ``fold_id`` and ``partition`` say
which. ``Results`` is a list of them that turns into a table of pandas or polars where one is
installed. ``rank_models`` holds the one rule for what "best" means.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from n4a_store.errors import InvalidInputError

__all__ = ["ModelScore", "ResultRow", "Results", "Scores", "best_model", "rank_models"]

REGRESSION = "regression"
CLASSIFICATION = "classification"


@dataclass(frozen=True, slots=True)
class Scores:
    """The numbers of one model on one set of rows, see :class:`ResultRow`."""

    fold_id: int | None
    partition: str
    n: int
    rmse: float | None = None
    r2: float | None = None
    accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class ResultRow:
    """The scores of one model on one set of rows.

    Args:
        pipeline_id, branch_path, branch_names, step_index: Which model.
        model, class_name: What it is called, and the class of the estimator.
        task: ``regression`` or ``classification``.
        fold_id: The fold whose model predicted; None for the average of all folds, or for a
            model that was fitted on all rows.
        partition: ``train``, ``val`` (rows held out of the fit) or ``test``.
        n: The number of rows.
        rmse, r2: For regression; r2 is None where it is not defined.
        accuracy: For classification.
        feeds_stack: Whether a meta-model of the pipeline is fed by this model. It then predicts
            through that, and is not ranked.
    """

    run_id: str
    pipeline_id: str
    branch_path: tuple[int, ...]
    branch_names: tuple[str, ...]
    step_index: int
    model: str
    class_name: str
    task: str
    fold_id: int | None
    partition: str
    n: int
    rmse: float | None = None
    r2: float | None = None
    accuracy: float | None = None
    feeds_stack: bool = False

    @property
    def score(self) -> float | None:
        """The number that counts for this task: RMSE, or accuracy."""
        return self.rmse if self.task == REGRESSION else self.accuracy

    def to_dict(self) -> dict[str, Any]:
        """The row as plain values."""
        return asdict(self)


class Results(list[ResultRow]):
    """Rows of a run, in the order of training."""

    def select(self, **wanted: Any) -> Results:
        """The rows whose fields have these values: ``select(partition="val", fold_id=0)``.

        Raises:
            InvalidInputError: A field that rows do not have.
        """
        known = {field.name for field in fields(ResultRow)}
        for name in wanted:
            if name not in known:
                raise InvalidInputError(
                    f"result rows have no field {name!r}", hint=f"fields: {', '.join(known)}"
                )
        return Results(
            row for row in self if all(getattr(row, name) == wanted[name] for name in wanted)
        )

    def _columns(self) -> dict[str, list[Any]]:
        names = [field.name for field in fields(ResultRow)]
        columns = {name: [getattr(row, name) for row in self] for name in names}
        # A table's cell holds text, not a tuple: "0/2" and "snv/deep".
        for name in ("branch_path", "branch_names"):
            columns[name] = ["/".join(map(str, value)) for value in columns[name]]
        return columns

    def to_pandas(self) -> Any:
        """The rows as a ``pandas.DataFrame``.

        Raises:
            InvalidInputError: pandas is not installed.
        """
        return _library("pandas").DataFrame(self._columns())

    def to_polars(self) -> Any:
        """The rows as a ``polars.DataFrame``.

        Raises:
            InvalidInputError: polars is not installed.
        """
        return _library("polars").DataFrame(self._columns())


def _library(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InvalidInputError(
            f"{name} is not installed", hint=f"pip install {name}, or read the rows as they are"
        ) from error


@dataclass(frozen=True, slots=True)
class ModelScore:
    """One model's place in a ranking.

    Args:
        score: The mean over folds of the validation RMSE or accuracy; of the training rows
            when the pipeline held nothing out.
        validated: Whether the score comes from rows that were held out.
        run_id: The run that trained it.
    """

    pipeline_id: str
    branch_path: tuple[int, ...]
    step_index: int
    model: str
    task: str
    score: float
    validated: bool
    run_id: str


def rank_models(rows: Iterable[ResultRow]) -> list[ModelScore]:
    """The models of some rows, best first, without those that feed a stack.

    Validated models come before those that held nothing out. Lowest mean validation RMSE, or
    highest accuracy; ties go to the earliest.

    Raises:
        InvalidInputError: Regressors and classifiers, which no single number compares.
    """
    groups: dict[tuple[str, tuple[int, ...], int], list[ResultRow]] = {}
    for row in rows:
        if row.feeds_stack:
            continue
        key = (row.pipeline_id, tuple(row.branch_path), row.step_index)
        groups.setdefault(key, []).append(row)
    scores = [score for group in groups.values() if (score := _mean_score(group)) is not None]
    if len({score.task for score in scores}) > 1:
        raise InvalidInputError(
            "regressors and classifiers cannot be ranked against each other",
            hint="name the pipeline, or rank the rows of one task",
        )
    # A stable sort keeps the order of training among equals.
    return sorted(scores, key=_ranking)


def best_model(rows: Iterable[ResultRow]) -> ModelScore | None:
    """The first of :func:`rank_models`, or None without any score."""
    ranked = rank_models(rows)
    return ranked[0] if ranked else None


def _ranking(score: ModelScore) -> tuple[bool, float]:
    value = score.score if score.task == REGRESSION else -score.score
    # A NaN compares with nothing; a model that scores NaN is the worst.
    return (not score.validated, value if value == value else float("inf"))  # noqa: PLR0124


def _mean_score(rows: list[ResultRow]) -> ModelScore | None:
    for partition in ("val", "train"):
        found = [row.score for row in rows if row.partition == partition]
        values = [value for value in found if value is not None]
        if values:
            row = rows[0]
            return ModelScore(
                row.pipeline_id,
                tuple(row.branch_path),
                row.step_index,
                row.model,
                row.task,
                sum(values) / len(values),
                partition == "val",
                row.run_id,
            )
    return None

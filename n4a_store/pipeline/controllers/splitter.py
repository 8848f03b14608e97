"""The splitter: from one lane with all rows to one lane a fold.

What stands before it has been fitted on all rows, what follows is fitted within each fold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from n4a_store.artifacts.types import ArtifactType
from n4a_store.errors import InvalidInputError
from n4a_store.pipeline.controllers.base import Controller
from n4a_store.pipeline.data import Lane, PathState, frozen
from n4a_store.pipeline.estimators import (
    class_name,
    clone_estimator,
    instantiate,
    is_splitter,
)
from n4a_store.pipeline.rehearsal import Outlook, Rehearsal
from n4a_store.pipeline.steps import Place, Step

if TYPE_CHECKING:
    from n4a_store.pipeline.data import TrainingData
    from n4a_store.pipeline.orchestrator import Orchestrator

__all__ = ["SplitterController"]


class SplitterController(Controller):
    """``KFold(3)`` or ``{"split": KFold(3)}``."""

    keyword: ClassVar[str] = "split"
    serves_models: ClassVar[bool] = True

    def claims(self, obj: object) -> bool:
        """Whatever can split and cannot be fitted."""
        return is_splitter(obj)

    def parse(self, value: Any, options: Mapping[str, Any], place: Place) -> Step:
        """One splitter."""
        operator = instantiate(value)
        if not is_splitter(operator):
            raise place.fail(f"{class_name(operator)} is no splitter: no split method")
        return place.step(self.keyword, operator, name=class_name(operator))

    def foresee(self, step: Step, outlook: Outlook, rehearsal: Rehearsal) -> list[Outlook]:
        """The rows are split; not twice."""
        if outlook.is_split:
            raise _split_already(step, outlook.behind(step))
        return [replace(outlook, is_split=True)]

    def run(self, step: Step, state: PathState, orchestrator: Orchestrator) -> list[PathState]:
        """Register the splitter and cut the lane into folds."""
        if state.is_split:
            raise _split_already(step)
        context = orchestrator.context
        splitter = clone_estimator(step.operators[0])
        whole = state.lanes[0]
        folds = _folds(splitter, whole.handed().X_train, context.training, step)
        selector = state.selector.at(step.index)
        context.artifact_registry.register(
            splitter,
            selector.artifact_id(context.pipeline_id),
            ArtifactType.SPLITTER,
            depends_on=list(whole.transformers),
        )
        lanes = [_cut(whole, fold, train, held) for fold, (train, held) in enumerate(folds)]
        if state.refits:
            lanes.append(whole)
        return [replace(state, lanes=tuple(lanes), is_split=True)]


def _split_already(step: Step, path: str = "") -> InvalidInputError:
    return InvalidInputError(
        f"{step.where}: the rows are already split into folds{path or ' on this path'}",
        hint="one splitter a path; branches may have one each",
    )


def _folds(
    splitter: Any, X: Any, data: TrainingData, step: Step
) -> list[tuple[np.ndarray, np.ndarray]]:
    given = (X, data.y) if data.groups is None else (X, data.y, data.groups)
    folds = [
        (_rows(train, data.rows, step), _rows(held, data.rows, step))
        for train, held in splitter.split(*given)
    ]
    if not folds:
        raise InvalidInputError(f"{step.where}: {class_name(splitter)} gave no fold")
    return folds


def _rows(rows: Any, n: int, step: Step) -> np.ndarray:
    array = np.asarray(rows)
    if array.dtype == bool:
        array = np.flatnonzero(array)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu":
        raise InvalidInputError(
            f"{step.where}: a fold is two lists of row numbers, neither empty, not {rows!r:.80}"
        )
    outside = array[(array < 0) | (array >= n)]
    if outside.size:
        raise InvalidInputError(f"{step.where}: a fold names row {outside[0]} of {n} rows")
    return array


def _cut(whole: Lane, fold: int, train: np.ndarray, held: np.ndarray) -> Lane:
    return replace(
        whole,
        fold_id=fold,
        train_rows=train,
        held_rows=held,
        X_train=frozen(whole.X_train[train]),
        X_held=frozen(whole.X_train[held]),
        y_train=frozen(whole.y_train[train]),
    )

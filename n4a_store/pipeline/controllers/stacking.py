"""Stacking: a meta-model fitted on what other models said about rows they had not seen.

``{"stack": Ridge()}`` takes the models before it on its path (meta-models only when
``"sources"`` names them), one column or more for each, in order; two models of one class are
two sources. The meta-model is fitted once, on the held-out predictions of all rows that have
one from every source, with the user's own targets: what scikit-learn's ``StackingRegressor``
does. Its scores come from copies that are fitted without the fold they are scored on.

After branches the stack runs in each of them, over that branch's models, like every step;
``"over": "branches"`` makes it one stack over the models of all branches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import numpy as np

from n4a_store.artifacts.types import ArtifactType, MetaModelConfig, SourceModelRef
from n4a_store.errors import InvalidInputError
from n4a_store.pipeline.context import DataSelector
from n4a_store.pipeline.controllers.base import Controller
from n4a_store.pipeline.controllers.model import read_model
from n4a_store.pipeline.data import PathState
from n4a_store.pipeline.estimators import class_name, clone_estimator
from n4a_store.pipeline.evaluation import Evaluation, FoldRows, TrainedModel
from n4a_store.pipeline.predictions import Prediction, as_columns, predict
from n4a_store.pipeline.rehearsal import Outlook, Rehearsal
from n4a_store.pipeline.steps import Place, Step

if TYPE_CHECKING:
    from n4a_store.pipeline.orchestrator import Orchestrator

__all__ = ["StackingController", "column_names"]

_PATH, _BRANCHES = "path", "branches"


class StackingController(Controller):
    """``{"stack": Ridge(), "name": ..., "params": ..., "sources": [...], "over": ...}``."""

    keyword: ClassVar[str] = "stack"
    options: ClassVar[frozenset[str]] = frozenset({"name", "params", "sources", "over"})
    trains: ClassVar[bool] = True
    needs_rows: ClassVar[bool] = False

    def joins(self, step: Step) -> bool:
        """Whether it is one stack over the models of all branches."""
        return bool(step.options["over"] == _BRANCHES)

    def parse(self, value: Any, options: Mapping[str, Any], place: Place) -> Step:
        """One estimator, and which models feed it."""
        operator = read_model(value, options, place)
        sources = options.get("sources")
        if sources is not None:
            _check_sources(sources, place)
        over = options.get("over", _PATH)
        if over not in (_PATH, _BRANCHES):
            raise place.fail(f'"over" is "{_PATH}" or "{_BRANCHES}", not {over!r}')
        return place.step(
            self.keyword,
            operator,
            name=place.name(options, operator),
            options={"sources": None if sources is None else tuple(sources), "over": over},
        )

    def foresee(self, step: Step, outlook: Outlook, rehearsal: Rehearsal) -> list[Outlook]:
        """One model more, if there is something to feed it."""
        _chosen(step, list(outlook.models), outlook.behind(step))
        return [outlook.with_model(step, is_stack=True)]

    def foresee_all(
        self, step: Step, outlooks: list[Outlook], rehearsal: Rehearsal
    ) -> list[Outlook] | None:
        """One model more on each path, or one over all paths that come here."""
        if step.options["over"] == _PATH:
            return super().foresee_all(step, outlooks, rehearsal)
        for outlook in outlooks:
            if not outlook.models:
                raise _no_model(step, outlook.behind(step))
        models = {model.place: model for outlook in outlooks for model in outlook.models}
        _chosen(step, list(models.values()))
        joined = replace(rehearsal.trunk, has_rows=False, models=tuple(models.values()))
        return [joined.with_model(step, is_stack=True)]

    def run(self, step: Step, state: PathState, orchestrator: Orchestrator) -> list[PathState]:
        """A meta-model over the models of one path."""
        sources = _chosen(step, list(state.models))
        trained = self._stack(step, state.selector, sources, orchestrator)
        return [state.with_model(trained)]

    def run_all(
        self, step: Step, states: list[PathState], orchestrator: Orchestrator
    ) -> list[PathState]:
        """One meta-model a path, or one over all paths that have come here."""
        if step.options["over"] == _PATH:
            return super().run_all(step, states, orchestrator)
        # A model before the fork lies behind several of the paths: once is enough.
        models = {model.place: model for state in states for model in state.models}
        trunk = orchestrator.trunk.selector
        trained = self._stack(step, trunk, _chosen(step, list(models.values())), orchestrator)
        joined = replace(states[0], selector=trunk, lanes=(), models=(*models.values(), trained))
        return [joined]

    def _stack(
        self,
        step: Step,
        selector: DataSelector,
        sources: list[TrainedModel],
        orchestrator: Orchestrator,
    ) -> TrainedModel:
        context = orchestrator.context
        data = context.training
        if len({source.task for source in sources}) > 1:
            raise InvalidInputError(f"{step.where}: regressors and classifiers in one stack")
        rows, X, widths = _features(step, sources)
        names = column_names(sources, widths)
        operator = step.operators[0]
        meta = clone_estimator(operator)
        meta.fit(X, data.y[rows])
        seen = Evaluation(data.y, data.y_test)
        for fold, fold_X_train, fold_train, fold_X_held in _refolded(sources[0], rows, X):
            scored = clone_estimator(operator)
            scored.fit(fold_X_train, data.y[fold_train])
            seen.held_out(fold, predict(scored, fold_X_held, ()))
        if data.X_test is not None:
            tests = [as_columns(_present(source.test), step.where) for source in sources]
            seen.test(predict(meta, np.hstack(tests), ()), alone=True)
        place = selector.at(step.index)
        artifact_id = place.artifact_id(context.pipeline_id)
        config = MetaModelConfig(_columns_of(sources, widths), tuple(names))
        context.artifact_registry.register(
            meta, artifact_id, ArtifactType.META_MODEL, config.source_ids, meta_config=config
        )
        return seen.close(place, step.name, class_name(operator), [artifact_id], tuple(sources))


def _present(said: Prediction | None) -> Prediction:
    if said is None:
        raise ValueError("a source has no predictions")
    return said


class _Source(Protocol):
    """A model, trained or foreseen."""

    @property
    def name(self) -> str: ...

    @property
    def is_stack(self) -> bool: ...

    @property
    def is_held_out(self) -> bool: ...


_S = TypeVar("_S", bound=_Source)


def _check_sources(sources: Any, place: Place) -> None:
    names = list(sources) if isinstance(sources, (list, tuple)) else [None]
    if not all(isinstance(name, str) for name in names):
        raise place.fail(f'"sources" is a list of model names, not {sources!r:.80}')
    if not names:
        raise place.fail('"sources" names no model', "leave it out to take all before the stack")
    for name in names:
        if names.count(name) > 1:
            raise place.fail(f'"sources" names {name!r} twice')


def _chosen(step: Step, models: list[_S], path: str = "") -> list[_S]:
    """The sources of a stack, in their order.

    Raises:
        InvalidInputError: There is none, one is unknown or ambiguous, or nothing is held out.
    """
    wanted = step.options["sources"]
    if wanted is None:
        found = [model for model in models if not model.is_stack]
    else:
        found = [_named(step, name, models, path) for name in wanted]
    if not found:
        raise _no_model(step, path)
    for model in found:
        if not model.is_held_out:
            raise InvalidInputError(
                f"{step.where}: {model.name} has no held-out predictions to stack{path}",
                hint="put a splitter such as KFold(3) before the models",
            )
    return found


def _no_model(step: Step, path: str) -> InvalidInputError:
    return InvalidInputError(
        f"{step.where}: no model before the stack{path}",
        hint='put {"model": ...} steps before it, outside of branches or in the same one',
    )


def _named(step: Step, name: str, models: list[_S], path: str) -> _S:
    found = [model for model in models if model.name == name]
    if len(found) == 1:
        return found[0]
    known = ", ".join(sorted({model.name for model in models})) or "none"
    said = "several models are" if found else "no model before the stack is"
    raise InvalidInputError(f"{step.where}: {said} called {name!r}{path}", hint=f"models: {known}")


def column_names(sources: Sequence[TrainedModel], widths: Sequence[int]) -> list[str]:
    """A distinct name for each column: the model's, its branch and step where that is not
    enough, and the column's number where a source has several."""
    paths = {tuple(source.selector.branch_path) for source in sources}
    names = []
    for source in sources:
        prefix = "".join(f"{name}." for name in source.selector.branch_names)
        names.append(f"{prefix}{source.name}" if len(paths) > 1 else source.name)
    counts = Counter(names)
    columns: list[str] = []
    for source, name, width in zip(sources, names, widths, strict=True):
        shown = f"{name}@{source.selector.step_index}" if counts[name] > 1 else name
        columns.extend([shown] if width == 1 else [f"{shown}[{k}]" for k in range(width)])
    return columns


def _features(step: Step, sources: list[TrainedModel]) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """The rows that every source has a prediction for, their features, and how many columns
    each source fills."""
    rows = sources[0].rows
    for source in sources[1:]:
        rows = np.intersect1d(rows, source.rows)
    if rows.size == 0:
        raise InvalidInputError(f"{step.where}: no row was held out for every source")
    blocks = []
    for source in sources:
        columns = as_columns(_present(source.held), step.where)
        blocks.append(columns[np.searchsorted(source.rows, rows)])
    return rows, np.hstack(blocks), [block.shape[1] for block in blocks]


def _columns_of(sources: list[TrainedModel], widths: list[int]) -> tuple[SourceModelRef, ...]:
    """Every model that feeds the stack with its first column; the folds of one share it."""
    refs: list[SourceModelRef] = []
    first = 0
    for source, width in zip(sources, widths, strict=True):
        refs.extend(SourceModelRef(name, first) for name in source.artifact_ids)
        first += width
    return tuple(refs)


def _refolded(source: TrainedModel, rows: np.ndarray, X: np.ndarray) -> Any:
    """The first source's folds on the rows of the stack: fold, features and rows to fit on,
    features to score on."""
    for fold in source.folds:
        held = np.intersect1d(fold.held, rows)
        train = np.setdiff1d(rows, fold.held)
        if held.size == 0 or train.size == 0:
            continue
        at = FoldRows(fold.fold_id, train, held)
        yield at, X[np.searchsorted(rows, train)], train, X[np.searchsorted(rows, held)]

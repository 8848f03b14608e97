"""Transformers: fitted on the training rows of each lane, applied to all of its rows.

Before the splitter there is one lane, so one fit on all rows; after it, one fit a fold, so that
nothing of the held-out rows leaks in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from n4a_store.artifacts.types import ArtifactType
from n4a_store.pipeline.controllers.base import Controller, check_rows, columns_of, named_errors
from n4a_store.pipeline.data import Lane, PathState
from n4a_store.pipeline.estimators import (
    class_name,
    clone_estimator,
    instantiate,
    is_transformer,
    takes_targets,
)
from n4a_store.pipeline.rehearsal import Outlook, Rehearsal
from n4a_store.pipeline.steps import Place, Step

if TYPE_CHECKING:
    from n4a_store.pipeline.orchestrator import Orchestrator

__all__ = ["TransformController"]


class TransformController(Controller):
    """``StandardScaler()`` or ``{"transform": StandardScaler(), "name": "scale"}``."""

    keyword: ClassVar[str] = "transform"
    options: ClassVar[frozenset[str]] = frozenset({"name"})

    def claims(self, obj: object) -> bool:
        """Whatever can be fitted and transform, and was not claimed as a model before."""
        return is_transformer(obj)

    def parse(self, value: Any, options: Mapping[str, Any], place: Place) -> Step:
        """One transformer."""
        operator = instantiate(value)
        if not is_transformer(operator) or not callable(getattr(operator, "transform", None)):
            raise place.fail(f"{class_name(operator)} is no transformer: no fit and transform")
        return place.step(self.keyword, operator, name=place.name(options, operator))

    def foresee(self, step: Step, outlook: Outlook, rehearsal: Rehearsal) -> list[Outlook]:
        """Neither folds nor models change."""
        return [outlook]

    def run(self, step: Step, state: PathState, orchestrator: Orchestrator) -> list[PathState]:
        """Fit on each lane and register what was fitted."""
        lanes = []
        for lane in state.lanes:
            with named_errors(step, lane):
                lanes.append(self._fit(step, lane.handed(), state, orchestrator))
        return [state.with_lanes(lanes)]

    def _fit(self, step: Step, lane: Lane, state: PathState, orchestrator: Orchestrator) -> Lane:
        context = orchestrator.context
        operator = step.operators[0]
        selector = state.selector.at(step.index, lane.fold_id)
        artifact_id = selector.artifact_id(context.pipeline_id)
        fitted, X_train = orchestrator.fits.fit_transform(
            operator, lane.X_train, lane.y_train, artifact_id
        )
        X_train = check_rows(X_train, lane.X_train.shape[0], step, operator)
        parts = {}
        for part in ("X_held", "X_test"):
            table = getattr(lane, part)
            if table is not None:
                parts[part] = check_rows(fitted.transform(table), table.shape[0], step, operator)
        context.artifact_registry.register(
            fitted,
            artifact_id,
            ArtifactType.TRANSFORMER,
            depends_on=list(lane.transformers),
            meta_config=columns_of(lane, context),
        )
        return replace(
            lane, X_train=X_train, transformers=(*lane.transformers, artifact_id), **parts
        )


def fit_transform(operator: Any, X: Any, y: Any) -> tuple[Any, Any]:
    """A fitted copy and the training rows as it gives them.

    ``fit_transform`` where there is one, as scikit-learn's ``Pipeline`` does: for some
    transformers its numbers differ in the last bit from ``fit`` and then ``transform``.
    """
    fitted = clone_estimator(operator)
    if callable(getattr(fitted, "fit_transform", None)):
        takes_y = takes_targets(fitted, "fit_transform")
        given = fitted.fit_transform(X, y) if takes_y else fitted.fit_transform(X)
        # PLS gives the scores of X and of y.
        return fitted, fitted.transform(X) if isinstance(given, tuple) else given
    if takes_targets(fitted, "fit"):
        fitted.fit(X, y)
    else:
        fitted.fit(X)
    return fitted, fitted.transform(X)

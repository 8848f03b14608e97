"""y-processing: targets scaled or encoded before the model, predictions brought back after it.

``{"y_processing": StandardScaler()}``, or a list that is applied in order and undone from its
end. Fitted on the training targets of each lane. A vector of targets goes through as one
column, as in scikit-learn's ``TransformedTargetRegressor``; an encoder of labels gets the
vector itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from n4a_store.artifacts.types import ArtifactType
from n4a_store.pipeline.controllers.base import Controller, named_errors
from n4a_store.pipeline.data import Encoder, Lane, PathState, frozen
from n4a_store.pipeline.estimators import (
    class_name,
    clone_estimator,
    instantiate,
    takes_labels_only,
)
from n4a_store.pipeline.predictions import encode_targets
from n4a_store.pipeline.rehearsal import Outlook, Rehearsal
from n4a_store.pipeline.steps import Place, Step

if TYPE_CHECKING:
    from n4a_store.pipeline.orchestrator import Orchestrator

__all__ = ["YProcessingController"]

_NEEDED = ("fit", "transform", "inverse_transform")


class YProcessingController(Controller):
    """``{"y_processing": MinMaxScaler()}`` or a list of several."""

    keyword: ClassVar[str] = "y_processing"
    serves_models: ClassVar[bool] = True

    def parse(self, value: Any, options: Mapping[str, Any], place: Place) -> Step:
        """One or several, each of which can be undone."""
        chain = value if isinstance(value, (list, tuple)) else [value]
        operators = [instantiate(operator) for operator in chain if operator is not None]
        if not operators:
            raise place.fail("y_processing without anything to apply")
        for operator in operators:
            for method in _NEEDED:
                if not callable(getattr(operator, method, None)):
                    raise place.fail(
                        f"{class_name(operator)} cannot process targets: it has no {method}",
                        hint="predictions must come back in the user's units",
                    )
        return place.step(self.keyword, *operators)

    def foresee(self, step: Step, outlook: Outlook, rehearsal: Rehearsal) -> list[Outlook]:
        """Neither folds nor models change."""
        return [outlook]

    def run(self, step: Step, state: PathState, orchestrator: Orchestrator) -> list[PathState]:
        """Fit on each lane's training targets, in order."""
        lanes = []
        for lane in state.lanes:
            with named_errors(step, lane):
                lanes.append(self._fit(step, lane, state, orchestrator))
        return [state.with_lanes(lanes)]

    def _fit(self, step: Step, lane: Lane, state: PathState, orchestrator: Orchestrator) -> Lane:
        context = orchestrator.context
        several = len(step.operators) > 1
        for place, operator in enumerate(step.operators):
            y = lane.y_train
            fitted = clone_estimator(operator)
            vector = takes_labels_only(fitted)
            fitted.fit(y.reshape(-1, 1) if y.ndim == 1 and not vector else y)
            selector = state.selector.at(step.index, lane.fold_id, place if several else None)
            artifact_id = selector.artifact_id(context.pipeline_id)
            context.artifact_registry.register(
                fitted,
                artifact_id,
                ArtifactType.ENCODER,
                depends_on=[encoder.artifact_id for encoder in lane.encoders],
            )
            lane = replace(
                lane,
                y_train=frozen(encode_targets(fitted, y)),
                encoders=(*lane.encoders, Encoder(artifact_id, fitted)),
            )
        return lane

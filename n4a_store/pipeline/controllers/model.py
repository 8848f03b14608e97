"""Models: one fit a lane, the held-out rows predicted, scores and ids kept, the model let go.

A model depends on the transformers of its lane and then on its y-processing, in order: that is
all a predictor has to know, and the store keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from n4a_store.artifacts.types import ArtifactType
from n4a_store.pipeline.controllers.base import Controller, columns_of, named_errors
from n4a_store.pipeline.data import Lane, PathState
from n4a_store.pipeline.estimators import (
    class_name,
    clone_estimator,
    instantiate,
    is_model,
    predicts,
    set_params,
)
from n4a_store.pipeline.evaluation import Evaluation, FoldRows
from n4a_store.pipeline.predictions import predict
from n4a_store.pipeline.rehearsal import Outlook, Rehearsal
from n4a_store.pipeline.steps import Place, Step

if TYPE_CHECKING:
    from n4a_store.pipeline.orchestrator import Orchestrator

__all__ = ["ModelController", "read_model"]


class ModelController(Controller):
    """``{"model": PLSRegression(), "name": "pls", "params": {"n_components": 5}}``.

    With ``"refit": True`` the model is also fitted on all rows once the folds have scored it,
    and that one predicts.
    """

    keyword: ClassVar[str] = "model"
    options: ClassVar[frozenset[str]] = frozenset({"name", "params", "refit"})
    trains: ClassVar[bool] = True

    def claims(self, obj: object) -> bool:
        """A bare regressor or classifier, or whatever predicts and does not transform."""
        return is_model(obj)

    def parse(self, value: Any, options: Mapping[str, Any], place: Place) -> Step:
        """One estimator with ``fit`` and ``predict``."""
        operator = read_model(value, options, place)
        return place.step(
            self.keyword,
            operator,
            name=place.name(options, operator),
            options={"refit": bool(options.get("refit", False))},
        )

    def foresee(self, step: Step, outlook: Outlook, rehearsal: Rehearsal) -> list[Outlook]:
        """One model more."""
        return [outlook.with_model(step)]

    def run(self, step: Step, state: PathState, orchestrator: Orchestrator) -> list[PathState]:
        """Fit on each lane, register, score."""
        data = orchestrator.context.training
        seen = Evaluation(data.y, data.y_test)
        folds: list[str] = []
        refitted: list[str] = []
        for lane in state.lanes:
            is_refit = state.is_split and lane.fold_id is None
            if is_refit and not step.options["refit"]:
                continue
            with named_errors(step, lane):
                artifact_id = self._train(step, lane.handed(), state, seen, orchestrator)
            (refitted if is_refit else folds).append(artifact_id)
        trained = seen.close(
            state.selector.at(step.index),
            step.name,
            class_name(step.operators[0]),
            refitted or folds,
        )
        return [state.with_model(trained)]

    def _train(
        self,
        step: Step,
        lane: Lane,
        state: PathState,
        seen: Evaluation,
        orchestrator: Orchestrator,
    ) -> str:
        """One fit, registered and asked about the rows that it has not seen."""
        context = orchestrator.context
        operator = step.operators[0]
        model = clone_estimator(operator)
        model.fit(lane.X_train, lane.y_train)
        artifact_id = state.selector.at(step.index, lane.fold_id).artifact_id(context.pipeline_id)
        context.artifact_registry.register(
            model,
            artifact_id,
            ArtifactType.MODEL,
            depends_on=lane.dependencies,
            meta_config=columns_of(lane, context),
        )
        encoders = [encoder.fitted for encoder in lane.encoders]
        if lane.X_test is not None:
            is_refit = state.is_split and lane.fold_id is None
            seen.test(predict(model, lane.X_test, encoders), alone=is_refit)
        if lane.fold_id is not None:
            rows = FoldRows(lane.fold_id, lane.train_rows, lane.held_rows)
            seen.held_out(rows, predict(model, lane.X_held, encoders))
        elif not state.is_split:
            seen.training(predict(model, lane.X_train, encoders))
        return artifact_id


def read_model(value: Any, options: Mapping[str, Any], place: Place) -> Any:
    """The estimator of a model step, with the step's own parameters set.

    Raises:
        InvalidInputError: It cannot be fitted or cannot predict, or does not know a parameter.
    """
    operator = instantiate(value)
    if not predicts(operator):
        lacks = "predict" if callable(getattr(operator, "fit", None)) else "fit"
        raise place.fail(f"{class_name(operator)} is no model: it has no {lacks}")
    params = options.get("params") or {}
    if not isinstance(params, Mapping):
        raise place.fail(f'"params" is a dict, not {type(params).__name__}')
    return set_params(operator, params, place.where) if params else operator

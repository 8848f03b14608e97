"""Runs the steps of one pipeline and keeps the stack of branch paths.

The orchestrator knows no kind of step: it hands each to its controller and follows the paths
that come back. What a step's estimator raises comes out as a :class:`PipelineStepError` that
names the step; errors of the store pass through as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from n4a_store.artifacts.types import ArtifactType, register_artifact_type
from n4a_store.errors import InvalidInputError, SerializationError
from n4a_store.pipeline.context import RuntimeContext
from n4a_store.pipeline.controllers import CONTROLLERS, Controller
from n4a_store.pipeline.controllers.base import PipelineStepError, named_errors
from n4a_store.pipeline.data import PathState, initial_state
from n4a_store.pipeline.evaluation import TrainedModel
from n4a_store.pipeline.fit_cache import FitCache
from n4a_store.pipeline.model_facts import ModelFacts
from n4a_store.pipeline.results import ResultRow
from n4a_store.pipeline.steps import Program, Step

__all__ = ["OF_THE_PIPELINE", "PREDICTIONS", "Orchestrator", "PipelineStepError"]

PREDICTIONS: ArtifactType = register_artifact_type("predictions")
"""Held-out and test predictions, numpy arrays with the scores beside them."""


# What a pipeline may raise without ending the run: its estimators' errors, data that do not fit
# one of its steps, an object that cannot be stored. Any other error of the store ends the run.
OF_THE_PIPELINE = (PipelineStepError, InvalidInputError, SerializationError)


class Orchestrator:
    """Trains one pipeline.

    Args:
        context: The registry, the pipeline's id and the data.
        controllers: The kinds of steps.
    """

    def __init__(
        self, context: RuntimeContext, controllers: Sequence[Controller] = CONTROLLERS
    ) -> None:
        self.context = context
        self.fits = FitCache() if context.fits is None else context.fits
        self._controllers = {controller.keyword: controller for controller in controllers}
        self._paths: list[PathState] = []

    @property
    def trunk(self) -> PathState:
        """Where the list of steps that is being run began: the path that its forks share."""
        return self._paths[-1]

    def train(self, program: Program) -> list[ResultRow]:
        """Run all steps, register models and predictions, and give the scores.

        Raises:
            PipelineStepError: An estimator failed; the message names the step.
            InvalidInputError: The data do not fit a step.
        """
        refits = any(step.options.get("refit") for step in program.walk())
        self.fits.begin()
        start = initial_state(self.context.training, refits=refits)
        ends = self.run_steps(program.steps, [start])
        # A model before a fork lies behind every path through it.
        models = {model.place: model for state in ends for model in state.models}
        trained = sorted(models.values(), key=lambda m: m.selector.step_index or 0)
        fed = {source.place for model in trained for source in model.sources}
        rows: list[ResultRow] = []
        for place, model in enumerate(trained):
            facts = ModelFacts.of(
                model,
                self.context,
                self.fits.made if place == 0 else {},
                feeds_stack=model.place in fed,
            )
            rows.extend(self._register(model, facts, program.end))
        return rows

    def run_steps(self, steps: Sequence[Step], states: list[PathState]) -> list[PathState]:
        """Run a list of steps from the same place on, through every fork inside it."""
        self._paths.append(states[0])
        try:
            at = 0
            while at < len(steps):
                step, at = steps[at], at + 1
                if self.context.arms is not None and len(step.branches) > 1:
                    joined = self._next_join(steps, at)
                    following, at = steps[at:joined], joined
                    states = self._run_arms(step, following, states)
                else:
                    states = self._run_step(step, states)
            return states
        finally:
            self._paths.pop()

    def _next_join(self, steps: Sequence[Step], start: int) -> int:
        """The first step from ``start`` on that needs all paths at once."""
        for at in range(start, len(steps)):
            if self._controllers[steps[at].keyword].joins(steps[at]):
                return at
        return len(steps)

    def _run_arms(
        self, step: Step, following: Sequence[Step], states: list[PathState]
    ) -> list[PathState]:
        """A branch step and what follows it, its arms side by side."""
        assert self.context.arms is not None
        return [
            end
            for state in states
            for end in self.context.arms.run(step, following, state, self.context)
        ]

    def _run_step(self, step: Step, states: list[PathState]) -> list[PathState]:
        controller = self._controllers[step.keyword]
        if controller.needs_rows and not all(state.lanes for state in states):
            raise InvalidInputError(f"{step.where}: nothing but a stack follows a joining stack")
        with named_errors(step):
            return controller.run_all(step, states, self)

    def _register(self, model: TrainedModel, facts: ModelFacts, end: int) -> list[ResultRow]:
        """The predictions of one model as artifacts behind the last step.

        Held-out ones stand at step ``end``, test ones at ``end + 1``, each with the model's own
        step as the sub-step. Without either, the scores still need a record to stand in.
        """
        context = self.context
        kept: list[tuple[str, int, Any]] = []
        if model.held is not None or model.test is None:
            kept.append(("val", end, _full_length(model, context.training.rows)))
        if model.test is not None:
            kept.append(("test", end + 1, _plain(model.test.values)))
        for place, (partition, step, values) in enumerate(kept):
            selector = model.selector.at(step, None, model.selector.step_index)
            context.artifact_registry.register(
                values,
                selector.artifact_id(context.pipeline_id),
                PREDICTIONS,
                depends_on=list(model.artifact_ids),
                params={},
                meta_config={"partition": partition} | (facts.to_dict() if place == 0 else {}),
            )
        return facts.rows(context.run_id, context.pipeline_id, model.selector.branch_path)


def _full_length(model: TrainedModel, n: int) -> np.ndarray:
    """A value for each training row; NaN, or None among labels, where none was held out."""
    if model.held is None:
        return np.empty(0)
    values = _plain(model.held.values)
    if len(values) == n:
        return values
    blank: Any = np.nan if values.dtype.kind == "f" else None
    full = np.full((n, *values.shape[1:]), blank, values.dtype if blank is not None else object)
    full[model.rows] = values
    return full


def _plain(values: np.ndarray) -> np.ndarray:
    """Labels that came as objects but are all text, as an array of text."""
    if values.dtype == object and all(isinstance(value, str) for value in values.ravel()):
        return values.astype(str)
    return values

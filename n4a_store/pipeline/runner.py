"""Trains the pipelines of a run, each durable and visible the moment it is complete.

A pipeline that fails leaves nothing and the sweep goes on; the result says which failed and
why. An interrupt or an error of the store ends the run as failed and keeps what is complete.
Everything about the definition and the data is checked before the first fit.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from n4a_store.artifacts.registry import ArtifactRegistry, RunHandle
from n4a_store.artifacts.workspace import Workspace
from n4a_store.errors import InvalidInputError, SerializationError
from n4a_store.pipeline.context import RuntimeContext
from n4a_store.pipeline.controllers import CONTROLLERS, Controller
from n4a_store.pipeline.data import TrainingData, check_data
from n4a_store.pipeline.fit_cache import FitCache
from n4a_store.pipeline.orchestrator import Orchestrator, PipelineStepError
from n4a_store.pipeline.plan import PipelinePlan, data_identity, plan_pipelines
from n4a_store.pipeline.progress import Progress, ProgressCallback, terminal_bar
from n4a_store.pipeline.results import ResultRow, Results
from n4a_store.pipeline.run_result import Outcome, PipelineOutcome, RunResult

__all__ = ["PipelineRunner"]

_log = logging.getLogger(__name__)

# What a pipeline may raise without ending the run: its estimators' errors, data that do not fit
# one of its steps, an object that cannot be stored. Any other error of the store ends the run.
_OF_THE_PIPELINE = (PipelineStepError, InvalidInputError, SerializationError)


# The run object is written anew with each pipeline: it must not grow with a sweep that fails.
_MOST_NOTED = 100
_LONGEST_REASON = 300


class PipelineRunner:
    """Trains pipelines of scikit-learn-style steps into the stores of a workspace.

    ::

        runner = PipelineRunner("workspace")
        run = runner.run(
            [StandardScaler(), KFold(3), {"model": PLSRegression(n_components=5)}],
            X, y, dataset="corn_m5",
        )
        print(run.best)

    Args:
        workspace: The folder of the workspace; created when there is none.
        progress: Called after each pipeline; None shows a bar on stderr if that is a terminal.
        controllers: The kinds of steps.
    """

    def __init__(
        self,
        workspace: str | os.PathLike[str] | Workspace,
        *,
        progress: ProgressCallback | None = None,
        controllers: Sequence[Controller] = CONTROLLERS,
    ) -> None:
        self.workspace = workspace if isinstance(workspace, Workspace) else Workspace(workspace)
        self._progress = progress
        self._controllers = controllers

    def run(  # noqa: PLR0913 - the arrays of a training, then options by name
        self,
        pipeline: Sequence[Any] | Mapping[str, Any],
        X: Any,
        y: Any,
        dataset: str,
        *,
        X_test: Any = None,
        y_test: Any = None,
        groups: Any = None,
        name: str | None = None,
        message: str = "",
    ) -> RunResult:
        """Train every pipeline that the definition stands for.

        Args:
            pipeline: The steps; generators in it stand for several pipelines.
            X, y: Features (n, p) and targets (n,) or (n, t).
            dataset: The dataset, one store in the workspace.
            X_test, y_test: Rows that are predicted and scored, never fitted.
            groups: A group per row, for splitters that ask for one.
            name: What the pipelines are called in their ids; else the model's name.
            message: A text to keep with the run.

        Raises:
            InvalidInputError: The definition or the data cannot work; nothing was fitted.
            StoreError: The store failed. Completed pipelines are kept.
        """
        data = check_data(X, y, X_test, y_test, groups)
        plans = plan_pipelines(pipeline, name, self._controllers)
        begun = time.perf_counter()
        with (
            closing(ArtifactRegistry(self.workspace, dataset)) as registry,
            registry.run(message=message) as run,
        ):
            sweep = _Sweep(registry, run, data, data_identity(data), self._controllers)
            report = self._progress or terminal_bar()
            for plan in plans:
                outcome = sweep.train(plan)
                if report is not None:
                    report(Progress(len(sweep.outcomes), len(plans), outcome))
        return RunResult(
            run.id,
            dataset,
            tuple(sweep.outcomes),
            Results(sweep.rows),
            sweep.fits.report,
            time.perf_counter() - begun,
        )


@dataclass(slots=True)
class _Sweep:
    """The pipelines of one run, one after the other."""

    registry: ArtifactRegistry
    run: RunHandle
    data: TrainingData
    data_id: str
    controllers: Sequence[Controller]
    fits: FitCache = field(default_factory=FitCache)
    rows: list[ResultRow] = field(default_factory=list)
    outcomes: list[PipelineOutcome] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    def train(self, plan: PipelinePlan) -> PipelineOutcome:
        """Train one pipeline and make it durable, or leave nothing of it."""
        begun = time.perf_counter()
        outcome = PipelineOutcome(plan.pipeline_id, Outcome.COMPLETE)
        try:
            rows = train_pipeline(
                plan,
                RuntimeContext(
                    self.registry,
                    plan.pipeline_id,
                    self.data,
                    self.fits,
                    self.run.id,
                    facts={"definition": plan.definition, "data": self.data_id},
                ),
                self.controllers,
            )
            self.registry.complete_pipeline(plan.pipeline_id)
            self.rows.extend(rows)
        except _OF_THE_PIPELINE as error:
            outcome = PipelineOutcome(plan.pipeline_id, Outcome.FAILED, str(error))
            self._drop(outcome)
        outcome = replace(outcome, seconds=time.perf_counter() - begun)
        self.outcomes.append(outcome)
        return outcome

    def _drop(self, failed: PipelineOutcome) -> None:
        """Leave nothing of a failed pipeline but a note in the run that says why."""
        self.registry.discard_pipeline(failed.pipeline_id)
        _log.warning("pipeline %s failed: %s", failed.pipeline_id, failed.error)
        self.failures[failed.pipeline_id] = failed.error[:_LONGEST_REASON]
        if len(self.failures) <= _MOST_NOTED:
            self.run.note({"failures": dict(self.failures)})


def train_pipeline(
    plan: PipelinePlan, context: RuntimeContext, controllers: Sequence[Controller] = CONTROLLERS
) -> list[ResultRow]:
    """Train one pipeline into the context's registry and give its scores."""
    return Orchestrator(context, controllers).train(plan.program)

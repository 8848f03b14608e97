"""Trains the pipelines of a run, each durable and visible the moment it is complete.

A pipeline that fails leaves nothing and the sweep goes on; the result says which failed and
why. An interrupt or an error of the store ends the run as failed and keeps what is complete.
Everything about the definition and the data is checked before the first fit.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from n4a_store.artifacts.registry import ArtifactRegistry
from n4a_store.artifacts.workspace import Workspace
from n4a_store.pipeline.controllers import CONTROLLERS, Controller
from n4a_store.pipeline.data import check_data
from n4a_store.pipeline.plan import plan_pipelines
from n4a_store.pipeline.pool import count_workers
from n4a_store.pipeline.progress import ProgressCallback, terminal_bar
from n4a_store.pipeline.run_result import RunResult
from n4a_store.pipeline.sweep import Sweep

__all__ = ["PipelineRunner"]


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
        n_jobs: How many processes train at once, a pipeline each, or a branch each where there
            are fewer pipelines than that; -1 is one a core.
        reuse_fits: Whether a transformer that an earlier run fitted on the same data is loaded
            instead of fitted.
        progress: Called after each pipeline; None shows a bar on stderr if that is a terminal.
        controllers: The kinds of steps.

    Raises:
        InvalidInputError: ``n_jobs`` is no number of processes.
    """

    def __init__(
        self,
        workspace: str | os.PathLike[str] | Workspace,
        *,
        n_jobs: int | None = None,
        reuse_fits: bool = True,
        progress: ProgressCallback | None = None,
        controllers: Sequence[Controller] = CONTROLLERS,
    ) -> None:
        self.workspace = Workspace(workspace)
        self._workers = count_workers(n_jobs)
        self._reuse_fits = reuse_fits
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
        resume: bool = False,
        n_jobs: int | None = None,
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
            resume: Take what earlier runs of this sweep have completed on the same data, and
                train the rest. The new run holds both.
            n_jobs: As for the runner itself, for this run only; None as the runner has it.

        Raises:
            InvalidInputError: The definition or the data cannot work; nothing was fitted.
            StoreError: The store failed. Completed pipelines are kept.
        """
        workers = self._workers if n_jobs is None else count_workers(n_jobs)
        data = check_data(X, y, X_test, y_test, groups)
        plans = plan_pipelines(pipeline, name, self._controllers)
        with (
            ArtifactRegistry(self.workspace, dataset) as registry,
            registry.run(message=message) as run,
        ):
            sweep = Sweep(registry, run, data, self._controllers, reuse_fits=self._reuse_fits)
            sweep.train(
                plans,
                workers,
                self._progress or terminal_bar(),
                resume=resume,
            )
        return sweep.result(dataset)

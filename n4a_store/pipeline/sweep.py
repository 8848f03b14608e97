"""The pipelines of one run, trained here or in workers, each completed or dropped."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace

from n4a_store.artifacts.registry import ArtifactRegistry, RunHandle
from n4a_store.artifacts.workers import adopt_handovers
from n4a_store.pipeline.arms import ArmWorkers
from n4a_store.pipeline.context import RuntimeContext
from n4a_store.pipeline.controllers import Controller
from n4a_store.pipeline.data import TrainingData
from n4a_store.pipeline.fit_cache import FitCache, FitReport
from n4a_store.pipeline.fit_index import FIT_SECONDS, FitIndex
from n4a_store.pipeline.orchestrator import OF_THE_PIPELINE, Orchestrator
from n4a_store.pipeline.parallel import Trained, open_job, train_in_workers
from n4a_store.pipeline.plan import PipelinePlan, data_identity
from n4a_store.pipeline.progress import Progress, ProgressCallback
from n4a_store.pipeline.results import ResultRow, Results
from n4a_store.pipeline.resume import completed_rows
from n4a_store.pipeline.run_result import Outcome, PipelineOutcome, RunResult
from n4a_store.repo.maintenance import maintain

__all__ = ["Sweep"]

_log = logging.getLogger(__name__)

# The run object is written anew with each pipeline: it must not grow with a sweep that fails.
_MOST_NOTED = 100
_LONGEST_REASON = 300
# How often packs are merged in a long run, where the settings ask for it.
_TIDY_EVERY = 100


class Sweep:
    """Trains plans into an open run.

    Args:
        registry: Whose run is open.
        run: That run.
        data: What to train on.
        controllers: The kinds of steps.
        reuse_fits: Whether fits of earlier runs are loaded.
    """

    def __init__(
        self,
        registry: ArtifactRegistry,
        run: RunHandle,
        data: TrainingData,
        controllers: Sequence[Controller],
        *,
        reuse_fits: bool,
    ) -> None:
        self._registry = registry
        self._run = run
        self._data = data
        self._data_id = data_identity(data)
        self._controllers = controllers
        self._reuse_fits = reuse_fits
        index = FitIndex(lambda: registry.store) if reuse_fits else None
        self._fits = FitCache(index)
        self._arms: ArmWorkers | None = None
        self._elsewhere = FitReport()
        self._rows: list[ResultRow] = []
        self._outcomes: list[PipelineOutcome] = []
        self._failures: dict[str, str] = {}
        self._begun = time.perf_counter()

    def result(self, dataset: str) -> RunResult:
        """What is to be said about it."""
        return RunResult(
            self._run.id,
            dataset,
            tuple(self._outcomes),
            Results(self._rows),
            self._fits.report.plus(self._elsewhere),
            time.perf_counter() - self._begun,
        )

    def train(
        self,
        plans: Sequence[PipelinePlan],
        workers: int,
        progress: ProgressCallback | None,
        *,
        resume: bool,
    ) -> None:
        """Train all plans; with ``resume`` those that are not complete yet."""
        done = self._resume(plans) if resume else {}

        def report(outcome: PipelineOutcome) -> None:
            self._outcomes.append(outcome)
            if progress is not None:
                progress(Progress(len(self._outcomes), len(plans), outcome))

        for pipeline_id, rows in done.items():
            self._rows.extend(rows)
            report(PipelineOutcome(pipeline_id, Outcome.RESUMED))
        todo = [plan for plan in plans if plan.pipeline_id not in done]
        # Closed at once when the caller has had enough: processes must not go on behind its back.
        with closing(self._train(todo, workers)) as outcomes:
            for done_here, outcome in enumerate(outcomes, start=1):
                report(outcome)
                if done_here % _TIDY_EVERY == 0 and self._run.completed:
                    self._tidy()
        if self._fits.slow:
            self._run.note({FIT_SECONDS: dict(self._fits.slow)})

    def _tidy(self) -> None:
        store = self._registry.store
        if store.settings.repack_while_training:
            maintain(store)

    def _train(
        self, plans: Sequence[PipelinePlan], workers: int
    ) -> Generator[PipelineOutcome, None, None]:
        """Train plans side by side, or the arms of each: whatever there is more of."""
        arms = max((len(step.branches) for plan in plans for step in plan.program.steps), default=0)
        if min(workers, max(len(plans), arms)) <= 1:
            yield from map(self._train_here, plans)
            return
        with open_job(
            self._registry,
            self._data,
            self._data_id,
            self._controllers,
            reuse_fits=self._reuse_fits,
        ) as job:
            if len(plans) < min(workers, arms):
                self._arms = ArmWorkers(self._registry, self._fits, job, workers)
                yield from map(self._train_here, plans)
            else:
                with closing(train_in_workers(plans, job, workers)) as trained:
                    for one in trained:
                        yield self._take(one)

    def _resume(self, plans: Sequence[PipelinePlan]) -> dict[str, list[ResultRow]]:
        done = completed_rows(self._registry, plans, self._data_id, self._run.id)
        if done:
            self._run.adopt_pipelines(list(done))
        return done

    def _train_here(self, plan: PipelinePlan) -> PipelineOutcome:
        begun = time.perf_counter()
        context = RuntimeContext(
            self._registry,
            plan.pipeline_id,
            self._data,
            self._fits,
            self._run.id,
            facts={"definition": plan.definition, "data": self._data_id},
            arms=self._arms,
        )
        try:
            rows = Orchestrator(context, self._controllers).train(plan.program)
            self._registry.complete_pipeline(plan.pipeline_id)
            outcome = self._completed(plan, rows)
        except OF_THE_PIPELINE as error:
            outcome = self._drop(plan, str(error))
        return replace(outcome, seconds=time.perf_counter() - begun)

    def _take(self, trained: Trained) -> PipelineOutcome:
        """Let the run adopt what a worker has trained."""
        self._elsewhere = self._elsewhere.plus(trained.fits)
        self._fits.slow.update(trained.slow)
        if trained.error is not None:
            outcome = self._drop(trained.plan, str(trained.error))
        else:
            adopt_handovers(self._registry, trained.handovers)
            outcome = self._completed(trained.plan, trained.rows)
        return replace(outcome, seconds=trained.seconds)

    def _completed(self, plan: PipelinePlan, rows: list[ResultRow]) -> PipelineOutcome:
        self._rows.extend(rows)
        return PipelineOutcome(plan.pipeline_id, Outcome.COMPLETE)

    def _drop(self, plan: PipelinePlan, reason: str) -> PipelineOutcome:
        """Leave nothing of a failed pipeline but a note in the run that says why."""
        self._registry.discard_pipeline(plan.pipeline_id)
        _log.warning("pipeline %s failed: %s", plan.pipeline_id, reason)
        text = reason.encode("utf-8", "backslashreplace").decode("utf-8")
        self._failures[plan.pipeline_id] = text[:_LONGEST_REASON]
        if len(self._failures) <= _MOST_NOTED:
            self._run.note({"failures": dict(self._failures)})
        return PipelineOutcome(plan.pipeline_id, Outcome.FAILED, reason)

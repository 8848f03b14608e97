"""The arms of a branch step, each trained in a process of its own.

An arm is a branch and what follows it on its path, up to a step that joins the branches again.
Its worker stores what it fits, held for the run, and gives back the models; the process that
trains the pipeline names all of it, so that ids and objects are those of one process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from n4a_store.artifacts.registry import ArtifactRegistry
from n4a_store.artifacts.workers import JournalEntry, WorkerJournal, adopt_journal
from n4a_store.errors import StoreError
from n4a_store.pipeline.context import RuntimeContext
from n4a_store.pipeline.data import PathState, received
from n4a_store.pipeline.fit_cache import FitCache, FitReport
from n4a_store.pipeline.orchestrator import OF_THE_PIPELINE, Orchestrator, PipelineStepError
from n4a_store.pipeline.parallel import Job, Worker
from n4a_store.pipeline.pool import Lost, WorkerPool
from n4a_store.pipeline.steps import Step

__all__ = ["ArmWorkers"]


@dataclass(frozen=True, slots=True)
class _Arm:
    """One arm.

    Args:
        pipeline_id: The pipeline.
        state: The place at its entrance.
        steps: The branch, and what follows it on this path.
    """

    pipeline_id: str
    state: PathState
    steps: tuple[Sequence[Step], Sequence[Step]]


@dataclass(frozen=True, slots=True)
class _Ends:
    """What a worker gives back: where the arm's paths end, and all that it registered."""

    states: Sequence[PathState] = ()
    entries: Sequence[JournalEntry] = ()
    branches: Sequence[tuple[str, tuple[int, ...], str]] = ()
    made: dict[str, str] = field(default_factory=dict)
    slow: dict[str, float] = field(default_factory=dict)
    fits: FitReport = field(default_factory=FitReport)
    error: StoreError | None = None


class ArmWorkers:
    """The processes that train the arms of a run's pipelines.

    Args:
        registry: Whose run is open.
        fits: The fits of this process, whose report takes in the workers'.
        job: What the workers are told.
        workers: How many processes.
    """

    def __init__(self, registry: ArtifactRegistry, fits: FitCache, job: Job, workers: int) -> None:
        self._registry = registry
        self._fits = fits
        self._job = job
        self._pool: WorkerPool[tuple[_Arm, Job], _Ends] = WorkerPool(_train, workers)

    def run(
        self, step: Step, following: Sequence[Step], state: PathState, context: RuntimeContext
    ) -> list[PathState]:
        """Train every arm of a branch step; the places where their paths end, without data.

        Raises:
            PipelineStepError: An estimator failed, or an arm killed its process.
        """
        arms = []
        for index, branch in enumerate(step.branches):
            entered = state.enter(index, branch.name)
            context.name_branch(entered.selector)
            arms.append(_Arm(context.pipeline_id, entered, (branch.steps, following)))
        states: list[PathState] = []
        found = list(self._pool.map((arm, self._job) for arm in arms))
        for branch, ends in zip(step.branches, found, strict=True):
            if isinstance(ends, Lost):
                raise PipelineStepError(f"{step.where}, branch {branch.name!r}: {ends.reason}")
            if ends.error is not None:
                raise ends.error
            adopt_journal(self._registry, ends.entries, ends.branches)
            self._fits.take(ends.made, ends.slow, ends.fits)
            states.extend(received(end) for end in ends.states)
        return states


def _train(task: tuple[_Arm, Job]) -> _Ends:
    arm, job = task
    worker = Worker.of(job)
    worker.fits.begin()
    state = received(arm.state)
    try:
        with WorkerJournal(job.ticket, worker.registry.store) as journal:
            context = RuntimeContext(
                journal, arm.pipeline_id, worker.data, worker.fits, worker.run_id
            )
            orchestrator = Orchestrator(context, job.controllers)
            states = [state]
            for steps in arm.steps:
                states = orchestrator.run_steps(steps, states)
    except OF_THE_PIPELINE as error:
        # The cause may be of a class that the other process cannot even import.
        error.__cause__ = None
        return _Ends(error=error, fits=worker.fits.report)
    return _Ends(
        [replace(end, lanes=()) for end in states],
        journal.entries,
        journal.branches,
        worker.fits.made,
        worker.fits.slow,
        worker.fits.report,
    )

"""Training pipelines in several processes, each of which registers straight into the run.

joblib does the work, which is there wherever scikit-learn is: its workers need no guard around
the main module and get what was defined there. A worker commits each pipeline it has finished,
held for the run and visible to nobody; the process that holds the run adopts it, in the order
of the plans. A worker that is killed costs the pipeline it was training.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from n4a_store.artifacts.workers import Handover, WorkerRegistry, WorkerTicket
from n4a_store.errors import BackendError, InvalidInputError, StoreError
from n4a_store.pipeline.context import RuntimeContext
from n4a_store.pipeline.controllers import Controller
from n4a_store.pipeline.data import TrainingData, received
from n4a_store.pipeline.fit_cache import FitCache, FitReport
from n4a_store.pipeline.fit_index import FitIndex
from n4a_store.pipeline.orchestrator import OF_THE_PIPELINE, Orchestrator
from n4a_store.pipeline.plan import PipelinePlan
from n4a_store.pipeline.results import ResultRow

__all__ = ["Job", "Trained", "count_workers", "train_in_workers"]


@dataclass(frozen=True, slots=True)
class Job:
    """What all workers of a run are told.

    Args:
        ticket: Their way into the run.
        data: What they train on, and its content id.
        controllers: The kinds of steps.
        reuse_fits: Whether fits of earlier runs are loaded.
    """

    ticket: WorkerTicket
    data: TrainingData
    data_id: str
    controllers: Sequence[Controller]
    reuse_fits: bool


@dataclass(frozen=True, slots=True)
class Trained:
    """What comes back from a worker.

    Args:
        handovers: What the run is to adopt; nothing of a pipeline that failed.
        rows: The scores.
        error: Why it failed; None when it did not.
        fits, slow: See :class:`~n4a_store.pipeline.fit_cache.FitCache`.
    """

    plan: PipelinePlan
    handovers: list[Handover] = field(default_factory=list)
    rows: list[ResultRow] = field(default_factory=list)
    error: StoreError | None = None
    fits: FitReport = field(default_factory=FitReport)
    slow: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0


def count_workers(n_jobs: int | None) -> int:
    """How many processes ``n_jobs`` asks for: -1 is one a core, -2 all but one.

    Raises:
        InvalidInputError: It is 0 or no number.
    """
    if n_jobs is None:
        return 1
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, int) or n_jobs == 0:
        raise InvalidInputError(f"n_jobs is a number other than 0, not {n_jobs!r}")
    if n_jobs > 0:
        return n_jobs
    return max(1, len(os.sched_getaffinity(0)) + 1 + n_jobs)


def train_in_workers(plans: Sequence[PipelinePlan], job: Job, workers: int) -> Iterator[Trained]:
    """Train every plan in one of ``workers`` processes; results in the order of the plans.

    Raises:
        InvalidInputError: joblib is not installed.
        BackendError: A worker died, of memory or by a signal.
    """
    try:
        joblib = importlib.import_module("joblib")
        died = importlib.import_module("joblib.externals.loky.process_executor")
    except ImportError as error:
        raise InvalidInputError(
            "n_jobs needs joblib, which comes with scikit-learn", hint="pip install joblib"
        ) from error
    pool = joblib.Parallel(n_jobs=workers, return_as="generator")
    task = joblib.delayed(_train)
    try:
        yield from pool(task(plan, job) for plan in plans)
    except died.TerminatedWorkerError as error:
        raise BackendError(
            "a worker process died; what was complete is kept",
            hint="run it again with resume=True, and fewer n_jobs if memory ran out",
        ) from error


class _Worker:
    """What a process keeps between the pipelines of one run."""

    current: _Worker | None = None

    def __init__(self, job: Job) -> None:
        self.run_id = job.ticket.run_id
        self.registry = WorkerRegistry(job.ticket)
        self.fits = FitCache(FitIndex(lambda: self.registry.store) if job.reuse_fits else None)

    @classmethod
    def of(cls, job: Job) -> _Worker:
        """The one of the job's run; that of an earlier run is closed."""
        if cls.current is None or cls.current.run_id != job.ticket.run_id:
            if cls.current is not None:
                cls.current.registry.close()
            cls.current = cls(job)
        return cls.current


def _train(plan: PipelinePlan, job: Job) -> Trained:
    begun = time.perf_counter()
    worker = _Worker.of(job)
    worker.fits.reset_report()
    context = RuntimeContext(
        worker.registry,
        plan.pipeline_id,
        received(job.data),
        worker.fits,
        worker.run_id,
        facts={"definition": plan.definition, "data": job.data_id},
    )
    rows: list[ResultRow] = []
    handovers: list[Handover] = []
    failure: StoreError | None = None
    try:
        rows = Orchestrator(context, job.controllers).train(plan.program)
        made = worker.registry.hand_over()
        handovers = [one for one in made if one.pipeline_id == plan.pipeline_id]
    except OF_THE_PIPELINE as error:
        worker.registry.discard_pipeline(plan.pipeline_id)
        # The cause may be of a class that the other process cannot even import.
        error.__cause__ = None
        failure = error
    return Trained(
        plan,
        handovers,
        rows,
        failure,
        worker.fits.report,
        dict(worker.fits.slow),
        time.perf_counter() - begun,
    )

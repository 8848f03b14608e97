"""Training pipelines in several processes, each of which registers straight into the run.

A worker commits each pipeline it has finished, held for the run and visible to nobody; the
process that holds the run adopts it, in the order of the plans. A worker that is killed costs
nothing but time; a pipeline that kills its worker is lost, and only that one.
"""

from __future__ import annotations

import importlib
import os
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from n4a_store.artifacts.registry import ArtifactRegistry
from n4a_store.artifacts.workers import Handover, WorkerRegistry, WorkerTicket, worker_ticket
from n4a_store.errors import InvalidInputError, StoreError
from n4a_store.pipeline.context import RuntimeContext
from n4a_store.pipeline.controllers import Controller
from n4a_store.pipeline.data import TrainingData, received
from n4a_store.pipeline.fit_cache import FitCache, FitReport
from n4a_store.pipeline.fit_index import FitIndex
from n4a_store.pipeline.orchestrator import OF_THE_PIPELINE, Orchestrator, PipelineStepError
from n4a_store.pipeline.plan import PipelinePlan
from n4a_store.pipeline.pool import Lost, WorkerPool
from n4a_store.pipeline.results import ResultRow

__all__ = ["Job", "Trained", "Worker", "open_job", "train_in_workers"]


@dataclass(frozen=True, slots=True)
class Job:
    """What all workers of a run are told. Small: it goes with every task.

    Args:
        ticket: Their way into the run.
        data: The file with what they train on, and its content id.
        controllers: The kinds of steps.
        reuse_fits: Whether fits of earlier runs are loaded.
    """

    ticket: WorkerTicket
    data: str
    data_id: str
    controllers: Sequence[Controller]
    reuse_fits: bool


@contextmanager
def open_job(
    registry: ArtifactRegistry,
    data: TrainingData,
    data_id: str,
    controllers: Sequence[Controller],
    *,
    reuse_fits: bool,
) -> Iterator[Job]:
    """The job of the registry's open run; its file is removed when the block ends."""
    with tempfile.TemporaryDirectory(prefix="n4a_store-") as folder:
        path = os.path.join(folder, "data")
        _joblib().dump(data, path)
        yield Job(worker_ticket(registry), path, data_id, controllers, reuse_fits)


def _joblib() -> Any:
    try:
        return importlib.import_module("joblib")
    except ImportError as error:
        raise InvalidInputError(
            "n_jobs needs joblib, which comes with scikit-learn", hint="pip install joblib"
        ) from error


class Worker:
    """What a process keeps between the tasks of one run."""

    current: Worker | None = None

    def __init__(self, job: Job) -> None:
        self.run_id = job.ticket.run_id
        self.registry = WorkerRegistry(job.ticket)
        # Mapped: all workers share one copy in memory.
        self.data: TrainingData = received(_joblib().load(job.data, mmap_mode="r"))
        self.fits = FitCache(FitIndex(lambda: self.registry.store) if job.reuse_fits else None)

    @classmethod
    def of(cls, job: Job) -> Worker:
        """The one of the job's run; that of an earlier run is closed."""
        if cls.current is None or cls.current.run_id != job.ticket.run_id:
            if cls.current is not None:
                cls.current.registry.close()
            cls.current = cls(job)
        cls.current.fits.reset_report()
        return cls.current


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


def train_in_workers(
    plans: Sequence[PipelinePlan], job: Job, workers: int
) -> Generator[Trained, None, None]:
    """Train every plan in one of ``workers`` processes; results in the order of the plans.

    Raises:
        InvalidInputError: joblib is not installed.
        StoreError: The store failed in a worker.
    """
    pool: WorkerPool[tuple[PipelinePlan, Job], Trained] = WorkerPool(_train, workers)
    with closing(pool.map((plan, job) for plan in plans)) as found:
        for plan, trained in zip(plans, found, strict=True):
            if isinstance(trained, Lost):
                yield Trained(plan, error=PipelineStepError(trained.reason))
            else:
                yield trained


def _train(task: tuple[PipelinePlan, Job]) -> Trained:
    plan, job = task
    begun = time.perf_counter()
    worker = Worker.of(job)
    context = RuntimeContext(
        worker.registry,
        plan.pipeline_id,
        worker.data,
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

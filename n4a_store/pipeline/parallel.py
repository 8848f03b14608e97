"""Training pipelines in several processes: one worker a pipeline, results as they come.

joblib does the work, which is there wherever scikit-learn is: its workers need no guard around
the main module and get what was defined there. Each worker trains into a journal; the process
that holds the run stores it and completes the pipeline, in the order of the plans.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from n4a_store.errors import InvalidInputError, StoreError
from n4a_store.pipeline.context import RuntimeContext
from n4a_store.pipeline.controllers import Controller
from n4a_store.pipeline.data import TrainingData
from n4a_store.pipeline.fit_cache import FitCache, FitReport
from n4a_store.pipeline.journal import Journal
from n4a_store.pipeline.orchestrator import OF_THE_PIPELINE, Orchestrator
from n4a_store.pipeline.plan import PipelinePlan
from n4a_store.pipeline.results import ResultRow

__all__ = ["Trained", "count_workers", "train_in_workers"]


@dataclass(frozen=True, slots=True)
class Trained:
    """What comes back from a worker.

    Args:
        journal: What to register.
        rows: The scores.
        error: Why it failed; None when it did not.
    """

    plan: PipelinePlan
    journal: Journal = field(default_factory=Journal)
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


def train_in_workers(
    plans: Sequence[PipelinePlan],
    data: TrainingData,
    facts: Mapping[str, Any],
    run_id: str,
    workers: int,
    controllers: Sequence[Controller],
) -> Iterator[Trained]:
    """Train every plan in one of ``workers`` processes; in the order of the plans.

    Raises:
        InvalidInputError: joblib is not installed.
    """
    try:
        joblib = importlib.import_module("joblib")
    except ImportError as error:
        raise InvalidInputError(
            "n_jobs needs joblib, which comes with scikit-learn", hint="pip install joblib"
        ) from error
    pool = joblib.Parallel(n_jobs=workers, return_as="generator")
    task = joblib.delayed(_train)
    yield from pool(task(plan, data, facts, run_id, controllers) for plan in plans)


# One cache a process: pipelines that begin alike share their fits within a worker.
_fits: dict[str, FitCache] = {}


def _train(
    plan: PipelinePlan,
    data: TrainingData,
    facts: Mapping[str, Any],
    run_id: str,
    controllers: Sequence[Controller],
) -> Trained:
    import time

    begun = time.perf_counter()
    if run_id not in _fits:
        _fits.clear()
        _fits[run_id] = FitCache()
    fits = _fits[run_id]
    before, fits.report, fits.slow = fits.report, FitReport(), {}
    journal = Journal()
    context = RuntimeContext(
        journal,
        plan.pipeline_id,
        data,
        fits,
        run_id,
        facts={**facts, "definition": plan.definition},
    )
    rows: list[ResultRow] = []
    error: StoreError | None = None
    try:
        rows = Orchestrator(context, controllers).train(plan.program)
    except OF_THE_PIPELINE as failure:
        # The cause may hold anything; the message has said what matters.
        failure.__cause__ = None
        error, journal = failure, Journal()
    report, fits.report = fits.report, before.plus(fits.report)
    return Trained(plan, journal, rows, error, report, dict(fits.slow), time.perf_counter() - begun)

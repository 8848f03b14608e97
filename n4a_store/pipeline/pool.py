"""Processes that do one task after the other, and what becomes of the work when one dies.

A process that dies takes its whole pool with it, and nobody can say which task it had. So all
tasks that were in flight are done again, each alone in a new pool: one that kills its process
again is lost, and only that one. Results come in the order of the tasks, and a caller that stops
listening stops the processes.

loky starts the processes; it comes with joblib, which is there wherever scikit-learn is. Its
workers need no guard around the main module and get what was defined there. They stay for the next
training. They are not those of ``joblib.Parallel``, which takes whatever stands in loky's own one
place for its own, and cannot use it.
"""

from __future__ import annotations

import importlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pickle import PicklingError
from typing import Any, Generic, TypeVar

from n4a_store.errors import InvalidInputError

__all__ = ["Lost", "WorkerPool", "count_workers"]

Item = TypeVar("Item")
Result = TypeVar("Result")

# Enough that no process waits for this one, few enough that little is done twice after a death.
_AHEAD = 2
_IDLE_SECONDS = 300
_kept: _Processes | None = None  # of the last use
# Each process would else start a thread a core for its linear algebra.
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


@dataclass(frozen=True, slots=True)
class Lost:
    """A task without a result, and why."""

    reason: str


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


class WorkerPool(Generic[Item, Result]):
    """Processes for one kind of task.

    Args:
        task: What is done; importable, or defined in the main module.
        workers: How many processes.

    Raises:
        InvalidInputError: joblib is not installed.
    """

    def __init__(self, task: Callable[[Item], Result], workers: int) -> None:
        try:
            self._loky = importlib.import_module("joblib.externals.loky")
        except ImportError as error:
            raise InvalidInputError(
                "n_jobs needs joblib, which comes with scikit-learn", hint="pip install joblib"
            ) from error
        self._task = task
        self._workers = workers
        each = str(max(1, len(os.sched_getaffinity(0)) // workers))
        self._environment = {name: os.environ.get(name, each) for name in _THREADS}

    def map(self, items: Iterable[Item]) -> Generator[Result | Lost, None, None]:
        """The result of each item's task, in order; :class:`Lost` where there is none.

        What a task raises is raised here, and ends all.
        """
        finished = False
        try:
            yield from self._in_order(iter(items))
            finished = True
        finally:
            if not finished:
                _stop(kill=True)

    def _in_order(self, items: Iterator[Item]) -> Iterator[Result | Lost]:
        # A task without a future was in flight when a process died, and goes alone.
        waiting: deque[tuple[Item, Future[Result] | None]] = deque()
        while True:
            if all(future is not None for _, future in waiting):
                self._fill(waiting, items)
            if not waiting:
                return
            item, future = waiting.popleft()
            try:
                result: Result | Lost = (future or self._submit(item, alone=True)).result()
            except BrokenProcessPool:
                _stop(kill=True)
                if future is not None:
                    waiting.appendleft((item, future))
                    waiting = deque((one, _if_done(its)) for one, its in waiting)
                    continue
                result = Lost("its process died, by a signal or because memory ran out")
            except PicklingError as error:
                result = Lost(f"it cannot be sent to another process: {error}")
            yield result

    def _fill(
        self, waiting: deque[tuple[Item, Future[Result] | None]], items: Iterator[Item]
    ) -> None:
        while len(waiting) < _AHEAD * self._workers:
            try:
                item = next(items)
            except StopIteration:
                return
            try:
                waiting.append((item, self._submit(item)))
            except BrokenProcessPool:
                _stop(kill=True)
                waiting.append((item, None))
                return

    def _submit(self, item: Item, *, alone: bool = False) -> Future[Result]:
        executor = self._executor(1 if alone else self._workers)
        future: Future[Result] = executor.submit(self._task, item)
        return future

    def _executor(self, workers: int) -> Any:
        """The processes; those of the last use, unless one has died or there were others."""
        global _kept  # noqa: PLW0603 - they outlive the pool
        # After a fork they are the parent's. Never resized: loky waits for ever where a process
        # dies while it counts them.
        wanted = (os.getpid(), workers, self._environment)
        if _kept is None or _kept.wanted != wanted:
            _stop()
            executor = self._loky.ProcessPoolExecutor(
                max_workers=workers, timeout=_IDLE_SECONDS, env=self._environment
            )
            _kept = _Processes(wanted, executor)
        return _kept.executor


@dataclass(frozen=True, slots=True)
class _Processes:
    """Processes that wait for work, and what was asked for."""

    wanted: tuple[int, int, dict[str, str]]
    executor: Any


def _stop(*, kill: bool = False) -> None:
    """Let go of the processes of the last use; ``kill`` does not wait for what they have begun."""
    global _kept
    kept, _kept = _kept, None
    if kept is not None and kept.wanted[0] == os.getpid():
        kept.executor.shutdown(wait=True, kill_workers=kill)


def _if_done(future: Future[Result] | None) -> Future[Result] | None:
    broken = future is None or not future.done() or future.exception() is not None
    return None if broken else future

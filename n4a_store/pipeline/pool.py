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
_kept: list[_Processes] = []  # of the last use, one at most
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
        own = _Own(self._loky, self._environment)
        finished = False
        try:
            yield from self._in_order(iter(items), own)
            finished = True
        finally:
            if finished:
                own.keep()
            else:
                own.stop(kill=True)

    def _in_order(self, items: Iterator[Item], own: _Own) -> Iterator[Result | Lost]:
        # A task without a future was in flight when a process died, and goes alone.
        waiting: deque[tuple[Item, Future[Result] | None]] = deque()
        while True:
            if all(future is not None for _, future in waiting):
                self._fill(waiting, items, own)
            if not waiting:
                return
            item, future = waiting.popleft()
            try:
                result: Result | Lost = (future or self._submit(item, own, 1)).result()
            except BrokenProcessPool:
                own.stop(kill=True)
                if future is not None:
                    waiting.appendleft((item, future))
                    waiting = deque((one, _if_done(its)) for one, its in waiting)
                    continue
                result = Lost("its process died, by a signal or because memory ran out")
            except PicklingError as error:
                result = Lost(f"it cannot be sent to another process: {error}")
            yield result

    def _fill(
        self,
        waiting: deque[tuple[Item, Future[Result] | None]],
        items: Iterator[Item],
        own: _Own,
    ) -> None:
        while len(waiting) < _AHEAD * self._workers:
            try:
                item = next(items)
            except StopIteration:
                return
            try:
                waiting.append((item, self._submit(item, own, self._workers)))
            except BrokenProcessPool:
                own.stop(kill=True)
                waiting.append((item, None))
                return

    def _submit(self, item: Item, own: _Own, workers: int) -> Future[Result]:
        future: Future[Result] = own.executor(workers).submit(self._task, item)
        return future


@dataclass(frozen=True, slots=True)
class _Processes:
    """Processes that wait for work, and what was asked for."""

    wanted: tuple[int, int, dict[str, str]]
    executor: Any


class _Own:
    """The processes of one use, in which nobody else has tasks.

    Another thread that trains at the same time has its own: one that stops, or loses one, ends all
    that are with it.
    """

    def __init__(self, loky: Any, environment: dict[str, str]) -> None:
        self._loky = loky
        self._environment = environment
        self._now: _Processes | None = None

    def executor(self, workers: int) -> Any:
        """So many; those of the last use, unless one has died or there were others."""
        # After a fork they are the parent's. Never resized: loky waits for ever where a process
        # dies while it counts them.
        wanted = (os.getpid(), workers, self._environment)
        if self._now is None:
            self._now = _waiting()
        if self._now is None or self._now.wanted != wanted:
            self.stop()
            executor = self._loky.ProcessPoolExecutor(
                max_workers=workers, timeout=_IDLE_SECONDS, env=self._environment
            )
            self._now = _Processes(wanted, executor)
        return self._now.executor

    def keep(self) -> None:
        """Let them wait for the next use, in the place of those that do."""
        now, self._now = self._now, None
        if now is not None:
            _stop_kept()
            _kept.append(now)

    def stop(self, *, kill: bool = False) -> None:
        """Let go of them; ``kill`` does not wait for what they have begun."""
        now, self._now = self._now, None
        if now is not None:
            _shut(now, kill=kill)


def _shut(processes: _Processes, *, kill: bool) -> None:
    if processes.wanted[0] == os.getpid():
        processes.executor.shutdown(wait=True, kill_workers=kill)


def _waiting() -> _Processes | None:
    try:
        return _kept.pop()  # one step: two threads never have the same
    except IndexError:
        return None


def _stop_kept() -> None:
    """Let go of those that wait."""
    while (waiting := _waiting()) is not None:
        _shut(waiting, kill=False)


def _if_done(future: Future[Result] | None) -> Future[Result] | None:
    broken = future is None or not future.done() or future.exception() is not None
    return None if broken else future

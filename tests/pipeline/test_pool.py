"""Processes for tasks: order, death, and what cannot be sent."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from n4a_store.errors import InvalidInputError
from n4a_store.pipeline.pool import Lost, WorkerPool, count_workers


def slower_first(number: int) -> int:
    time.sleep(0.02 * (number % 3 == 0))
    return -number


def die_on_five(number: int) -> int:
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return -number


def touch(path: str) -> str:
    Path(path).touch()
    time.sleep(0.05)
    return path


def refuse(number: int) -> int:
    raise KeyError(number)


def test_results_come_in_the_order_of_the_tasks() -> None:
    assert list(WorkerPool(slower_first, 2).map(range(12))) == [-n for n in range(12)]


def test_only_the_task_that_kills_its_process_is_lost() -> None:
    found = list(WorkerPool(die_on_five, 2).map(range(12)))
    assert [one for one in found if not isinstance(one, Lost)] == [-n for n in range(12) if n != 5]
    assert isinstance(found[5], Lost)
    assert "died" in found[5].reason


def test_what_cannot_be_sent_is_lost_alone() -> None:
    tasks = [1, threading.Lock(), 3]
    first, second, third = WorkerPool(str, 2).map(tasks)
    assert (first, third) == ("1", "3")
    assert isinstance(second, Lost)
    assert "cannot be sent" in second.reason


def test_what_a_task_raises_is_raised() -> None:
    with pytest.raises(KeyError):
        list(WorkerPool(refuse, 2).map([1, 2]))


def test_a_caller_that_has_enough_stops_the_processes(tmp_path: Path) -> None:
    found = WorkerPool(touch, 2).map(str(tmp_path / str(n)) for n in range(40))
    next(found)
    found.close()
    done = len(list(tmp_path.iterdir()))
    time.sleep(0.3)
    assert len(list(tmp_path.iterdir())) == done < 40


def test_the_number_of_workers() -> None:
    cores = len(os.sched_getaffinity(0))
    assert [count_workers(n) for n in (None, 1, 3, -1)] == [1, 1, 3, cores]
    assert count_workers(-100) == 1
    for wrong in (0, True, 1.5, "2"):
        with pytest.raises(InvalidInputError, match="n_jobs"):
            count_workers(wrong)  # type: ignore[arg-type]

"""Processes for tasks: their order, and what cannot be sent. Deaths: test_worker_deaths."""

from __future__ import annotations

import os
import threading
import time

import pytest

from n4a_store.errors import InvalidInputError
from n4a_store.pipeline.pool import Lost, WorkerPool, count_workers


def slower_first(number: int) -> int:
    time.sleep(0.02 * (number % 3 == 0))
    return -number


def test_results_come_in_the_order_of_the_tasks() -> None:
    assert list(WorkerPool(slower_first, 2).map(range(12))) == [-n for n in range(12)]


def test_what_cannot_be_sent_is_lost_alone() -> None:
    tasks = [1, threading.Lock(), 3]
    first, second, third = WorkerPool(str, 2).map(tasks)
    assert (first, third) == ("1", "3")
    assert isinstance(second, Lost)
    assert "cannot be sent" in second.reason


def test_the_number_of_workers() -> None:
    cores = len(os.sched_getaffinity(0))
    assert [count_workers(n) for n in (None, 1, 3, -1)] == [1, 1, 3, cores]
    assert count_workers(-100) == 1
    for wrong in (0, True, 1.5, "2"):
        with pytest.raises(InvalidInputError, match="n_jobs"):
            count_workers(wrong)  # type: ignore[arg-type]

"""Processes that die, or are stopped: what is lost with them, and what is not.

These stand in one file, behind all others that use worker processes, because whoever comes after
a death has to wait for new ones.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from joblib.externals import loky

from n4a_store.pipeline import pool
from n4a_store.pipeline.pool import WorkerPool
from n4a_store.pipeline.run_result import Outcome
from n4a_store.pipeline.runner import PipelineRunner
from n4a_store.repo.fsck import fsck
from tests.pipeline.light import Deadly, Halves, Mean, Picky, Scaled
from tests.pipeline.training import DATASET, kept_in


def touch(path: str) -> str:
    Path(path).touch()
    time.sleep(0.05)
    return path


def refuse(number: int) -> int:
    raise KeyError(number)


def test_a_branch_that_kills_its_worker_is_named(workspace: Any, fermentation: Any) -> None:
    steps = [
        Halves(),
        {"branch": {"a": [Picky()], "b": [Deadly(os.getpid())], "c": [Picky(ok=False)]}},
        {"model": Mean()},
    ]
    run = PipelineRunner(workspace, n_jobs=2).run(steps, *fermentation, dataset=DATASET)
    (why,) = run.failures.values()
    assert why.startswith("step 1, branch 'b': its process died")
    with workspace.store(DATASET) as store:
        assert store.refs("refs/pipelines/") == []


def test_a_pipeline_that_kills_its_worker_is_lost_and_no_other(
    workspace: Any, fermentation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    real = loky.ProcessPoolExecutor

    def note(max_workers: int, **settings: Any) -> Any:
        started.append(max_workers)
        return real(max_workers=max_workers, **settings)

    pool._stop_kept()
    monkeypatch.setattr(loky, "ProcessPoolExecutor", note)
    # The first of them kills its process once, and is trained when it is tried again.
    once, always = Deadly(os.getpid(), str(tmp_path / "killed")), Deadly(os.getpid())
    others = [Scaled(plus) for plus in range(6)]
    steps = [Halves(), {"_or_": [*others[:3], once, always, *others[3:]]}, {"model": Mean()}]
    run = PipelineRunner(workspace, n_jobs=2).run(steps, *fermentation, dataset=DATASET)
    assert (tmp_path / "killed").exists()
    failed = [one.outcome is Outcome.FAILED for one in run.outcomes]
    assert failed == [number == 4 for number in range(8)]
    assert [int(one.pipeline_id[:4]) for one in run.outcomes] == list(range(1, 9))
    (why,) = run.failures.values()
    assert why == "its process died, by a signal or because memory ran out"
    # Those in flight go alone, one after the other in the same process until it dies; then on.
    assert started[:2] == [2, 1]
    assert len(started) < 6, "processes are used again"
    assert set(kept_in(workspace, run)) == set(run.pipelines)
    with workspace.store(DATASET) as store:
        assert fsck(store, full=True).ok


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


def slow(number: int) -> int:
    time.sleep(0.2)
    return number


def test_one_thread_that_fails_does_not_end_what_another_trains() -> None:
    """They had their tasks in the same processes: all of them were killed."""
    found: list[Any] = []

    def train() -> None:
        try:
            found.extend(WorkerPool(slow, 2).map(range(12)))
        except Exception as error:  # noqa: BLE001 - the test tells it
            found.append(error)

    thread = threading.Thread(target=train)
    thread.start()
    time.sleep(0.5)
    with pytest.raises(KeyError):
        list(WorkerPool(refuse, 2).map([1, 2]))
    thread.join(60)
    assert found == list(range(12))


def double(number: int) -> int:
    return 2 * number


def test_joblib_and_we_keep_out_of_each_others_processes() -> None:
    """What came after us took ours for its own, and failed with an AttributeError."""
    code = """
from tests.pipeline.test_worker_deaths import double
from n4a_store.pipeline import pool
from n4a_store.pipeline.pool import WorkerPool
from joblib import Parallel, delayed
ours = WorkerPool(double, 2).map(range(6))
print(next(ours))
print(Parallel(2)(delayed(double)(number) for number in range(4)))
print(list(ours))
first = WorkerPool(double, 2).map(range(40))
next(first)
theirs = Parallel(2, return_as="generator")(delayed(double)(number) for number in range(40))
print(next(theirs))
first.close()
print(sum(theirs))
"""
    said = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
    ).stdout
    assert said.splitlines() == ["0", "[0, 2, 4, 6]", "[2, 4, 6, 8, 10]", "0", str(40 * 39)]

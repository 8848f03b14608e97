"""What a user can get wrong: each mistake is an error that names the step, and stores nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from n4a_store.errors import BackendError, InvalidInputError
from n4a_store.objects.model import RunStatus
from n4a_store.pipeline.predictor import Predictor
from n4a_store.pipeline.runner import PipelineRunner
from n4a_store.repo.fsck import fsck
from n4a_store.storage import system
from n4a_store.storage.layout import PACK_SUFFIX
from tests.pipeline.light import FailsIn, Halves, InPlace, Mean, Open, Picky, Same, Scaled, Wrong
from tests.pipeline.training import DATASET

X = np.arange(40.0).reshape(10, 4)
Y = np.arange(10.0)
MODEL = {"model": Mean()}


class NoFit:
    def transform(self, X: Any) -> Any:
        return X


@pytest.mark.parametrize(
    ("steps", "said", "hint"),
    [
        ([NoFit(), MODEL], "step 0: NoFit is no step", "pass a transformer"),
        ([MODEL, Halves()], "step 1: no model comes after Halves", "before the models"),
        ([{"branch": [[MODEL], [MODEL, Halves()]]}], "step 0, branch '1', step 2: no model", None),
        ([MODEL, {"y_processing": StandardScaler()}], "step 1: no model comes after", None),
        ([{"_orr_": [None]}, MODEL], "step 0: a step has exactly one", "did you mean '_or_'"),
        ([{"_or_": [None], "nr": 3}, MODEL], "step 0: unknown key 'nr'", "known keys"),
        ([{"model": Mean(), "nmae": "a"}], "step 0: unknown option 'nmae'", "mean 'name'"),
        ([{"model": Ridge(), "params": {"alfa": 1}}], "step 0: Ridge: Invalid parameter", None),
    ],
)
def test_a_mistake_in_a_step_is_named_before_anything_is_fitted(
    workspace: Any, steps: list[Any], said: str, hint: str | None
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        PipelineRunner(workspace).run(steps, X, Y, DATASET)
    assert str(caught.value).startswith(said)
    assert hint is None or hint in (caught.value.hint or "")
    assert not workspace.path.exists()


@pytest.mark.parametrize(
    ("rows", "targets", "more", "said"),
    [
        ([[1.0, 2.0], [3.0]], [1, 2], {}, "X is no array"),
        (X, [[1], [2, 3]], {}, "y is no array"),
        (X.astype(str), Y, {}, "X holds <U"),
        (X.astype(complex), Y, {}, "X holds complex128, not numbers"),
        (X, Y, {"name": 3}, "name is text"),
    ],
)
def test_what_is_no_data_is_refused_before_anything_is_fitted(
    workspace: Any, rows: Any, targets: Any, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidInputError, match=said):
        PipelineRunner(workspace).run([MODEL], rows, targets, DATASET, **more)
    assert not workspace.path.exists()


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([Halves(), {"model": FailsIn(4.0)}], "step 1, fold 1: ValueError: bad luck"),
        ([Halves(), Picky(ok=False), MODEL], "step 1, fold 0: ValueError: not today"),
        ([Picky(ok=False), Halves(), MODEL], "step 0: ValueError: not today"),
        ([Halves(), {"model": Wrong(np.ones(3))}], "step 1, fold 0: Wrong predicted shape (3,)"),
        ([Halves(), {"model": Wrong()}], "step 1, fold 0: Wrong predicted shape () for 5 rows"),
        ([Halves(), {"model": Open()}], "step 1, fold 0: Open"),
        ([Halves(), {"branch": [[], [Picky(ok=False)]]}, MODEL], "step 1, branch '1', step 2, f"),
        ([Halves(), InPlace(), MODEL], "step 1, fold 0: ValueError: output array is read-only"),
        ([InPlace(), MODEL], "step 0: ValueError: output array is read-only"),
    ],
)  # fmt: skip
def test_what_fails_in_a_fit_names_step_and_fold_and_stores_nothing(
    workspace: Any, steps: list[Any], said: str
) -> None:
    before = X.copy()
    run = PipelineRunner(workspace).run(steps, X, Y, DATASET)
    (why,) = run.failures.values()
    assert why.startswith(said)
    assert np.array_equal(X, before)
    if workspace.path.exists():  # where nothing was fitted, nothing was created
        with workspace.store(DATASET) as store:
            assert store.refs("refs/pipelines/") == []


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_an_estimator_refuses_are_blamed_on_its_step(
    workspace: Any, bad: float
) -> None:
    rows = X.copy()
    rows[3, 2] = bad
    run = PipelineRunner(workspace).run([Halves(), Same(), Ridge()], rows, Y, DATASET)
    assert next(iter(run.failures.values())).startswith("step 2, fold 0: ValueError: Input X")


def test_nobody_sees_what_a_step_does_to_its_rows(workspace: Any) -> None:
    # The second variant would train on what the first wrote into the rows that both share.
    writes = {"_or_": [InPlace(), None]}
    both = PipelineRunner(workspace).run([Scaled(1.0), writes, Ridge()], X, Y, DATASET)
    alone = PipelineRunner(workspace).run([Scaled(1.0), Ridge()], X, Y, DATASET)
    assert len(both.failures) == 1
    assert [row.rmse for row in both.results] == [row.rmse for row in alone.results]


def test_two_models_of_one_name_are_two_models(workspace: Any) -> None:
    steps = [Halves(), {"model": Mean(), "name": "m"}, {"model": Mean(5.0), "name": "m"}]
    run = PipelineRunner(workspace).run(steps, X, Y, DATASET)
    assert [(one.model, one.step_index) for one in run.ranking()] == [("m", 1), ("m", 2)]
    with Predictor(workspace, DATASET) as predictor:
        assert np.array_equal(predictor.predict(None, X, model="m"), np.full(10, Y.mean()))


def test_a_full_disk_ends_the_run_and_keeps_what_is_complete(
    workspace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, left = system.write, [3]

    def full(fd: int, data: Any, name: str) -> None:
        if name.endswith(PACK_SUFFIX) and not left[0]:
            raise OSError(28, "No space left on device")
        left[0] -= name.endswith(PACK_SUFFIX)
        write(fd, data, name)

    monkeypatch.setattr(system, "write", full)
    steps = [Halves(), {"_range_": [1, 6], "param": "plus", "model": Mean()}]
    with pytest.raises(BackendError, match="No space left"):
        PipelineRunner(workspace).run(steps, X, Y, DATASET)
    monkeypatch.undo()
    with workspace.store(DATASET) as store:
        assert fsck(store, full=True).ok
        (ref,) = store.refs("refs/runs/")
        kept = store.get_tree(store.get_run(ref.oid).pipelines)
        assert 0 < len(kept) < 6
    run = PipelineRunner(workspace).run(steps, X, Y, DATASET, resume=True)
    assert len(run.pipelines) == 6


def _is_over(group: int) -> bool:
    """Whether no process of a group is left; the last ends when it finds its parent gone."""
    for _ in range(200):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


INTERRUPTED = """
import os, signal, sys
import numpy as np
from n4a_store.pipeline.runner import PipelineRunner
from tests.pipeline.light import Halves, Mean

def interrupt(progress):
    if progress.done == 3:
        os.killpg(0, signal.SIGINT)

X = np.arange(40.0).reshape(10, 4)
steps = [Halves(), {"_range_": [1, 30], "param": "plus", "model": Mean()}]
runner = PipelineRunner(sys.argv[1], n_jobs=int(sys.argv[2]), progress=interrupt)
runner.run(steps, X, X[:, 0], sys.argv[3])
"""


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_ends_cleanly_and_keeps_what_is_complete(workspace: Any, jobs: str) -> None:
    # As a terminal does it: every process of the group gets the signal.
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(workspace.path), jobs, DATASET],
        cwd=root,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, said = process.communicate(timeout=120)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert process.returncode in (1, -signal.SIGINT)
    with workspace.store(DATASET) as store:
        (ref,) = store.refs("refs/runs/")
        run = store.get_run(ref.oid)
        assert run.status is RunStatus.FAILED
        assert 3 <= len(store.get_tree(run.pipelines)) < 30
        assert fsck(store, full=True).ok
    assert _is_over(process.pid)


def test_an_estimator_that_cannot_tell_its_parameters_is_named(
    train: Any, fermentation: Any
) -> None:
    class Broken(Ridge):
        def get_params(self, deep: bool = True) -> dict[str, Any]:
            raise AttributeError("no attribute 's'")

    with pytest.raises(InvalidInputError, match=r"Broken cannot tell its parameters.*no attribute"):
        train([{"_or_": [Ridge(), Broken()]}], fermentation)

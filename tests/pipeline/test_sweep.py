"""Sweeps: workers, resuming, and what a killed process leaves."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from chemotools.scatter import StandardNormalVariate
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from n4a_store.artifacts.stored_runs import shown_status
from n4a_store.objects.model import RunStatus
from n4a_store.objects.oid import Kind
from n4a_store.pipeline import sweep
from n4a_store.pipeline.run_result import Outcome
from n4a_store.pipeline.runner import PipelineRunner
from n4a_store.repo import maintenance
from n4a_store.repo.fsck import fsck
from n4a_store.storage.rows import PackState
from tests.pipeline.light import Halves, Mean, Picky
from tests.pipeline.training import DATASET, added_kinds, objects_of

SIZES = {"_range_": [1, 4], "param": "n_components", "model": PLSRegression()}
STEPS = [
    KFold(3),
    {"branch": {"snv": [StandardNormalVariate()], "scaled": [StandardScaler()]}},
    {"y_processing": MinMaxScaler()},
    SIZES,
    {"stack": Ridge()},
]


def test_every_pipeline_that_a_run_holds_can_be_read_by_people(
    workspace: Any, train: Any, fermentation: Any
) -> None:
    light = [Halves(), {"_range_": [1, 2], "param": "plus", "model": Mean()}]
    spread = PipelineRunner(workspace, n_jobs=2).run(light, *fermentation, dataset=DATASET)
    steps = [KFold(2), {"_range_": [1, 2], "param": "alpha", "model": Ridge()}]
    first = train(steps, fermentation)
    resumed = train(steps, fermentation, resume=True)
    assert {one.outcome for one in resumed.outcomes} == {Outcome.RESUMED}
    for holder, maker in ((spread, spread), (resumed, first)):
        for name in holder.pipelines:
            path = workspace.layout.manifest(DATASET, holder.id, name)
            said = yaml.safe_load(path.read_text())
            assert (said["pipeline_id"], said["run_id"]) == (name, maker.id)
            keys = ["0:all", "1:0", "1:1"]
            assert [one["artifact_id"] for one in said["items"]][:3] == [
                f"{name}:{key}" for key in keys
            ]


def test_resuming_trains_only_the_rest(workspace: Any, train: Any, fermentation: Any) -> None:
    def stop(progress: Any) -> None:
        if progress.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PipelineRunner(workspace, progress=stop).run(STEPS, *fermentation, dataset=DATASET)
    resumed = train(STEPS, fermentation, resume=True)
    assert Counter(one.outcome for one in resumed.outcomes) == {
        Outcome.RESUMED: 2,
        Outcome.COMPLETE: 2,
    }
    whole = train(STEPS, fermentation)
    assert resumed.pipelines == whole.pipelines
    assert [row.score for row in resumed.results] == [row.score for row in whole.results]
    with workspace.store(DATASET) as store:
        for run in (resumed, whole):
            kept = store.get_run(store.ref(f"refs/runs/{run.id}").oid)
            assert set(store.get_tree(kept.pipelines)) == set(whole.pipelines)
            assert kept.status is RunStatus.COMPLETE


def test_resuming_on_other_data_trains_everything(train: Any, fermentation: Any) -> None:
    train(STEPS, fermentation)
    other = type(fermentation)(fermentation.X, fermentation.y + 1)
    again = train(STEPS, other, resume=True)
    assert {one.outcome for one in again.outcomes} == {Outcome.COMPLETE}


def test_resuming_what_is_complete_trains_nothing(
    train: Any, workspace: Any, open_predictor: Any, fermentation: Any
) -> None:
    first = train(STEPS, fermentation)
    before = objects_of(workspace)
    again = train(STEPS, fermentation, resume=True)
    assert {one.outcome for one in again.outcomes} == {Outcome.RESUMED}
    assert set(added_kinds(before, objects_of(workspace))) == {Kind.RUN}
    assert again.best.score == first.best.score
    assert open_predictor().select(None).manifest.pipeline_id == first.best.pipeline_id


def test_what_cannot_be_compared_is_trained_again(train: Any, fermentation: Any) -> None:
    # A class of a test module has no version: nobody knows whether it is still the same.
    steps = [KFold(3), Picky(), {"model": Ridge()}]
    train(steps, fermentation)
    assert {one.outcome for one in train(steps, fermentation, resume=True).outcomes} == {
        Outcome.COMPLETE
    }


KILLED = """
import os, signal, sys
import numpy as np
from sklearn.cross_decomposition import PLSRegression
from sklearn.model_selection import KFold
from n4a_store.pipeline.runner import PipelineRunner

def die(progress):
    if progress.done == 2:
        os.kill(os.getpid(), signal.SIGKILL)

workspace, dataset, data = sys.argv[1:]
with np.load(data) as arrays:
    X, y = arrays["X"], arrays["y"]
sizes = {"_range_": [1, 4], "param": "n_components", "model": PLSRegression()}
PipelineRunner(workspace, progress=die).run([KFold(3), sizes], X, y, dataset)
"""


def test_a_killed_run_keeps_what_was_complete_and_can_be_resumed(
    train: Any, workspace: Any, fermentation: Any, tmp_path: Path
) -> None:
    np.savez(tmp_path / "data.npz", X=fermentation.X, y=fermentation.y)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(workspace.path), DATASET, str(tmp_path / "data.npz")],
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    with workspace.store(DATASET) as store:
        assert fsck(store, full=True).ok
        (ref,) = store.refs("refs/runs/")
        run = store.get_run(ref.oid)
        assert shown_status(store, run) is RunStatus.INTERRUPTED
        assert len(store.get_tree(run.pipelines)) == 2
    resumed = train([KFold(3), SIZES], fermentation, resume=True)
    assert [one.outcome for one in resumed.outcomes] == [
        *[Outcome.RESUMED] * 2,
        *[Outcome.COMPLETE] * 2,
    ]


@pytest.mark.parametrize("asked", [False, True])
def test_packs_are_merged_after_a_run_and_in_the_midst_of_it_only_when_asked(
    workspace: Any, fermentation: Any, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    monkeypatch.setattr(sweep, "_TIDY_EVERY", 10)
    monkeypatch.setattr(maintenance, "PACKS_BEFORE_REPACK", 5)
    if asked:
        monkeypatch.setenv("N4A_STORE_REPACK_WHILE_TRAINING", "true")
    seen: list[int] = []

    def watch(progress: Any) -> None:
        with workspace.store(DATASET) as store, store.catalog.read() as reader:
            seen.append(len(reader.packs()))

    steps = [Halves(), {"_range_": [1, 30], "param": "plus", "model": Mean()}]
    run = PipelineRunner(workspace, progress=watch).run(steps, *fermentation, dataset=DATASET)
    assert len(run.pipelines) == 30
    if asked:
        assert max(seen) <= 20
    else:
        assert seen == sorted(seen)
        assert max(seen) >= 30
    with workspace.store(DATASET) as store:
        assert fsck(store, full=True).ok
        with store.catalog.read() as reader:
            assert len(reader.packs((PackState.LIVE,))) < 10


def test_a_long_run_of_which_nothing_is_complete_has_nothing_to_tidy(
    workspace: Any, fermentation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "_TIDY_EVERY", 1)
    monkeypatch.setenv("N4A_STORE_REPACK_WHILE_TRAINING", "true")
    tidied: list[object] = []
    monkeypatch.setattr(sweep, "maintain", tidied.append)
    run = PipelineRunner(workspace).run(
        [Picky(ok=False), {"model": Mean()}], *fermentation, dataset=DATASET
    )
    assert run.pipelines == ()
    assert not tidied
    with workspace.store(DATASET) as store:
        assert [ref.name for ref in store.refs()] == [f"refs/runs/{run.id}"]

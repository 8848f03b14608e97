"""Branches in worker processes: the same ids and objects as in one, and errors that say where."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from chemotools.scatter import StandardNormalVariate
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from n4a_store.artifacts.workspace import Workspace
from n4a_store.pipeline.runner import PipelineRunner
from n4a_store.repo.fsck import fsck
from tests.pipeline.light import Halves, Mean, Picky
from tests.pipeline.training import DATASET, kept_in

FORKS = [
    StandardScaler(),
    KFold(3),
    {"model": Ridge(0.5), "name": "trunk"},
    {
        "branch": {
            "snv": [StandardNormalVariate(), {"branch": [[], [MinMaxScaler()]]}],
            "raw": [{"y_processing": MinMaxScaler()}],
            "scaled": [StandardScaler(), {"y_processing": StandardScaler()}],
        }
    },
    {"model": PLSRegression(2)},
    {"stack": Ridge(), "name": "inner"},
    {"stack": Ridge(), "name": "outer", "over": "branches"},
]


def test_branches_in_workers_store_what_one_process_stores(
    workspace: Any, tmp_path: Path, fermentation: Any
) -> None:
    # One pipeline of three branches: it is these that are spread over the workers.
    apart = Workspace(tmp_path / "apart")
    more = {"dataset": DATASET, "X_test": fermentation.X[:3], "y_test": fermentation.y[:3]}
    alone = PipelineRunner(workspace).run(FORKS, *fermentation, **more)
    spread = PipelineRunner(apart, n_jobs=2).run(FORKS, *fermentation, **more)
    assert not spread.failures
    assert spread.pipelines == alone.pipelines
    assert list(spread.results) == [replace(row, run_id=spread.id) for row in alone.results]
    assert kept_in(apart, spread) == kept_in(workspace, alone)
    with apart.store(DATASET) as store:
        assert fsck(store, full=True).ok


def test_what_fails_in_a_branch_in_a_worker_is_named(workspace: Any, fermentation: Any) -> None:
    steps = [Halves(), {"branch": [[Picky()], [Picky(ok=False)]]}, {"model": Mean()}]
    run = PipelineRunner(workspace, n_jobs=2).run(steps, *fermentation, dataset=DATASET)
    assert list(run.failures.values()) == [
        "step 1, branch '1', step 2, fold 0: ValueError: not today"
    ]

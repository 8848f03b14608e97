"""Pipelines in worker processes: the same as in one, whatever happens to the workers."""

from __future__ import annotations

from typing import Any

import numpy as np
from chemotools.scatter import StandardNormalVariate
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from n4a_store.objects.oid import Kind
from n4a_store.pipeline.run_result import Outcome
from n4a_store.pipeline.runner import PipelineRunner
from tests.pipeline.light import Halves, Mean, Picky
from tests.pipeline.training import DATASET, added_kinds, objects_of

STEPS = [
    KFold(3),
    {"branch": {"snv": [StandardNormalVariate()], "scaled": [StandardScaler()]}},
    {"y_processing": MinMaxScaler()},
    {"_range_": [1, 4], "param": "n_components", "model": PLSRegression()},
    {"stack": Ridge()},
]


def test_workers_store_what_one_process_stores(
    train: Any, workspace: Any, open_predictor: Any, fermentation: Any
) -> None:
    alone = train(STEPS, fermentation, X_test=fermentation.X[:4])
    before = objects_of(workspace)
    runner = PipelineRunner(workspace, n_jobs=2)
    together = runner.run(STEPS, *fermentation, dataset=DATASET, X_test=fermentation.X[:4])
    assert together.pipelines == alone.pipelines
    assert [row.score for row in together.results] == [row.score for row in alone.results]
    assert added_kinds(before, objects_of(workspace))[Kind.BLOB] == 0
    assert np.array_equal(
        open_predictor().predict(together.id, fermentation.X),
        open_predictor().predict(alone.id, fermentation.X),
    )


def test_a_pipeline_that_fails_in_a_worker_is_named(workspace: Any, fermentation: Any) -> None:
    steps = [Halves(), {"_or_": [Picky(), Picky(ok=False), None]}, {"model": Mean()}]
    run = PipelineRunner(workspace, n_jobs=2).run(steps, *fermentation, dataset=DATASET)
    assert [one.outcome for one in run.outcomes] == [
        Outcome.COMPLETE,
        Outcome.FAILED,
        Outcome.COMPLETE,
    ]
    assert list(run.failures.values()) == ["step 1, fold 0: ValueError: not today"]
    with workspace.store(DATASET) as store:
        assert len(store.refs("refs/pipelines/")) == 2

"""Two thousand pipelines in one run: memory and time per pipeline stay flat, however many packs."""

from __future__ import annotations

import logging
import resource
import time
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from n4a_store.pipeline.runner import PipelineRunner
from n4a_store.repo.fsck import fsck
from n4a_store.storage.rows import PackState
from tests.pipeline.training import DATASET

log = logging.getLogger(__name__)

PIPELINES = 2_000
PARTS = 4


@pytest.mark.slow
def test_two_thousand_pipelines(workspace: Any, fermentation: Any) -> None:
    X, y = fermentation.X[:, ::20], fermentation.y
    steps = [
        KFold(2),
        StandardScaler(),
        {"_range_": [1, PIPELINES], "param": "alpha", "model": Ridge()},
    ]
    moments: list[float] = [time.process_time()]
    memory: list[int] = []
    packs: list[int] = []

    def watch(progress: Any) -> None:
        if progress.done % (PIPELINES // PARTS) == 0:
            moments.append(time.process_time())
            with workspace.store(DATASET) as store, store.catalog.read() as reader:
                packs.append(len(reader.packs()))
            memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

    run = PipelineRunner(workspace, progress=watch).run(steps, X, y, DATASET)
    assert len(run.pipelines) == PIPELINES
    log.info("CPU seconds per part: %s; KiB at the end of each: %s", np.diff(moments), memory)
    # Peak memory in KiB: what the last three quarters add is what the run's own rows take.
    assert memory[-1] - memory[0] < 64 * 1024
    # Nothing was merged while it trained, and all was when it had ended.
    assert packs == sorted(packs)
    assert packs[-1] >= PIPELINES
    with workspace.store(DATASET) as store:
        with store.catalog.read() as reader:
            assert len(reader.packs((PackState.LIVE,))) < 50
        assert len(store.refs("refs/pipelines/")) == PIPELINES
        assert fsck(store).ok

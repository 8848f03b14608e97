"""Real training into a real store, in a folder that goes away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from n4a_store.artifacts.workspace import Workspace
from n4a_store.pipeline.predictor import Predictor
from n4a_store.pipeline.run_result import RunResult
from n4a_store.pipeline.runner import PipelineRunner
from tests.pipeline.training import DATASET


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace that does not exist yet."""
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def train(workspace: Workspace) -> Callable[..., RunResult]:
    """Trains a pipeline on spectra; unless told, none may fail."""
    runner = PipelineRunner(workspace)

    def run(pipeline: Any, data: Any, *, may_fail: bool = False, **more: Any) -> RunResult:
        result = runner.run(pipeline, data.X, data.y, DATASET, **more)
        assert may_fail or not result.failures
        return result

    return run


@pytest.fixture
def open_predictor(workspace: Workspace) -> Iterator[Callable[[], Predictor]]:
    """Opens predictors on the workspace, and closes them in the end."""
    opened: list[Predictor] = []

    def open_one() -> Predictor:
        opened.append(Predictor(workspace, DATASET))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()

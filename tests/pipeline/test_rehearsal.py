"""What cannot work is refused before anything is fitted or stored, and what looks odd works."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from n4a_store.errors import InvalidInputError
from n4a_store.pipeline.controllers import CONTROLLERS, Controller
from n4a_store.pipeline.controllers.model import ModelController
from n4a_store.pipeline.controllers.splitter import SplitterController
from n4a_store.pipeline.data import PathState
from n4a_store.pipeline.orchestrator import Orchestrator
from n4a_store.pipeline.plan import plan_pipelines
from n4a_store.pipeline.predictor import Predictor
from n4a_store.pipeline.runner import PipelineRunner
from n4a_store.pipeline.steps import Step
from tests.pipeline.light import Halves, Mean, Picky, Same, Scaled
from tests.pipeline.training import DATASET

X = np.arange(40.0).reshape(10, 4)
Y = np.arange(10.0)
K = Halves()
M = {"model": Mean()}
A = {"model": Mean(1.0), "name": "a"}
STACK = {"stack": Mean()}
OVER = {"stack": Mean(), "over": "branches"}
# Whoever fits this has not been stopped.
T = Picky(ok=False)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([STACK], "step 0: no model before the stack"),
        ([T, K, STACK], "step 2: no model before the stack"),
        ([T, K, STACK, M], "step 2: no model before the stack"),
        ([K, T, {"branch": [[M], [STACK]]}], "step 2, branch '1', step 3: no model before the s"),
        ([K, T, {"branch": {"a": [M], "b": [T]}}, STACK],
         "step 4: no model before the stack on the path through step 2, branch 'b'"),
        ([K, T, {"branch": [[M], []]}, {"branch": [[], [STACK]]}],
         "step 4, branch '1', step 5: no model before the stack on the path through step 2, b"),
        ([K, {"branch": [[M], [{"branch": [[T], [M]]}]]}, OVER],
         "step 4: no model before the stack on the path through step 1, branch '1', step 2, br"),
        ([T, M, STACK], "step 2: Mean has no held-out predictions to stack"),
        ([T, M, K, STACK], "step 3: Mean has no held-out predictions to stack"),
        ([T, M, K, A, STACK], "step 4: Mean has no held-out predictions to stack"),
        ([{"branch": [[T, K], [T]]}, M, STACK],
         "step 4: Mean has no held-out predictions to stack on the path through step 0, branch '1"),
        ([K, T, M, {**STACK, "sources": ["b"]}], "step 3: no model before the stack is called 'b'"),
        ([K, T, M, M, {**STACK, "sources": ["Mean"]}], "step 4: several models are called 'Mean'"),
        ([K, T, {"branch": [[A], [A]]}, {**OVER, "sources": ["a"]}],
         "step 4: several models are called 'a'"),
        ([K, T, M, {**STACK, "sources": ["Mean", "Mean"]}], "step 3: \"sources\" names 'Mean' twi"),
        ([K, T, M, {**STACK, "sources": []}], 'step 3: "sources" names no model'),
        ([K, T, M, {**STACK, "sources": 3}], 'step 3: "sources" is a list of model names, not 3'),
        ([T, K, K, M], "step 2: the rows are already split into folds"),
        ([K, T, {"branch": [[], [K]]}, M], "step 2, branch '1', step 3: the rows are already spl"),
        ([{"branch": [[K, T], [T]]}, K, M],
         "step 3: the rows are already split into folds on the path through step 0, branch '0'"),
        ([K, T, {"branch": [[M], [T]]}], "step 2, branch '1': no model on this path"),
        ([K, T, {"branch": [[M], []]}, {"branch": {"c": [M], "d": []}}],
         "step 2, branch '1' and step 4, branch 'd': no model on this path"),
        ([K, T, {"branch": [[M], [M]]}, OVER, M], "step 5: nothing but a stack follows a joining"),
        ([K, T, {"branch": [[M], [M]]}, OVER, T, M], "step 5: nothing but a stack follows a joi"),
        ([K, T, M, {"y_processing": Same()}, STACK], "step 3: Same cannot process"),
        ([T, M, K], "step 2: no model comes after Halves"),
        ([K, T, {"branch": {"1": [M], 1: [M]}}], "step 2: two branches are called '1'"),
        ([K, T, {"branch": {"_or_": [[M], [M]]}}], "step 2: '_or_' stands for a step or a value"),
        ([T, {"model": Mean(), "name": ""}], "step 1: \"name\" is text, not ''"),
        ([T, {"model": Mean(), "name": 3}], 'step 1: "name" is text, not 3'),
        ([{"transform": T, "name": None}, M], 'step 0: "name" is text, not None'),
        ([K, T, M, {**STACK, "name": b"x"}], "step 3: \"name\" is text, not b'x'"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_before_anything_is_fitted(
    workspace: Any, steps: list[Any], said: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        PipelineRunner(workspace).run(steps, X, Y, DATASET)
    assert str(caught.value).startswith(said)
    assert not workspace.path.exists()


def test_targets_processed_between_the_models_and_their_stack_serve_nobody(workspace: Any) -> None:
    scaler = Undoable()
    with pytest.raises(InvalidInputError, match="step 3: no model comes after y_processing"):
        PipelineRunner(workspace).run([K, T, M, {"y_processing": scaler}, STACK], X, Y, DATASET)
    assert not workspace.path.exists()


class Undoable(Same):
    def inverse_transform(self, X: Any) -> Any:
        return X


def test_one_bad_variant_is_named_among_the_good_ones(workspace: Any) -> None:
    with pytest.raises(InvalidInputError, match="step 2: no model before") as caught:
        PipelineRunner(workspace).run([K, T, {"_or_": [M, STACK, A]}], X, Y, DATASET)
    assert caught.value.__notes__[-1] == "in variant 2 of 3"
    assert not workspace.path.exists()


@pytest.mark.parametrize(
    ("steps", "models"),
    [
        ([K, {"branch": [[]]}, M], 1),
        ([K, {"branch": [[], []]}, M], 2),
        ([K, {"branch": [None, [Same()]]}, M], 2),
        ([K, M, {"branch": [[Same()], [A]]}], 2),  # the trunk's model lies behind both
        ([K, {"branch": [[M], [M]]}, STACK], 4),
        ([K, {"branch": [[M], [M]]}, OVER, {"stack": Mean(), "name": "again"}], 4),
        ([K, M, {"branch": [[], [Same()]]}, STACK], 3),
        ([K, A, {"branch": [[M], [M]]}, {**OVER, "sources": ["a"]}], 4),
        ([K, {"branch": [[{"branch": [[M], [M]]}, OVER], [M]]}], 4),
        ([{"branch": [[K], [Scaled(1.0), K]]}, M, OVER], 3),
        ([K, M, M, STACK], 3),
        ([M, K, A], 2),  # the first has seen all rows, and is scored on them
        ([K, M, Same()], 1),
        ([{"model": Mean(), "refit": True}], 1),
    ],
)  # fmt: skip
def test_what_looks_odd_and_can_work_works(workspace: Any, steps: list[Any], models: int) -> None:
    run = PipelineRunner(workspace).run(steps, X, Y, DATASET)
    assert not run.failures
    assert len({(row.branch_path, row.step_index) for row in run.results}) == models
    with Predictor(workspace, DATASET) as predictor:
        assert predictor.predict(None, X).shape == (10,)


class SilentSplitter(SplitterController):
    """Does not say beforehand what it does."""

    def foresee(self, *_: Any) -> Any:
        return None


class SilentModel(ModelController):
    """Does not say beforehand what it does."""

    def foresee(self, *_: Any) -> Any:
        return None


@pytest.mark.parametrize(
    ("silent", "bad", "said"),
    [
        (SilentSplitter(), [K, K, M], "step 1: the rows are already split"),
        (SilentSplitter(), [K, {"branch": [[M], [M]]}, OVER, M], "step 4: nothing but a stack"),
        (SilentModel(), [M, STACK], "step 1: Mean has no held-out predictions"),
        (SilentModel(), [K, M, {**STACK, "sources": ["b"]}], "step 2: no model before the stack"),
    ],
)
def test_what_a_controller_does_not_say_is_found_when_the_step_runs(
    workspace: Any, silent: Controller, bad: list[Any], said: str
) -> None:
    controllers = [c for c in CONTROLLERS if c.keyword != silent.keyword]
    runner = PipelineRunner(workspace, controllers=[silent, *controllers])
    good: list[Any] = [K, {"branch": [[M], [Same(), M]]}, STACK]
    assert not runner.run(good, X, Y, DATASET).failures
    (why,) = runner.run(bad, X, Y, DATASET).failures.values()
    assert why.startswith(said)


class Honest(SplitterController):
    """Counts what it is asked beforehand and what it is told to do."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def foresee(self, step: Step, outlook: Any, rehearsal: Any) -> Any:
        self.asked.append(f"foresee {outlook.branch_path}")
        return super().foresee(step, outlook, rehearsal)

    def run(self, step: Step, state: PathState, orchestrator: Orchestrator) -> list[PathState]:
        self.asked.append(f"run {tuple(state.selector.branch_path)}")
        return super().run(step, state, orchestrator)


def test_the_rehearsal_walks_the_paths_of_the_training(workspace: Any) -> None:
    honest = Honest()
    controllers = [honest, *(c for c in CONTROLLERS if c.keyword != "split")]
    steps = [{"branch": [[], [{"branch": [[], [K]]}]]}, {"branch": [[Same()]]}, M]
    with pytest.raises(InvalidInputError, match="already split"):
        plan_pipelines([*steps[:1], K, M], controllers=controllers)
    honest.asked.clear()
    steps = [{"branch": [[K], [{"branch": [[Same(), K], [K]]}]]}, {"branch": [[Same()]]}, M]
    run = PipelineRunner(workspace, controllers=controllers).run(steps, X, Y, DATASET)
    assert not run.failures
    paths = ["(0,)", "(1, 0)", "(1, 1)"]
    assert honest.asked == [f"{what} {path}" for what in ("foresee", "run") for path in paths]

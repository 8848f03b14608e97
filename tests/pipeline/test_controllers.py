"""Controllers: what each refuses while it runs, named by its step; and a new one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, PredefinedSplit
from sklearn.svm import LinearSVC

from n4a_store.pipeline.controllers import CONTROLLERS, Controller
from n4a_store.pipeline.data import PathState
from n4a_store.pipeline.orchestrator import Orchestrator
from n4a_store.pipeline.predictor import Predictor
from n4a_store.pipeline.runner import PipelineRunner
from n4a_store.pipeline.steps import Place, Step
from tests.pipeline.training import DATASET

PLS = {"model": PLSRegression(2)}
FOLDS = KFold(3)


class Folds:
    """A splitter that gives what it is told to give."""

    def __init__(self, folds: Any) -> None:
        self.folds = folds

    def split(self, X: Any, y: Any = None) -> Any:
        return iter(self.folds)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([Folds([]), PLS], "step 0: Folds gave no fold"),
        ([Folds([([], [1])]), PLS], "step 0: a fold is two lists of row numbers"),
        ([Folds([([0.5], [1])]), PLS], "step 0: a fold is two lists of row numbers"),
        ([Folds([([0, 1], [21])]), PLS], "step 0: a fold names row 21 of 21 rows"),
        ([Folds([([0, -1], [2])]), PLS], "step 0: a fold names row -1 of 21 rows"),
        (
            [{"branch": [[Folds([(range(5), [5])]), PLS], [Folds([(range(5), [6])]), PLS]]},
             {"stack": Ridge(), "over": "branches"}],
            "no row was held out for every source",
        ),
        ([FOLDS, {"model": PLSRegression(2000)}], "step 1, fold 0: ValueError"),
    ],
)  # fmt: skip
def test_a_step_that_cannot_run_is_named(
    train: Any, fermentation: Any, steps: list[Any], said: str
) -> None:
    run = train(steps, fermentation, may_fail=True)
    assert said in next(iter(run.failures.values()))


def test_labels_that_are_no_numbers_cannot_feed_a_stack(train: Any, coffee: Any) -> None:
    data = type(coffee)(coffee.X[:, ::40], coffee.y)
    steps = [FOLDS, {"model": LinearSVC()}, {"stack": LogisticRegression()}]
    shuffled = [KFold(3, shuffle=True, random_state=0), *steps[1:]]
    run = train(shuffled, data, may_fail=True)
    assert "cannot feed a meta-model" in next(iter(run.failures.values()))


def test_masks_and_predefined_folds_are_folds(train: Any, fermentation: Any) -> None:
    mask = np.arange(21) % 2 == 0
    masked = train([Folds([(mask, ~mask)]), PLS], fermentation)
    listed = train([Folds([(np.flatnonzero(mask), np.flatnonzero(~mask))]), PLS], fermentation)
    assert [row.rmse for row in masked.results] == [row.rmse for row in listed.results]
    defined = train([PredefinedSplit(np.where(mask, -1, 0)), PLS], fermentation)
    assert [row.rmse for row in defined.results] == [row.rmse for row in listed.results]


def test_a_stack_over_chosen_sources_and_over_a_stack(
    train: Any, open_predictor: Any, fermentation: Any
) -> None:
    steps = [
        FOLDS,
        {"model": PLSRegression(2), "name": "a"},
        {"model": PLSRegression(3), "name": "b"},
        {"model": PLSRegression(4), "name": "c"},
        {"stack": Ridge(), "name": "inner", "sources": ["a", "c"]},
        {"stack": Ridge(), "name": "outer", "sources": ["inner", "b"]},
    ]
    run = train(steps, fermentation, X_test=fermentation.X)
    predictor = open_predictor()
    assert predictor.select(run.id).head.name == "outer"
    said = predictor.predict(run.id, fermentation.X)
    assert np.array_equal(said, predictor.stored(run.id, partition="test"))
    assert {row.model for row in run.results if row.feeds_stack} == {"a", "b", "c", "inner"}


class Halve(Controller):
    """``{"halve": 2}``: keeps every second feature. It stores nothing, so cannot predict."""

    keyword: ClassVar[str] = "halve"

    def parse(self, value: Any, options: Mapping[str, Any], place: Place) -> Step:
        if not isinstance(value, int):
            raise place.fail("halve wants a number")
        return place.step(self.keyword, value)

    def run(self, step: Step, state: PathState, orchestrator: Orchestrator) -> list[PathState]:
        from dataclasses import replace

        (every,) = step.operators
        return [
            state.with_lanes(
                [replace(lane, X_train=lane.X_train[:, ::every]) for lane in state.lanes]
            )
        ]


def test_a_new_controller_is_one_class_and_one_line(workspace: Any, fermentation: Any) -> None:
    runner = PipelineRunner(workspace, controllers=(*CONTROLLERS, Halve()))
    runner.run([{"halve": 2}, PLS], *fermentation, dataset=DATASET)
    with Predictor(workspace, DATASET) as predictor:
        assert predictor.predict(None, fermentation.X[:, ::2]).shape == (21,)

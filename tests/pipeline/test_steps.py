"""Steps: what the parser makes of them, and every mistake named before anything is fitted."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.cluster import KMeans
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler

from n4a_store.errors import InvalidInputError
from n4a_store.pipeline.controllers import CONTROLLERS
from n4a_store.pipeline.steps import Program, parse_pipeline

MODEL = {"model": Ridge()}


def parse(*steps: Any) -> Program:
    return parse_pipeline(steps, CONTROLLERS)


def listing(program: Program) -> list[tuple[int, str]]:
    return [(step.index, step.keyword) for step in program.walk()]


def test_bare_objects_are_read_by_what_they_can_do() -> None:
    # PLS transforms too, k-means predicts too: what they declare themselves decides.
    program = parse(StandardScaler(), KFold(3), KMeans(2), PLSRegression())
    assert listing(program) == [(0, "transform"), (1, "split"), (2, "transform"), (3, "model")]


def test_a_class_stands_for_an_object_without_arguments() -> None:
    step = parse(StandardScaler, {"model": Ridge}).steps[0]
    assert isinstance(step.operators[0], StandardScaler)


def test_chains_are_read_in_place_and_none_is_left_out() -> None:
    program = parse([StandardScaler(), [None, MinMaxScaler()]], None, MODEL)
    assert listing(program) == [(0, "transform"), (1, "transform"), (2, "model")]


def test_steps_after_a_branch_have_one_index_in_every_branch() -> None:
    program = parse(
        KFold(3),
        {"branch": {"raw": [], "deep": [StandardScaler(), {"branch": [[Normalizer()], []]}]}},
        MODEL,
        {"stack": Ridge()},
    )
    assert listing(program) == [
        (0, "split"),
        (1, "branch"),
        (2, "transform"),
        (3, "branch"),
        (4, "transform"),
        (5, "model"),
        (6, "stack"),
    ]
    assert program.end == 7
    assert [branch.name for branch in program.steps[1].branches] == ["raw", "deep"]


def test_parameters_are_set_on_a_copy() -> None:
    mine = Ridge(alpha=1.0)
    step = parse({"model": mine, "params": {"alpha": 3.0}, "name": "r"}).steps[0]
    assert (step.operators[0].alpha, mine.alpha, step.name) == (3.0, 1.0, "r")


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([StandardScaler()], "no model"),
        ([], "no model"),
        (["text"], "step 0: str is no step"),
        ([StandardScaler(), object(), MODEL], "step 1: object is no step"),
        ([{"modle": Ridge()}], "exactly one of the keys"),
        ([{"model": Ridge(), "stack": Ridge()}], "'model' and 'stack'"),
        ([{"model": Ridge(), "nmae": "r"}], "unknown option 'nmae'"),
        ([{"model": StandardScaler()}], "StandardScaler is no model: it has no predict"),
        ([{"model": Ridge(), "params": {"alhpa": 1}}], "step 0: Ridge: Invalid parameter"),
        ([{"model": Ridge(), "params": 3}], '"params" is a dict'),
        ([{"y_processing": Normalizer()}, MODEL], "Normalizer cannot process targets"),
        ([{"y_processing": []}, MODEL], "without anything"),
        ([{"transform": KFold()}, MODEL], "KFold is no transformer"),
        ([{"split": Ridge()}, MODEL], "Ridge is no splitter"),
        ([{"branch": 3}, MODEL], "a list of lists or a dict of lists"),
        ([{"branch": []}, MODEL], "without branches"),
        ([{"branch": {"a": [1.5]}}, MODEL], "step 0, branch 'a', step 1: float is no step"),
        ([MODEL, {"stack": Ridge(), "sources": "a"}], '"sources" is a list'),
        ([MODEL, {"stack": Ridge(), "over": "all"}], '"over" is'),
        ([KFold, type("Needy", (), {"__init__": lambda self, k: None})], "without arguments"),
    ],
)
def test_a_mistake_names_its_step(steps: list[Any], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        parse(*steps)


def test_a_near_miss_is_suggested() -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse({"modle": Ridge()})
    assert caught.value.hint == "did you mean 'model'?"

"""Generators: which pipelines one definition stands for, and in which order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n4a_store.errors import InvalidInputError
from n4a_store.pipeline.generators import expand


def test_a_pipeline_without_generators_is_itself() -> None:
    assert expand(["a", {"model": "m", "params": {"k": 1}}]) == [
        ["a", {"model": "m", "params": {"k": 1}}]
    ]


def test_alternatives_multiply_and_the_first_varies_slowest() -> None:
    found = expand([{"_or_": ["a", "b"]}, {"_or_": ["x", "y"]}])
    assert found == [["a", "x"], ["a", "y"], ["b", "x"], ["b", "y"]]


def test_an_alternative_may_be_a_chain_or_nothing() -> None:
    assert expand([{"_or_": [["a", "b"], None, "c"]}, "m"]) == [["a", "b", "m"], ["m"], ["c", "m"]]


def test_nothing_may_stand_for_what_a_step_applies_and_not_for_its_options() -> None:
    scaled = {"y_processing": {"_or_": ["s", None]}}
    assert expand([scaled, "m"]) == [[{"y_processing": "s"}, "m"], ["m"]]
    inside = {"branch": [[{"transform": {"_or_": [None, "t"]}}]]}
    assert expand([inside]) == [[{"branch": [[]]}], [{"branch": [[{"transform": "t"}]]}]]
    option = {"model": "m", "params": {"depth": {"_or_": [None, 3]}}}
    assert [one["params"]["depth"] for [one] in expand([option])] == [None, 3]
    assert expand([{"transform": None}]) == [[{"transform": None}]], "refused by the parser"


def test_generators_nest() -> None:
    inner = {"_or_": ["b", "c"]}
    assert expand([{"_or_": ["a", inner, ["d", inner]]}]) == [
        ["a"],
        ["b"],
        ["c"],
        ["d", "b"],
        ["d", "c"],
    ]


def test_size_takes_combinations_in_the_order_given() -> None:
    assert expand([{"_or_": ["a", "b", "c"], "size": 2}]) == [["a", "b"], ["a", "c"], ["b", "c"]]
    assert len(expand([{"_or_": ["a", "b", "c"], "size": [1, 3]}])) == 7


def test_a_range_includes_both_ends_and_does_not_drift() -> None:
    found = expand([{"model": "m", "params": {"k": {"_range_": [0.1, 1.0, 0.1]}}}])
    values = [steps[0]["params"]["k"] for steps in found]
    assert len(values) == 10
    assert values[-1] == pytest.approx(1.0)
    assert expand([{"_range_": [1, 9, 4], "param": "k", "model": "m"}]) == [
        [{"model": "m", "params": {"k": k}}] for k in (1, 5, 9)
    ]
    assert [
        s[0]["params"]["k"] for s in expand([{"_range_": [3, 1, -1], "param": "k", "model": "m"}])
    ] == [3, 2, 1]


def test_a_range_keeps_the_parameters_that_stand_beside_it() -> None:
    found = expand(
        [
            {
                "_range_": [1, 2],
                "param": "k",
                "model": {"_or_": ["m", "n"]},
                "params": {"j": 0},
                "name": "x",
            }
        ]
    )
    assert found[1] == [{"model": "m", "params": {"j": 0, "k": 2}, "name": "x"}]
    assert found[2] == [{"model": "n", "params": {"j": 0, "k": 1}, "name": "x"}]


def test_values_inside_a_step_and_inside_a_branch() -> None:
    assert len(expand([{"y_processing": {"_or_": ["a", "b"]}}])) == 2
    found = expand([{"branch": [["a", {"_or_": ["b", "c"]}], ["d"]]}])
    assert found == [[{"branch": [["a", "b"], ["d"]]}], [{"branch": [["a", "c"], ["d"]]}]]
    named = expand([{"branch": {"p": [{"_or_": ["a", "b"]}], "q": []}}])
    assert named[1] == [{"branch": {"p": ["b"], "q": []}}]


def test_count_takes_the_first_or_draws_with_a_seed() -> None:
    assert expand([{"_or_": list("abcde"), "count": 2}]) == [["a"], ["b"]]
    drawn = expand([{"_or_": list("abcdefgh"), "count": 3, "seed": 1}])
    assert drawn == expand([{"_or_": list("abcdefgh"), "count": 3, "seed": 1}])
    assert len(drawn) == 3
    assert drawn == sorted(drawn)
    assert len(expand([{"_or_": ["a"], "count": 9}])) == 1


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 6))
def test_the_number_of_pipelines_is_the_product(sizes: list[int], count: int) -> None:
    steps = [
        {"_or_": [f"{i}.{j}" for j in range(size)], "count": count} for i, size in enumerate(sizes)
    ]
    expected = 1
    for size in sizes:
        expected *= min(size, count)
    found = expand(steps)
    assert len(found) == expected
    assert len({tuple(steps) for steps in found}) == expected


def test_a_generator_alone_is_a_pipeline() -> None:
    assert expand({"_or_": [["a"], ["b", "c"]]}) == [["a"], ["b", "c"]]


@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        ("text", "a list of steps"),
        ([{"_or_": []}], "step 0.*at least one"),
        (["a", {"_or_": "ab"}], "step 1.*at least one"),
        ([{"_or_": ["a"], "cuont": 1}], "unknown key 'cuont'"),
        ([{"_or_": ["a"], "count": 0}], '"count"'),
        ([{"_or_": ["a"], "count": True}], '"count"'),
        ([{"_or_": ["a"], "seed": 1}], '"seed" goes with "count"'),
        ([{"_or_": ["a", "b"], "size": 3}], '"size"'),
        ([{"_range_": [1, 3]}], 'needs "param" and "model"'),
        ([{"model": "m", "params": {"k": {"_range_": [1]}}}], '"_range_" wants'),
        ([{"model": "m", "params": {"k": {"_range_": [1, 2, 0]}}}], "holds no value"),
        ([{"model": "m", "params": {"k": {"_range_": [2, 1]}}}], "holds no value"),
        ([{"model": "m", "params": {"k": {"_range_": ["a", "b"]}}}], '"_range_" wants'),
        ([{"model": "m", "params": {"k": {"_range_": [0, 1, 1e-9]}}}], "more than"),
        ([{"model": "m", "params": {"k": {"_range_": [1, float("nan")]}}}], '"_range_" wants'),
        ([{"model": "m", "params": {"k": {"_range_": [1, float("inf")]}}}], '"_range_" wants'),
        ([{"_or_": ["a", "b"], "count": -1}], '"count" must be a number above 0, not -1'),
        ([{"_or_": ["a", "b"], "count": 1.5}], '"count" must be a number above 0, not 1.5'),
        ([{"_or_": ["a", "b"], "count": 1, "seed": [1]}], '"seed" is a whole number, not .1'),
        ([{"_or_": ["a"], "count": 1, "seed": "x"}], '"seed" is a whole number'),
        ([{"_or_": list(range(100))}] * 4, "more than 100000"),
        ([{"branch": [[{"_or_": []}]]}], "^step 0, branch '0', step 1: .*at least one"),
        (["a", {"branch": {"b": ["c", {"_or_": 3}]}}], "^step 1, branch 'b', step 3: .*least one"),
    ],
)  # fmt: skip
def test_a_malformed_generator_is_named(pipeline: object, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        expand(pipeline)  # type: ignore[arg-type]


def test_a_range_takes_numpys_numbers_and_gives_plain_ones() -> None:
    for bounds in ([1, np.int64(3)], [np.float32(0.5), 1.0, 0.5], (np.uint8(1), 2)):
        found = expand([{"k": {"_range_": bounds}}])
        assert {type(step["k"]) for (step,) in found} <= {int, float}
    assert [step["k"] for (step,) in expand([{"k": {"_range_": [np.int64(1), 3]}}])] == [1, 2, 3]
    for wrong in ([True, 2], [np.nan, 2], [1, np.inf], ["1", 2], [np.bool_(True), 2]):
        with pytest.raises(InvalidInputError, match="_range_"):
            expand([{"k": {"_range_": wrong}}])

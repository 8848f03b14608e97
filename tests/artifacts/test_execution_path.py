"""Artifact ids: one spelling for one place, and errors that say which part."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n4a_store.artifacts.execution_path import (
    MAX_NUMBER,
    BranchPath,
    ExecutionPath,
    generate_artifact_id,
    parse_artifact_id,
    parse_key,
    parsed_order,
)
from n4a_store.errors import InvalidInputError, InvalidNameError

EXAMPLES = [
    (("0001_pls", [], 3, None, None), "0001_pls:3:all"),
    (("0001_pls", [0, 2], 3, 0, None), "0001_pls:0:2:3:0"),
    (("0001_pls", [0], 3, 1, 2), "0001_pls:0:3.2:1"),
    (("p", [], 0, 0, 0), "p:0.0:0"),
]


@pytest.mark.parametrize(("parts", "artifact_id"), EXAMPLES)
def test_the_examples_of_the_design(parts: tuple, artifact_id: str) -> None:
    pipeline_id, branch_path, step, fold, sub = parts
    assert generate_artifact_id(pipeline_id, branch_path, step, fold, sub_index=sub) == artifact_id
    path = parse_artifact_id(artifact_id)
    assert path == parts
    assert list(path.branch_path) == branch_path
    assert path.branch_path == tuple(branch_path)
    assert path.artifact_id == str(path) == artifact_id
    assert path.pipeline_id + ":" + path.key == artifact_id
    assert parse_key(path.pipeline_id, path.key) == path


numbers = st.integers(0, MAX_NUMBER)


@given(
    st.from_regex(r"[a-z0-9_][a-z0-9_.-]{0,20}[a-z0-9_]", fullmatch=True),
    st.lists(numbers, max_size=5),
    numbers,
    st.none() | numbers,
    st.none() | numbers,
)
def test_every_id_parses_back(pipeline_id, branch_path, step, fold, sub) -> None:
    try:
        artifact_id = generate_artifact_id(pipeline_id, branch_path, step, fold, sub)
    except InvalidNameError:  # a device name, an object id: the grammar of names is tested there
        return
    assert generate_artifact_id(*parse_artifact_id(artifact_id)) == artifact_id


@given(st.text(alphabet="ab01:.al-+ ", max_size=20) | st.text(max_size=20))
def test_what_parses_has_one_spelling(text: str) -> None:
    try:
        path = parse_artifact_id(text)
    except InvalidInputError:
        return
    assert generate_artifact_id(*path) == text


@pytest.mark.parametrize(
    ("artifact_id", "part"),
    [
        ("", "pipeline id"),
        ("p", "step and fold"),
        ("p:", "step or fold"),
        ("p:3", "step or fold"),
        (":3:all", "pipeline id"),
        ("p q:3:all", "pipeline id"),
        ("../x:3:all", "pipeline id"),
        ("p:x:all", "step"),
        ("p::all", "step"),
        ("p:-1:all", "step"),
        ("p:03:all", "step"),
        ("p:3.:all", "sub-step"),
        ("p:3.1.2:all", "sub-step"),
        ("p:3.x:all", "sub-step"),
        ("p:3:ALL", "fold"),
        ("p:3:", "fold"),
        ("p:3:1.5", "fold"),
        ("p:a:3:all", "branch"),
        ("p::3:all", "branch"),
        ("p:1_0:3:all", "branch"),
        ("p:٣:3:all", "branch"),
        ("p:²:3:all", "branch"),
        ("p:3:99999999999999999999", "fold"),
        (f"p:3:{2**63}", "fold"),
        ("p:" + "0:" * 65 + "3:all", "branch path"),
        ("x" * 10_000, "pipeline id"),
        ("p:3:all\n", "fold"),
        ("p:3:all:", "fold"),
    ],
)
def test_a_malformed_id_says_which_part(artifact_id: str, part: str) -> None:
    with pytest.raises(ValueError, match=rf"malformed artifact id .*: {part}: ") as caught:
        parse_artifact_id(artifact_id)
    assert isinstance(caught.value, InvalidInputError)
    assert "fold|all" in str(caught.value.hint)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("artifact_id", [None, 3, b"p:3:all", ["p:3:all"]])
def test_an_id_that_is_no_text(artifact_id: object) -> None:
    with pytest.raises(InvalidInputError, match="text"):
        parse_artifact_id(artifact_id)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["exp:1", "", "a/b", "..", "../../x", "a\nb", "con", "a" * 10_000])
def test_a_pipeline_id_that_is_no_name_is_refused(name: str) -> None:
    """`exp:1` would come back as pipeline `exp`, branch 1."""
    with pytest.raises(InvalidNameError, match="pipeline id"):
        generate_artifact_id(name, [], 3)


@pytest.mark.parametrize(
    "parts",
    [
        ([], -1),
        ([], 1.0),
        ([], "1"),
        ([], True),
        ([], None),
        ([], 2**63),
        ([-1], 0),
        (["0"], 0),
        ("01", 0),
        (0, 0),
        ([[0]], 0),
        ([0] * 65, 0),
        ([], 0, -1),
        ([], 0, "all"),
        ([], 0, False),
        ([], 0, None, -1),
        ([], np.array([1, 2])),
    ],
)
def test_parts_of_the_wrong_kind_are_refused(parts: tuple) -> None:
    with pytest.raises(InvalidInputError):
        generate_artifact_id("p", *parts)


def test_numpy_integers_are_indices() -> None:
    ids = generate_artifact_id("p", np.array([0, 2]), np.int64(3), np.uint8(1))
    assert ids == "p:0:2:3:1"


def test_equal_paths_have_one_text_whoever_asks_first() -> None:
    """It is remembered by the path, and the text of True was given to the next with a 1."""
    unchecked = ExecutionPath("equal", BranchPath((True,)), True, False, True)
    assert unchecked.artifact_id == "equal:1:1.1:0"
    assert generate_artifact_id("equal", [1], 1, 0, 1) == "equal:1:1.1:0"


def test_ids_sort_as_numbers() -> None:
    ids = ["p:10:all", "p:2:1", "p:2:all", "p:2.1:all", "p:2:10", "p:2:2", "p:1:2:all", "p:0:2:all"]
    assert sorted(ids, key=parsed_order) == [
        "p:2:all",
        "p:2:1",
        "p:2:2",
        "p:2:10",
        "p:0:2:all",
        "p:1:2:all",
        "p:2.1:all",
        "p:10:all",
    ]


def test_a_branch_path_knows_its_ancestors() -> None:
    path = parse_artifact_id("p:0:2:3:all").branch_path
    assert path.starts_with([])
    assert path.starts_with([0])
    assert path.starts_with((0, 2))
    assert not path.starts_with([2])
    assert not path.starts_with([0, 2, 1])
    assert path != [0]
    assert hash(path) == hash((0, 2))


def test_a_path_is_an_ordinary_tuple() -> None:
    pipeline_id, branch_path, step, fold, sub = parse_artifact_id("p:1:3.4:all")
    assert (pipeline_id, list(branch_path), step, fold, sub) == ("p", [1], 3, None, 4)
    assert ExecutionPath("p", branch_path, 3, None, 4).artifact_id == "p:1:3.4:all"


def test_one_malformed_key_is_named_with_each_pipeline() -> None:
    for name in ("first", "second", "first"):
        with pytest.raises(InvalidInputError, match=f"'{name}:3:x': fold: 'x' is not a number"):
            parse_artifact_id(f"{name}:3:x")
        assert parse_artifact_id(f"{name}:0:3.1:2") == (name, (0,), 3, 2, 1)


def test_an_id_is_the_same_in_every_unicode_form() -> None:
    composed, apart = "\u00e9:3:all", "e\u0301:3:all"
    assert parse_artifact_id(apart) == parse_artifact_id(composed)
    assert parse_artifact_id(apart).artifact_id == composed

"""Places in an execution, and the ids of what is made there."""

from __future__ import annotations

from pathlib import Path

import pytest

from n4a_store.artifacts.execution_path import generate_artifact_id
from n4a_store.artifacts.registry import ArtifactRegistry
from n4a_store.errors import InvalidInputError
from n4a_store.pipeline.context import DataSelector, RuntimeContext


def test_a_place_knows_the_id_of_what_is_made_there() -> None:
    place = DataSelector(branch_path=[0]).enter(2, "snv").at(3, fold_id=1, sub_index=4)
    assert place.artifact_id("0001_pls") == generate_artifact_id("0001_pls", [0, 2], 3, 1, 4)
    assert place.branch_path == [0, 2]
    assert DataSelector().at(3).artifact_id("p") == "p:3:all"


def test_a_place_without_a_step_has_no_id() -> None:
    with pytest.raises(InvalidInputError, match="step"):
        DataSelector().artifact_id("p")


@pytest.mark.parametrize("path", [[-1], ["a"], "0", [True]])
def test_a_branch_path_is_checked(path: object) -> None:
    with pytest.raises(InvalidInputError):
        DataSelector(branch_path=path)  # type: ignore[arg-type]


def test_places_are_values() -> None:
    assert DataSelector([0, 1], 2) == DataSelector((0, 1), 2)
    assert len({DataSelector([0]), DataSelector((0,))}) == 1


def test_a_context_without_data_says_so(tmp_path: Path) -> None:
    context = RuntimeContext(ArtifactRegistry(tmp_path, "d"), "p")
    with pytest.raises(InvalidInputError, match="no data to train on"):
        _ = context.training

"""Arguments of the wrong type: an error that says what was expected, never an empty answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from n4a_store import ArtifactLoader, ArtifactNotFoundError, ArtifactRegistry, InvalidInputError
from n4a_store.artifacts.incoming import artifact_ids

WRONG = [None, 1.5, "x", b"3", [], object()]
Both = tuple[ArtifactRegistry, ArtifactLoader]


@pytest.fixture
def both(registry: ArtifactRegistry, loader: ArtifactLoader) -> Both:
    for fold in range(2):
        registry.register(np.arange(fold + 3), f"p:3:{fold}", "model")
    return registry, loader


@pytest.mark.parametrize("wrong", [*WRONG, True, -1])
def test_a_step_is_a_number(both: Both, wrong: Any) -> None:
    registry, loader = both
    asking: list[Callable[[Any], Any]] = [
        loader.load_for_step,
        loader.load_fold_models,
        lambda step: registry.get_artifacts_for_step("p", step),
        lambda step: registry.get_fold_models("p", step),
    ]
    for ask in asking:
        with pytest.raises(InvalidInputError, match="the step is a whole number from 0, not "):
            ask(wrong)


@pytest.mark.parametrize("wrong", [*WRONG[1:], True, -1])
def test_a_fold_is_a_number_or_none(both: Both, wrong: Any) -> None:
    registry, loader = both
    with pytest.raises(InvalidInputError, match="the fold is a whole number from 0, not "):
        loader.load_for_step(3, fold_id=wrong)
    with pytest.raises(InvalidInputError, match="the fold is a whole number from 0, not "):
        registry.get_artifacts_for_step("p", 3, fold_id=wrong)


def test_a_step_is_a_number_where_there_is_nothing_yet(
    registry: ArtifactRegistry, loader: ArtifactLoader
) -> None:
    registry.register(1, "p:3:all", "model")
    registry.delete_pipeline_artifacts("p")
    wrong: Any = "x"
    for ask in (loader.load_for_step, loader.load_fold_models):
        assert ask(3) == []
        with pytest.raises(InvalidInputError, match="the step is a whole number"):
            ask(wrong)


def test_numbers_of_numpy_are_numbers(both: Both) -> None:
    registry, loader = both
    step, fold = np.int64(3), np.int8(1)
    assert [name for name, _ in loader.load_for_step(step, fold_id=fold)] == ["p:3:1"]  # type: ignore[arg-type]
    assert len(registry.get_fold_models("p", step)) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [None, 3, [], b"p"])
def test_a_pipeline_has_to_be_named(both: Both, wrong: Any) -> None:
    # None must not stand for whichever pipeline comes first.
    registry, _ = both
    for ask in (registry.get_artifacts_for_step, registry.get_fold_models):
        with pytest.raises(InvalidInputError, match="pipeline id"):
            ask(wrong, 3)
    with pytest.raises(ArtifactNotFoundError, match="no pipeline 'q'"):
        registry.get_fold_models("q", 3)


@pytest.mark.parametrize("wrong", [None, 1.5, b"3", [], object()])
def test_a_hash_is_text(both: Both, wrong: Any) -> None:
    with pytest.raises(InvalidInputError, match=f"is text, not {type(wrong).__name__}"):
        both[0].resolve_by_hash(wrong)


@pytest.mark.parametrize("wrong", [*WRONG, "p:3:0"])
def test_only_a_record_is_loaded_as_a_record(both: Both, wrong: Any) -> None:
    with pytest.raises(InvalidInputError, match="wants a record, not ") as caught:
        both[0].load_artifact(wrong)
    assert "resolve(artifact_id)" in str(caught.value.hint)


@pytest.mark.parametrize("wrong", [3, True, "model", object()])
def test_types_are_a_list(both: Both, wrong: Any) -> None:
    with pytest.raises(InvalidInputError, match="types is a list of artifact types, not "):
        both[1].preload_artifacts(types=wrong)


@pytest.mark.parametrize("wrong", [None, 0, 1, "", "no"])
def test_what_deletes_wants_a_clear_word(both: Both, wrong: Any) -> None:
    registry, _ = both
    record = registry.register(np.arange(99), "q:0:all", "model")
    registry.delete_pipeline_artifacts("q")
    with pytest.raises(InvalidInputError, match="dry_run is True or False, not "):
        registry.delete_orphaned_artifacts(dry_run=wrong, expire="now")
    assert record.path in registry.find_orphaned_artifacts()


@pytest.mark.parametrize("wrong", [3, "x", [("a", 1)]])
def test_notes_and_details_are_maps(both: Both, wrong: Any) -> None:
    registry, _ = both
    with pytest.raises(InvalidInputError, match="the details of a run are a map, not "):
        registry.start_run(details=wrong)
    assert registry.open_run is None
    with registry.run():
        registry.register(1, "p:5:all", "model")
        with pytest.raises(InvalidInputError, match="p:5:all: notes are text by name, not "):
            registry.annotate("p:5:all", wrong)


def test_a_format_is_text(both: Both) -> None:
    with pytest.raises(InvalidInputError, match=r"unknown format \[\]"):
        both[0].register(1, "q:0:all", "model", format_hint=[])  # type: ignore[arg-type]


def test_ids_are_listed_once_each_as_plain_text(both: Both) -> None:
    registry, _ = both
    record = registry.resolve("p:3:0")
    text = type("Text", (str,), {})("p:3:1")
    ids = artifact_ids((text, record, "p:3:1", "p:3:0"), "depends_on")
    assert ids == ["p:3:1", "p:3:0"]
    assert {type(one) for one in ids} == {str}
    assert artifact_ids(iter(["p:3:0"]), "depends_on") == ["p:3:0"]
    for wrong in ("p:3:0", b"p:3:0", {"p:3:0": 1}, 3):
        with pytest.raises(InvalidInputError, match="depends_on is a list of artifact ids"):
            artifact_ids(wrong, "depends_on")
    with pytest.raises(InvalidInputError, match="malformed artifact id"):
        artifact_ids(["p:3:0", "p:3:"], "depends_on")


def test_details_and_notes_are_kept_by_the_rule_for_parameters(both: Both) -> None:
    """They were found out at the first commit, which lost what had been registered by then."""
    registry = both[0]
    details = {"rmse": np.float64(1.5), "grid": (1, 2), 3: "three"}
    with registry.run("sweep", details=details) as run:
        registry.register(1, "a:0:all", "model")
        registry.complete_pipeline("a")
        run.note({"best": np.int64(7)})
        for wrong in ({"text": "\ud800"}, [1]):
            with pytest.raises(InvalidInputError, match="details"):
                run.note(wrong)  # type: ignore[arg-type]
    kept = registry.store.get_run(registry.store.ref(f"refs/runs/{run.id}").oid).details
    expected = {"rmse": 1.5, "grid": [1, 2], "3": "three", "best": 7}
    assert {name: kept[name] for name in expected} == expected


@pytest.mark.parametrize("message", [3, None, b"text", "\ud800"])
def test_a_message_is_text_from_the_beginning(both: Both, message: Any) -> None:
    with pytest.raises(InvalidInputError, match="a message is text"):
        both[0].start_run(message)
    assert both[0].open_run is None

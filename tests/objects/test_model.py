"""Objects as values: valid once constructed, frozen, and able to travel to a worker."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest

from n4a_store.errors import InvalidInputError
from n4a_store.objects.model import Run, RunStatus, Tree, TreeEntry
from n4a_store.objects.oid import Kind, ObjectId

OID = ObjectId(bytes(32))
ENTRY = TreeEntry(Kind.BLOB, OID)


def run(**changes: Any) -> Run:
    fields: dict[str, Any] = {
        "pipelines": OID,
        "dataset": "d",
        "created_at": "2026-11-23T00:00:00Z",
        "status": RunStatus.COMPLETE,
    }
    return Run(**{**fields, **changes})


def test_a_tree_is_a_sorted_mapping() -> None:
    tree = Tree({"b": ENTRY, "a": ENTRY, "\U00010000": ENTRY, "\uffff": ENTRY})
    assert list(tree) == ["a", "b", "\uffff", "\U00010000"]
    assert tree["a"] == ENTRY
    assert "a" in tree
    assert "c" not in tree
    assert len(tree) == 4
    assert tree == Tree(dict(reversed(tree.entries.items())))
    assert hash(tree) == hash(Tree(dict(tree.entries)))


def test_values_cannot_be_changed_from_outside() -> None:
    entries, attrs, details = {"a": ENTRY}, {"n": 1}, {"k": 1}
    tree, made = Tree(entries, attrs), run(details=details)
    entries["b"] = ENTRY
    attrs["n"] = 2
    details["k"] = 2
    assert list(tree) == ["a"]
    assert tree.attrs["n"] == 1
    assert made.details["k"] == 1
    with pytest.raises(TypeError):
        tree.entries["b"] = ENTRY  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.dataset = "e"  # type: ignore[misc]


@pytest.mark.parametrize("value", [Tree({"a": ENTRY}, {"n": 1}), run(details={"k": [1]}), OID])
def test_values_survive_a_pickle(value: object) -> None:
    assert pickle.loads(pickle.dumps(value)) == value


@pytest.mark.parametrize(
    "changes",
    [
        {"status": RunStatus.INTERRUPTED},
        {"status": "interrupted"},
        {"status": "done"},
        {"status": None},
        {"dataset": 5},
        {"created_at": None},
        {"message": b"text"},
    ],
)
def test_a_run_that_could_not_be_read_back_cannot_be_made(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        run(**changes)


def test_a_status_may_be_given_by_its_name() -> None:
    assert run(status="failed").status is RunStatus.FAILED

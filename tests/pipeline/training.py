"""What the tests of training share besides fixtures."""

from __future__ import annotations

from collections import Counter
from typing import Any

from n4a_store.artifacts.workspace import Workspace
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.pipeline.run_result import RunResult

DATASET = "spectra"


def objects_of(workspace: Workspace) -> dict[ObjectId, Kind]:
    """Every object of the store."""
    with workspace.store(DATASET) as store:
        return dict(store.objects())


def added_kinds(before: dict[ObjectId, Kind], after: dict[ObjectId, Kind]) -> Counter[Kind]:
    """How many objects of each kind are new."""
    return Counter(kind for oid, kind in after.items() if oid not in before)


def kept_in(workspace: Workspace, run: RunResult) -> dict[str, Any]:
    """What a run holds, by pipeline: the trees of its artifacts, and what links them."""
    with workspace.store(DATASET) as store:
        pipelines = store.get_tree(store.get_run(store.ref(f"refs/runs/{run.id}").oid).pipelines)
        return {name: dict(store.get_tree(pipelines[name].oid).entries) for name in pipelines}

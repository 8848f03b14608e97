"""Undo of what a run did: pipeline by pipeline, to exactly what was there before."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from n4a_store import (
    ArtifactRegistry,
    ConflictError,
    ObjectId,
    RunHandle,
    Store,
    Workspace,
)
from n4a_store.artifacts.orphans import find_orphans
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.undo import newest_undoable, undo

Refs = dict[str, str]


def refs(store: Store) -> Refs:
    return {ref.name: ref.oid.hex for ref in store.refs()}


def complete(run: RunHandle, pipeline: str, value: object = 1) -> int:
    """Complete a pipeline of one artifact; the operation that did it."""
    run.register([pipeline, value], f"{pipeline}:0:all", "model")
    run.complete_pipeline(pipeline)
    return newest_undoable(run._registry.store)


def pipelines(store: Store, run_id: str) -> list[str]:
    run = store.get_run(store.resolve(f"refs/runs/{run_id}"))
    return sorted(store.get_tree(run.pipelines))


def test_a_completed_pipeline_goes_and_the_others_stay(registry: ArtifactRegistry) -> None:
    with registry.run() as run:
        states = []
        for name in ("a", "b", "c"):
            complete(run, name)
            states.append(refs(registry.store))
        store = registry.store
        last = newest_undoable(store)
        done = undo(store)
        assert refs(store) == states[1]
        assert pipelines(store, run.id) == ["a", "b"]
        assert [name for name, _, _ in done.refs] == ["refs/pipelines/c", f"refs/runs/{run.id}"]
        undo(store, done.by)
        assert refs(store) == states[2]
        # Forward and back again, and then one more: by number, for the newest is the undo.
        undo(store, last)
        undo(store, last - 1)
        assert refs(store) == states[0]
        complete(run, "d")
        assert pipelines(store, run.id) == ["a", "d"]
    assert fsck(store, full=True).ok


def test_the_first_pipeline_of_a_run_takes_the_run_with_it(registry: ArtifactRegistry) -> None:
    with registry.run() as run:
        complete(run, "a")
        undo(registry.store)
        assert refs(registry.store) == {}
        complete(run, "b")
    assert pipelines(registry.store, run.id) == ["b"]


def test_a_pipeline_that_was_there_before_goes_back_to_its_last_version(
    registry: ArtifactRegistry,
) -> None:
    with registry.run() as run:
        complete(run, "a", 1)
    before = refs(registry.store)
    with registry.run() as run:
        complete(run, "b")
        op = complete(run, "a", 2)
        undo(registry.store, op)
        assert refs(registry.store)["refs/pipelines/a"] == before["refs/pipelines/a"]
        assert pipelines(registry.store, run.id) == ["b"]
        assert registry.resolve("a:0:all").version == 1  # type: ignore[union-attr]


def test_an_older_operation_of_a_run_waits_for_the_later_ones(registry: ArtifactRegistry) -> None:
    with registry.run() as run:
        first, second = complete(run, "a"), complete(run, "b")
    store = registry.store
    end = newest_undoable(store)
    after = refs(store)
    for op, later in ((first, end), (second, end)):
        with pytest.raises(ConflictError, match=f"by operation {later}") as caught:
            undo(store, op)
        assert f"undo --op {later}" in str(caught.value.hint)
        assert refs(store) == after, "half of an operation was taken back"
    undo(store, end)
    with pytest.raises(ConflictError, match=f"by operation {second}"):
        undo(store, first)
    undo(store, second)
    undo(store, first)
    assert refs(store) == {}


def test_a_run_that_was_killed_loses_its_last_pipeline_only(
    workspace: Workspace,
) -> None:
    script = """
import os, sys
from n4a_store import ArtifactRegistry
registry = ArtifactRegistry(sys.argv[1], "corn")
run = registry.start_run()
for name in ("a", "b"):
    run.register([name], f"{name}:0:all", "model")
    run.complete_pipeline(name)
run.register(["c"], "c:0:all", "model")
print(run.id, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, workspace.path],
        capture_output=True, text=True, check=False, env=os.environ,
    )  # fmt: skip
    assert done.returncode == -9, done.stderr
    with workspace.store("corn") as store:
        undo(store)
        assert list(refs(store)) == ["refs/pipelines/a", f"refs/runs/{done.stdout.strip()}"]
        assert pipelines(store, done.stdout.strip()) == ["a"]


def test_gc_keeps_what_undo_goes_back_to_and_no_longer(registry: ArtifactRegistry) -> None:
    with registry.run() as run:
        ops, states = [], []
        for name in ("a", "b", "c"):
            ops.append(complete(run, name))
            states.append(refs(registry.store))
        store = registry.store
        values = [store.resolve(f"refs/runs/{run.id}@{{{back}}}") for back in (0, 1, 2)]
        collect(store, thorough=True)
        for op, before in zip(ops[:0:-1], states[-2::-1], strict=True):
            undo(store, op)
            assert refs(store) == before
            assert fsck(store, full=True).ok
        collect(store, expire_now=True, thorough=True)
        assert [store.has(value) for value in values] == [False, False, True]
        assert refs(store) == states[0]
        assert fsck(store, full=True).ok


def test_the_orphans_of_a_long_run_are_named_without_reading_each_value_of_it(
    registry: ArtifactRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old values of a run share all but the last pipeline, or the shard that it went to."""
    monkeypatch.setattr("n4a_store.objects.trees.FANOUT_LIMIT", 16)
    count = 40
    with registry.run() as run:
        for number in range(count):
            complete(run, f"p{number:04d}")
        store = registry.store
        undo(store)
        reads: list[ObjectId] = []
        node = store.node
        monkeypatch.setattr(store, "node", lambda oid: reads.append(oid) or node(oid))
        (orphan,) = find_orphans(store).artifacts
    assert orphan.last_name == f"p{count - 1:04d}:0:all in refs/runs/{run.id}"
    # Of each value its root and a shard or two, of each pipeline its manifest and artifacts.
    assert len(reads) < 8 * count

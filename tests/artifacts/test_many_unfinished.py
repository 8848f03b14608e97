"""Runs with more unfinished pipelines than a process may have files open."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from n4a_store import ArtifactLoader, ArtifactRegistry, BackendError, Workspace
from n4a_store.artifacts.run_transactions import MOST_OWN
from n4a_store.artifacts.workers import WorkerRegistry
from n4a_store.repo.fsck import fsck
from n4a_store.repo.transaction import Transaction
from n4a_store.storage.leases import LeaseRole, list_leases

MANY = 6 * MOST_OWN
NAMES = [f"{number:04d}_p" for number in range(MANY)]


def value(name: str) -> np.ndarray:
    return np.arange(2_000) + NAMES.index(name)


def train(registry: ArtifactRegistry, names: list[str]) -> None:
    """A scaler and a model each, in turn: all of them are unfinished at once."""
    for name in names:
        registry.register(value(name), f"{name}:0:all", "transformer")
    for name in names:
        registry.register([name], f"{name}:1:all", "model", depends_on=[f"{name}:0:all"])


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def committed(workspace: Workspace) -> set[str]:
    """The pipelines that others can see."""
    with ArtifactLoader(workspace, "corn") as loader:
        return {record.pipeline_id for record in loader.get_all_records()}


def check(workspace: Workspace, names: list[str]) -> None:
    """All of them are there, as what they are, and nothing is left behind."""
    with ArtifactLoader(workspace, "corn") as loader:
        for name in names:
            assert (loader.load_by_id(f"{name}:0:all") == value(name)).all()
            assert loader.load_by_id(f"{name}:1:all") == [name]
    with ArtifactRegistry(workspace, "corn") as registry:
        assert {record.pipeline_id for record in registry.get_all_records()} == set(names)
        assert fsck(registry.store, full=True).ok
        layout = registry.store.layout
        assert not list(layout.transactions.iterdir())
        assert {lease.role for lease in list_leases(layout.leases)} <= {LeaseRole.READER}


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files there")
def test_a_run_that_completes_none_before_it_ends(
    workspace: Workspace, registry: ArtifactRegistry
) -> None:
    before = descriptors()
    with registry.run():
        train(registry, NAMES)
        assert descriptors() - before < MANY
        record = registry.resolve(f"{NAMES[-1]}:1:all")  # wherever it grows
        assert record is not None
        assert record.depends_on == [f"{NAMES[-1]}:0:all"]
    assert registry.store.ref(f"refs/pipelines/{NAMES[-1]}")
    check(workspace, NAMES)


def test_each_is_completed_or_dropped_for_itself(
    workspace: Workspace, registry: ArtifactRegistry
) -> None:
    *rest, one, two, dropped, again = NAMES
    with registry.run():
        train(registry, NAMES)
        assert registry.discard_pipeline(dropped) == registry.discard_pipeline(again) == 2
        for name in (two, one):
            registry.complete_pipeline(name)
            assert name in committed(workspace)
        assert committed(workspace) == {one, two}
        train(registry, [again])
        # It goes on from what was committed, and needs what is not.
        registry.register([0], f"{one}:2:all", "model", depends_on=[f"{rest[-1]}:1:all"])
    assert [record.step_index for record in registry.get_all_records(one)] == [0, 1, 2]
    check(workspace, [*rest, one, two, again])


def test_what_cannot_be_committed_takes_nothing_else_with_it(
    workspace: Workspace, registry: ArtifactRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    *rest, one = NAMES

    def full(*_: object, **__: object) -> None:
        raise BackendError("no space left")

    with registry.run():
        train(registry, NAMES)
        with monkeypatch.context() as patched:
            patched.setattr(Transaction, "put_blob", full)
            with pytest.raises(BackendError, match="no space left") as failed:
                registry.complete_pipeline(one)
        assert registry.resolve(f"{one}:0:all") is None
        folder = registry.store.layout.leases
        leases = len(list_leases(folder))
        registry.complete_pipeline(rest[-1])
        assert len(list_leases(folder)) == leases  # its seat was free again
        del failed  # until now it kept all that the error saw
    check(workspace, rest)


def test_a_run_that_fails_keeps_what_was_complete(
    workspace: Workspace, registry: ArtifactRegistry
) -> None:
    registry.start_run()
    train(registry, NAMES)
    registry.complete_pipeline(NAMES[-1])
    assert registry.cleanup_failed_run() == 2 * (MANY - 1)
    check(workspace, NAMES[-1:])


def test_a_worker_that_hands_over_once(workspace: Workspace, registry: ArtifactRegistry) -> None:
    with registry.run() as run:
        registry.register([0], "own:0:all", "model")
        with WorkerRegistry(run.worker_ticket()) as worker:
            before = descriptors()
            train(worker, NAMES)
            assert descriptors() - before < MANY
            run.adopt(worker.hand_over())
        registry.discard_pipeline("own")
    check(workspace, NAMES)

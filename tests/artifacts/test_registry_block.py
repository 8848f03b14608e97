"""A registry as a block: closed in the end, and no run left behind it without a word."""

from __future__ import annotations

import numpy as np
import pytest

from n4a_store import ArtifactRegistry, InvalidInputError, RunStatus, Workspace


def status_of(workspace: Workspace, run_id: str) -> RunStatus:
    with workspace.store("corn") as store:
        return store.get_run(store.ref(f"refs/runs/{run_id}").oid).status


def test_the_block_closes_the_store(workspace: Workspace) -> None:
    with ArtifactRegistry(workspace, "corn") as registry:
        registry.register(np.arange(3), "p:0:all", "model")
        store = registry.store
    with pytest.raises(InvalidInputError, match="closed"):
        store.refs()
    assert registry.resolve("p:0:all") is not None  # opened again when it is needed
    registry.close()


def leave_a_run_open(registry: ArtifactRegistry, error: Exception | None) -> None:
    """One pipeline complete, one not, and the block is left."""
    with registry:
        registry.start_run()
        registry.register(np.arange(3), "done:0:all", "model")
        registry.complete_pipeline("done")
        registry.register(np.arange(4), "half:0:all", "model")
        if error is not None:
            raise error


def check_what_is_left(workspace: Workspace) -> str:
    with ArtifactRegistry(workspace, "corn") as registry:
        assert registry.open_run is None
        assert [record.pipeline_id for record in registry.get_all_records()] == ["done"]
        (ref,) = registry.store.refs("refs/runs/")
    run_id = ref.name.removeprefix("refs/runs/")
    assert status_of(workspace, run_id) is RunStatus.FAILED
    return run_id


def test_an_error_drops_what_is_unfinished_and_is_not_hidden(workspace: Workspace) -> None:
    with pytest.raises(ZeroDivisionError):
        leave_a_run_open(ArtifactRegistry(workspace, "corn"), ZeroDivisionError())
    check_what_is_left(workspace)


def test_a_run_that_nobody_ended_is_an_error(workspace: Workspace) -> None:
    with pytest.raises(InvalidInputError, match="was still open") as caught:
        leave_a_run_open(ArtifactRegistry(workspace, "corn"), None)
    assert check_what_is_left(workspace) in str(caught.value)
    assert "end_run()" in str(caught.value.hint)


def test_a_run_inside_the_block_ends_as_ever(workspace: Workspace) -> None:
    with ArtifactRegistry(workspace, "corn") as registry, registry.run() as run:
        registry.register(np.arange(4), "p:0:all", "model")
    assert status_of(workspace, run.id) is RunStatus.COMPLETE

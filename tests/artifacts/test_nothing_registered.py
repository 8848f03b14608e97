"""A pipeline that nothing was registered for is not completed: what was there stays."""

from __future__ import annotations

import pytest

from n4a_store import ArtifactRegistry, InvalidInputError
from n4a_store.artifacts.manifest_tree import PIPELINES, PipelineManifest
from n4a_store.artifacts.workers import WorkerRegistry


@pytest.fixture
def trained(registry: ArtifactRegistry) -> ArtifactRegistry:
    """A registry with a completed pipeline ``p``."""
    with registry.run():
        registry.register([1], "p:0:all", "model")
    return registry


def names(registry: ArtifactRegistry) -> list[str]:
    return [record.artifact_id for record in registry.get_all_records()]


def refuse(registry: ArtifactRegistry, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Register something, and let that be refused after its pipeline was begun."""

    def too_long(artifact_id: str, children: object) -> int:
        raise InvalidInputError(f"the chain below {artifact_id} is too long")

    with monkeypatch.context() as patch:
        patch.setattr("n4a_store.artifacts.draft.check_depth", too_long)
        with pytest.raises(InvalidInputError, match="too long"):
            registry.register([2], name, "model")


@pytest.mark.parametrize("each", ["artifact", "pipeline", "run"])
def test_a_refused_registration_replaces_nothing(
    trained: ArtifactRegistry, monkeypatch: pytest.MonkeyPatch, each: str
) -> None:
    before = trained.store.ref(PIPELINES + "p")
    with trained.run(commit_each=each) as run:
        refuse(trained, monkeypatch, "p:0:all")
        with pytest.raises(InvalidInputError, match="nothing has been registered"):
            run.complete_pipeline("p")
        trained.register([3], "q:0:all", "model")
    assert run.completed == ["q"]
    assert trained.store.ref(PIPELINES + "p") == before
    assert names(trained) == ["p:0:all", "q:0:all"]


def test_a_refused_registration_leaves_what_the_run_has_completed(
    registry: ArtifactRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with registry.run() as run:
        registry.register([1], "p:0:all", "model")
        run.complete_pipeline("p")
        before = registry.store.ref(PIPELINES + "p")
        refuse(registry, monkeypatch, "p:0:all")
        run.complete_pipeline("p")  # nothing new
        refuse(registry, monkeypatch, "p:1:all")
    assert registry.store.ref(PIPELINES + "p") == before


def test_a_name_for_a_branch_is_no_pipeline(trained: ArtifactRegistry) -> None:
    with trained.run() as run:
        trained.name_branch("p", [0], "left")
        with pytest.raises(InvalidInputError, match="nothing has been registered"):
            run.complete_pipeline("p")
        trained.register([2], "q:0:all", "model")
    assert names(trained) == ["p:0:all", "q:0:all"]


def test_a_name_for_a_branch_of_what_is_completed_is_added(registry: ArtifactRegistry) -> None:
    with registry.run() as run:
        registry.register([1], "p:0:0:all", "model")
        run.complete_pipeline("p")
        registry.name_branch("p", [0], "left")
    oid = registry.store.ref(PIPELINES + "p").oid
    assert PipelineManifest.read(registry.store, "p", oid).links.branches == {"0": "left"}
    assert names(registry) == ["p:0:0:all"]


def test_what_a_worker_was_refused_is_not_handed_over(
    trained: ArtifactRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with trained.run() as run:
        with WorkerRegistry(run.worker_ticket()) as worker:
            refuse(worker, monkeypatch, "p:0:all")
            worker.register([3], "q:0:all", "model")
            made = worker.hand_over()
        assert [one.pipeline_id for one in made] == ["q"]
        run.adopt(made)
    assert names(trained) == ["p:0:all", "q:0:all"]

"""n4a_store itself, through the registry and the loader that a runner uses, by profile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.peers.own_objects import OwnStore
from benchmarks.peers.workload import Registration
from n4a_store import ArtifactLoader, ArtifactRegistry
from n4a_store.artifacts.workspace import Workspace
from n4a_store.repo.repack import RepackMode, repack
from n4a_store.repo.store import Store
from n4a_store.settings import CommitEach, Settings

__all__ = ["Balanced", "Compact", "Dense", "Fast", "Once"]

_DATASET = "bench"


class Balanced(OwnStore):
    """The defaults: probed codecs, one fsynced pack a pipeline."""

    name = "n4a_store balanced"
    durable = True
    settings: ClassVar[Settings | None] = None
    commit_each: ClassVar[CommitEach] = CommitEach.PIPELINE

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        workspace = Workspace(folder, settings=self.settings)
        self.registry = ArtifactRegistry(workspace, _DATASET)
        self.registry.start_run(commit_each=self.commit_each)
        self.loader = ArtifactLoader(workspace, _DATASET, cache_size=0)
        self.predictor = ArtifactLoader(workspace, _DATASET, cache_size=0)
        self.reader = ArtifactLoader(workspace, _DATASET, cache_size=0, mmap=True)

    @property
    def store(self) -> Store:
        """The store of the dataset."""
        return self.registry.store

    def put(self, pipeline: str, at: Registration, obj: Any) -> None:
        """Register."""
        del pipeline
        self.registry.register(obj, at.artifact, at.kind, depends_on=at.deps)

    def commit(self, pipeline: str) -> None:
        """Complete the pipeline."""
        self.registry.complete_pipeline(pipeline)

    def load(self, artifact: str) -> Any:
        """Load by id, writable."""
        return self.loader.load_by_id(artifact)

    def load_pipeline(self, pipeline: str, artifacts: Sequence[str]) -> list[Any]:
        """With a loader that has seen nothing of this pipeline yet."""
        del pipeline
        return [self.predictor.load_by_id(artifact) for artifact in artifacts]

    def load_readonly(self, artifact: str) -> Any:
        """Over the mapped pack."""
        return self.reader.load_by_id(artifact)

    def delete(self, pipeline: str, artifacts: Sequence[str]) -> None:
        """Drop the pipeline's ref and its place in its run."""
        del artifacts
        self.registry.delete_pipeline_artifacts(pipeline)

    def close(self) -> None:
        """Close everything."""
        self.loader.close()
        self.predictor.close()
        self.reader.close()
        self.registry.close()


class Fast(Balanced):
    """No codec: everything is stored raw, and can be mapped in place."""

    name = "n4a_store fast"
    settings = Settings(compression_level=0)


class Dense(Balanced):
    """A higher level, which is content with saving less: fewer bytes, slower loads."""

    name = "n4a_store dense"
    settings = Settings(compression_level=2)


class Compact(Balanced):
    """The defaults, and then a repack that writes near-duplicates as deltas."""

    name = "n4a_store compact"

    def settle(self) -> None:
        """Repack."""
        self.registry.end_run()
        repack(self.store, RepackMode.COMPACT)
        self.registry.start_run()


class Once(Balanced):
    """The defaults, with one commit for all pipelines of a run."""

    name = "n4a_store, a commit a run"
    commit_each = CommitEach.RUN

    def finish(self) -> None:
        """The end of a run."""
        self.registry.checkpoint()

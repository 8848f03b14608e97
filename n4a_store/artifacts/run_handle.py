"""What a runner holds of an open run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from n4a_store.artifacts.manifest_files import write_renditions
from n4a_store.artifacts.runs import OpenRun
from n4a_store.artifacts.types import ArtifactRecord

if TYPE_CHECKING:
    from n4a_store.artifacts.registry import ArtifactRegistry

__all__ = ["RunHandle"]


class RunHandle:
    """An open run, as ``with registry.run() as run`` gives it."""

    def __init__(self, registry: ArtifactRegistry, run: OpenRun) -> None:
        self._registry = registry
        self._run = run

    @property
    def id(self) -> str:
        """The run's id, ``20261123_a1b2c3``; its ref is ``refs/runs/<id>``."""
        return self._run.id

    @property
    def created_at(self) -> str:
        """When it began."""
        return self._run.created_at

    @property
    def is_open(self) -> bool:
        """Whether it can still be registered into."""
        return self._run.is_open

    @property
    def completed(self) -> list[str]:
        """The pipelines that it has completed, in that order."""
        return list(dict.fromkeys((*self._run.completed, *self._run.waiting)))

    def __repr__(self) -> str:
        return f"<run {self.id}, {'open' if self.is_open else 'ended'}>"

    def __str__(self) -> str:
        return self.id

    def register(self, obj: Any, artifact_id: str, *args: Any, **kwargs: Any) -> ArtifactRecord:
        """As :meth:`ArtifactRegistry.register`, into this run and no other.

        Raises:
            TransactionClosedError: The run has ended.
        """
        self._run.check_open()
        return self._registry.register(obj, artifact_id, *args, **kwargs)

    def adopt_pipelines(self, pipeline_ids: Iterable[str]) -> None:
        """Hold pipelines that earlier runs completed, as they are: the run goes on from there.

        Raises:
            RefNotFoundError: One of them is not complete.
            TransactionClosedError: The run has ended.
        """
        wanted = list(pipeline_ids)
        self._run.adopt(wanted)
        store, kept = self._run.store, self._registry
        pipelines = store.get_tree(store.get_run(store.ref(self._run.ref).oid).pipelines)
        manifests = {name: pipelines[name].oid for name in wanted}
        write_renditions(kept.workspace.layout, kept.dataset, store, self.id, manifests)

    def note(self, details: Mapping[str, Any]) -> None:
        """Add canonical values to the run object's details, kept from the next commit on.

        Raises:
            TransactionClosedError: The run has ended.
        """
        self._run.note(details)

    def checkpoint(self) -> None:
        """As :meth:`ArtifactRegistry.checkpoint`.

        Raises:
            TransactionClosedError: The run has ended.
        """
        self._run.check_open()
        self._registry.checkpoint()

    def complete_pipeline(self, pipeline_id: str) -> None:
        """As :meth:`ArtifactRegistry.complete_pipeline`.

        Raises:
            TransactionClosedError: The run has ended.
        """
        self._run.check_open()
        self._registry.complete_pipeline(pipeline_id)

"""What a worker process has trained, on its way to the process that holds the run.

A worker registers into a journal as it would into the registry; the journal travels back and is
played into the registry, which stores it as if it had been trained here. A pipeline that fails
in a worker comes back as its error alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from n4a_store.pipeline.context import ArtifactSink

__all__ = ["Journal"]


@dataclass(frozen=True, slots=True)
class _Registration:
    obj: Any
    artifact_id: str
    artifact_type: str
    depends_on: tuple[str, ...] | None
    params: Any
    meta_config: Any


@dataclass(slots=True)
class Journal:
    """An :class:`~n4a_store.pipeline.context.ArtifactSink` that remembers."""

    registrations: list[_Registration] = field(default_factory=list)
    branches: list[tuple[str, tuple[int, ...], str]] = field(default_factory=list)

    def register(
        self,
        obj: Any,
        artifact_id: str,
        artifact_type: Any,
        depends_on: Any = None,
        params: Any = None,
        meta_config: Any = None,
    ) -> None:
        """Remember what is to be registered."""
        needed = None if depends_on is None else tuple(depends_on)
        self.registrations.append(
            _Registration(obj, artifact_id, str(artifact_type), needed, params, meta_config)
        )

    def name_branch(self, pipeline_id: str, branch_path: Any, name: str) -> None:
        """Remember the name of a branch."""
        self.branches.append((pipeline_id, tuple(branch_path), name))

    def play(self, sink: ArtifactSink) -> None:
        """Register everything, in the order in which it was trained."""
        for entry in self.registrations:
            sink.register(
                entry.obj,
                entry.artifact_id,
                entry.artifact_type,
                entry.depends_on,
                entry.params,
                entry.meta_config,
            )
        for pipeline_id, branch_path, name in self.branches:
            sink.name_branch(pipeline_id, branch_path, name)

"""Artifacts that no manifest holds yet: about to be put, and put into a draft."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from n4a_store.artifacts.execution_path import ExecutionPath
from n4a_store.artifacts.graph import ArtifactNode
from n4a_store.artifacts.record_blob import RecordBlob
from n4a_store.artifacts.serializers.base import Payload
from n4a_store.artifacts.types import ArtifactRecord
from n4a_store.objects.model import TreeEntry

__all__ = ["DraftArtifact", "NewArtifact"]


@dataclass(frozen=True, slots=True)
class NewArtifact:
    """What is about to be registered: serialised, described, and not yet anywhere.

    ``origin`` says where it came from when it was not made here; ``notes`` are what its runner
    calls it.
    """

    path: ExecutionPath
    payload: Payload
    blob: RecordBlob
    sources: tuple[str, ...]
    producer: str
    origin: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DraftArtifact:
    """An artifact of a draft."""

    record: ArtifactRecord
    node: ArtifactNode
    payload: TreeEntry
    blob: TreeEntry
    sources: tuple[str, ...]
    bumps: int
    origin: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)

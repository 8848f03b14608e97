"""What is inside an artifact's payload, by attribute path, without running any of its code."""

from __future__ import annotations

from typing import Any

from n4a_store.artifacts.manifest_tree import StoredArtifact
from n4a_store.artifacts.payload import payload_parts
from n4a_store.artifacts.skim import skim, skim_array
from n4a_store.repo.store import Store

__all__ = ["contents_of"]


def contents_of(store: Store, stored: StoredArtifact) -> dict[str, Any]:
    """The leaves of an artifact: arrays, plain values and names of classes, by path.

    Empty for a format that this cannot look into.

    Raises:
        CorruptionError: The payload is missing, damaged, or not what its record says.
    """
    read = {"pickle5": skim, "npy": skim_array}.get(stored.blob.format)
    if read is None:
        return {}
    skeleton, buffers = payload_parts(store, stored.payload)
    return read(skeleton, buffers)

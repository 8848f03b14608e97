"""Fits that earlier runs of a dataset have stored, by their keys.

The keys stand beside the predictions of each pipeline (``model_facts``); the index is read once
a run, from the records of the completed pipelines, when the first transformer asks. What was
imported from elsewhere is never taken: nobody here has seen it being fitted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from n4a_store.artifacts.loading import load_payload
from n4a_store.artifacts.manifest_tree import PIPELINES, PipelineManifest, StoredArtifact
from n4a_store.artifacts.serializers.table import default_table
from n4a_store.errors import NotFoundError, StoreNotFoundError
from n4a_store.objects.oid import ObjectId
from n4a_store.pipeline.selection import find_facts
from n4a_store.repo.store import Store

__all__ = ["FIT_SECONDS", "FitIndex"]

_log = logging.getLogger(__name__)

FIT_SECONDS = "fit_seconds"
"""Where a run object keeps how long its slower fits took, by key."""


class FitIndex:
    """The stored fits of one dataset.

    Args:
        store: Gives the store; it may not exist yet.
    """

    def __init__(self, store: Callable[[], Store]) -> None:
        self._store = store
        self._found: dict[str, tuple[str, ObjectId]] | None = None
        self._seconds: dict[str, float] = {}

    def load(self, key: str) -> Any | None:
        """The fitted transformer of an earlier run, or None.

        Raises:
            CorruptionError: It is stored and damaged.
        """
        if self._found is None:
            self._found = self._read()
        found = self._found.get(key)
        if found is None:
            return None
        name, tree = found
        store = self._store()
        try:
            with store.session():
                stored = StoredArtifact.read(store, tree, name)
                return load_payload(
                    store, stored.payload, name, stored.blob.format, default_table()
                )
        except NotFoundError:
            # Deleted since the index was read: nothing is wrong, it is only not there.
            return None

    def seconds(self, key: str) -> float:
        """How long the fit took when it was made; 0 when nobody wrote it down."""
        return self._seconds.get(key, 0.0)

    def _read(self) -> dict[str, tuple[str, ObjectId]]:
        found: dict[str, tuple[str, ObjectId]] = {}
        try:
            store = self._store()
        except StoreNotFoundError:
            return found
        with store.session():
            for ref in store.refs(PIPELINES):
                pipeline_id = ref.name.removeprefix(PIPELINES)
                manifest = PipelineManifest.read(store, pipeline_id, ref.oid)
                if any(links.origin or links.foreign for links in manifest.links.keys.values()):
                    continue
                for facts, _ in find_facts(store, manifest):
                    for key, artifact_key in facts.fits.items():
                        if artifact_key in manifest.artifacts:
                            name = manifest.path(artifact_key).artifact_id
                            found[key] = (name, manifest.artifacts[artifact_key].oid)
            self._read_seconds(store)
        _log.debug("%d stored fits", len(found))
        return found

    def _read_seconds(self, store: Store) -> None:
        for ref in store.refs("refs/runs/"):
            noted = store.get_run(ref.oid).details.get(FIT_SECONDS)
            if isinstance(noted, dict):
                self._seconds.update(
                    (key, value) for key, value in noted.items() if isinstance(value, float)
                )

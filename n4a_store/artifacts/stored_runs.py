"""Runs and pipelines as they stand in a store, whoever wrote them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from n4a_store.artifacts.manifest_tree import PIPELINES, RUNS, PipelineManifest
from n4a_store.errors import CorruptionError, ObjectNotFoundError
from n4a_store.objects.model import Run, RunStatus
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.refs.refs import Ref
from n4a_store.repo.store import Store
from n4a_store.storage.leases import is_lease_id, probe_lease

__all__ = [
    "LOCK",
    "current_manifest",
    "manifest_at",
    "newest_run",
    "noted_failures",
    "read_manifest",
    "shown_status",
]

log = logging.getLogger(__name__)

LOCK = "lock"
"""Where a run's details say which lock its process holds."""

_LOOKED_AT = 8


def current_manifest(
    store: Store, pipeline_id: str, seen: PipelineManifest | None = None
) -> PipelineManifest | None:
    """The last completed manifest of a pipeline, or None.

    Args:
        seen: What it was a while ago, which is not read again when it still is.
    """
    return manifest_at(store, pipeline_id, store.known_ref(PIPELINES + pipeline_id), seen)


def manifest_at(
    store: Store, pipeline_id: str, ref: Ref | None, seen: PipelineManifest | None = None
) -> PipelineManifest | None:
    """The manifest that a pipeline's ref holds; ``seen`` as :func:`current_manifest` takes it."""
    if ref is None or (seen is not None and seen.oid == ref.oid):
        return None if ref is None else seen
    return PipelineManifest.read(store, pipeline_id, ref.oid)


def read_manifest(
    store: Store, run_id: str, pipeline_id: str, seen: PipelineManifest | None = None
) -> PipelineManifest | None:
    """The manifest of a pipeline in a run, or None; ``seen`` is not read again where it is that."""
    ref = store.find_ref(RUNS + run_id)
    if ref is None or ref.kind is not Kind.RUN:
        return None
    entry = store.get_entry(store.get_run(ref.oid).pipelines, pipeline_id)
    if entry is None or (seen is not None and seen.oid == entry.oid):
        return None if entry is None else seen
    return PipelineManifest.read(store, pipeline_id, entry.oid)


def shown_status(store: Store, run: Run) -> RunStatus:
    """The status of a run as people are shown it: interrupted when its process is gone."""
    lock = run.details.get(LOCK)
    if run.status is not RunStatus.RUNNING:
        return run.status
    if isinstance(lock, str) and is_lease_id(lock):  # a run of a bundle may say anything
        info = probe_lease(store.layout.lease(lock))
        if info is not None and info.alive:
            return RunStatus.RUNNING
    return RunStatus.INTERRUPTED


def noted_failures(run: Run) -> dict[str, Any]:
    """Why pipelines of a run failed, by id, where the runner noted it (of the first hundred)."""
    noted = run.details.get("failures")
    return dict(noted) if isinstance(noted, Mapping) else {}


def newest_run(store: Store) -> tuple[ObjectId, ...]:
    """The run before this one: the youngest of the newest day.

    It is looked for among those that were written last. One alone would not do: a run that goes on
    while others begin and end is written after them. One that cannot be read is passed over, as
    damage to what is past stops nobody from training.
    """
    with store.catalog.read() as reader:
        newest = reader.last_refs(RUNS, Kind.RUN, "name", 1)
        if not newest:
            return ()
        day = newest[0].name.partition("_")[0]
        rows = reader.last_refs(day, Kind.RUN, "op", _LOOKED_AT)
    found: list[tuple[str, ObjectId]] = []
    for row in rows:
        oid = ObjectId(row.oid)
        try:
            found.append((store.get_run(oid).created_at, oid))
        except (CorruptionError, ObjectNotFoundError) as error:
            log.warning("%s is not recorded as the run before this one: %s", row.name, error)
    return (max(found, key=itemgetter(0))[1],) if found else ()

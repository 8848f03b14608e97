"""The readable manifests under ``runs/``: written when a pipeline completes, never believed.

A rendition that cannot be written costs nothing but a warning: the store holds the truth, and
``n4a-store artifacts manifest`` prints it again. One that is there is always whole.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

from n4a_store.artifacts.manifest_tree import PipelineManifest
from n4a_store.artifacts.rendition import manifest_document, render
from n4a_store.artifacts.types import ArtifactRecord
from n4a_store.errors import BackendError
from n4a_store.storage.files import remove_file, remove_tree, replace_file
from n4a_store.storage.layout import WorkspaceLayout
from n4a_store.storage.system import backend_errors

__all__ = ["forget_pipeline", "forget_runs", "write_rendition"]

log = logging.getLogger(__name__)


def write_rendition(
    layout: WorkspaceLayout,
    dataset: str,
    manifest: PipelineManifest,
    records: Iterable[ArtifactRecord],
) -> None:
    """Write the readable manifest of a pipeline that has just been completed.

    Args:
        records: Its records in order. Their versions are set to the manifest's: another process
            may have completed the pipeline while this one was training.
    """
    prefix = len(manifest.pipeline_id) + 1
    stated = (
        record
        if record.version == (version := manifest.version(record.artifact_id[prefix:]))
        else replace(record, version=version)
        for record in records
    )
    text = render(
        manifest_document(
            dataset=dataset,
            run_id=manifest.run_id,
            pipeline_id=manifest.pipeline_id,
            created_at=manifest.created_at,
            manifest=manifest.oid.hex,
            records=stated,
            branches=manifest.links.branches,
        )
    )
    path = layout.manifest(dataset, manifest.run_id, manifest.pipeline_id)
    try:
        with backend_errors(f"create {path.parent}"):
            path.parent.mkdir(parents=True, exist_ok=True)
        # Not fsynced: after a power cut it may be missing, and can be printed again.
        replace_file(path, text.encode("utf-8"), durable=False)
    except BackendError as error:
        log.warning("the readable manifest %s was not written: %s", path, error)


def forget_pipeline(layout: WorkspaceLayout, dataset: str, pipeline_id: str) -> None:
    """Remove the renditions of a pipeline that was deleted, in all runs."""
    folder = layout.runs / dataset
    try:
        for run in folder.iterdir() if folder.is_dir() else ():
            path = layout.manifest(dataset, run.name, pipeline_id)
            if remove_file(path):
                remove_tree(path.parent)
    except (BackendError, OSError) as error:
        log.warning("readable manifests of %s are still in %s: %s", pipeline_id, folder, error)


def forget_runs(layout: WorkspaceLayout, dataset: str) -> None:
    """Remove all renditions of a dataset that was purged."""
    folder = layout.runs / dataset
    try:
        if folder.is_dir():
            remove_tree(folder)
    except BackendError as error:
        log.warning("readable manifests are still in %s: %s", folder, error)

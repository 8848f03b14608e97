"""The readable manifests under ``runs/``: written when a pipeline completes, never believed.

A rendition that cannot be written costs nothing but a warning: the store holds the truth, and
``n4a-store artifacts manifest`` prints it again. One that is there is always whole.
"""

from __future__ import annotations

import logging
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from n4a_store.artifacts.manifest_tree import PipelineManifest
from n4a_store.artifacts.rendition import manifest_document, render_records
from n4a_store.artifacts.types import ArtifactRecord
from n4a_store.errors import BackendError, InvalidNameError
from n4a_store.objects.oid import ObjectId
from n4a_store.refs.names import check_name_component
from n4a_store.repo.store import Store
from n4a_store.storage.files import list_folder, remove_file, remove_if_empty, replace_file
from n4a_store.storage.layout import WorkspaceLayout
from n4a_store.storage.system import backend_errors

__all__ = [
    "find_renditions",
    "forget_pipeline",
    "forget_runs",
    "remove_renditions",
    "write_rendition",
    "write_renditions",
]

log = logging.getLogger(__name__)


def write_rendition(
    layout: WorkspaceLayout,
    dataset: str,
    manifest: PipelineManifest,
    records: Iterable[ArtifactRecord],
    *,
    holder: str | None = None,
) -> None:
    """Write the readable manifest of a pipeline that has just been completed.

    Args:
        records: Its records in order. Their versions and times are set to the manifest's: another
            process may have completed the pipeline while this one was training.
        holder: The run in whose folder it is to stand; None for the run that made it.
    """
    prefix, created_at = len(manifest.pipeline_id) + 1, manifest.created_at
    stated = (
        record
        if record.version == (version := manifest.version(record.artifact_id[prefix:]))
        and record.created_at == created_at
        else replace(record, version=version, created_at=created_at)
        for record in records
    )
    document = manifest_document(
        dataset=dataset,
        run_id=manifest.run_id,
        pipeline_id=manifest.pipeline_id,
        created_at=created_at,
        manifest=manifest.oid.hex,
        records=(),
        branches=manifest.links.branches,
    )
    text = render_records(document, stated)
    path = layout.manifest(dataset, holder or manifest.run_id, manifest.pipeline_id)
    try:
        folder = path.parent
        with backend_errors(f"create {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
        # Not fsynced: after a power cut it may be missing, and can be printed again.
        replace_file(path, text.encode("utf-8"), durable=False)
    except BackendError as error:
        log.warning("the readable manifest %s was not written: %s", path, error)


def write_renditions(
    layout: WorkspaceLayout,
    dataset: str,
    store: Store,
    run_id: str,
    manifests: Mapping[str, ObjectId],
) -> None:
    """Write the readable manifests of pipelines that a run holds and did not train itself.

    Raises:
        CorruptionError: A manifest is damaged.
    """
    with store.session():
        for pipeline_id, oid in manifests.items():
            manifest = PipelineManifest.read(store, pipeline_id, oid)
            records = [manifest.record(store, path.key) for path in manifest.paths()]
            write_rendition(layout, dataset, manifest, records, holder=run_id)


def find_renditions(
    layout: WorkspaceLayout,
    dataset: str,
    wanted: Callable[[str, str], bool] = lambda *_: True,
    *,
    pipeline_id: str | None = None,
) -> list[Path]:
    """The renditions of a dataset, in order; nothing is found through a symbolic link.

    Args:
        wanted: Says of a run and a pipeline whether their rendition is meant.
        pipeline_id: The only pipeline that is meant: no other is looked at.

    Raises:
        BackendError: A folder cannot be read.
    """
    found: list[Path] = []
    top = layout.runs / check_name_component(dataset)
    if not (_is_folder(layout.runs) and _is_folder(top)):
        return found
    for run in list_folder(top):
        if not _is_folder(top / run):
            continue
        for pipeline in list_folder(top / run) if pipeline_id is None else [pipeline_id]:
            if not wanted(run, pipeline):
                continue
            try:
                path = layout.manifest(dataset, run, pipeline)
            except InvalidNameError:
                continue  # a folder of somebody else's: no run and no pipeline is called so
            if not _is_folder(path.parent):
                continue
            # What a writer that died left of one counts as well.
            names = (path.name, f".{path.name}.")
            found += [
                path.parent / name
                for name in list_folder(path.parent)
                if name == names[0] or (name.startswith(names[1]) and name.endswith(".tmp"))
            ]
    return found


def remove_renditions(layout: WorkspaceLayout, paths: Iterable[Path]) -> int:
    """Remove renditions that `find_renditions` found, and the folders that this leaves empty.

    Returns:
        How many there were; what else somebody put beside them stays.

    Raises:
        BackendError: One of them cannot be removed.
    """
    removed = 0
    for path in paths:
        removed += remove_file(path)
        for folder in path.parents:
            if folder == layout.runs or not remove_if_empty(folder):
                break
    return removed


def forget_pipeline(layout: WorkspaceLayout, dataset: str, pipeline_id: str) -> None:
    """Remove the renditions of a pipeline that was deleted, in all runs."""
    _forget(layout, dataset, pipeline_id)


def forget_runs(layout: WorkspaceLayout, dataset: str) -> None:
    """Remove all renditions of a dataset that was purged."""
    _forget(layout, dataset, None)


def _forget(layout: WorkspaceLayout, dataset: str, pipeline_id: str | None) -> None:
    try:
        remove_renditions(layout, find_renditions(layout, dataset, pipeline_id=pipeline_id))
    except BackendError as error:
        log.warning("readable manifests are still in %s: %s", layout.runs / dataset, error)


def _is_folder(path: Path) -> bool:
    """Whether `path` is a folder and no link to one.

    Raises:
        BackendError: That cannot be told.
    """
    with backend_errors(f"look at {path}"):
        try:
            return stat.S_ISDIR(path.lstat().st_mode)
        except FileNotFoundError:
            return False

"""The places of nirs4all 1.4.10 that name its own storage, and what stands there instead.

Upstream has no plug-in interface: its orchestrator names the registry by import, others import
it late, and its workspace reads files itself. Every seam is listed here, is looked for before
the first one is touched, and is put back as it was. What upstream kept as a file is still read
as a file: a workspace may hold both.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
import weakref
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nirs4all.pipeline.storage.artifacts as artifacts_room
from nirs4all.pipeline.execution import orchestrator
from nirs4all.pipeline.storage.artifacts import artifact_loader, artifact_registry
from nirs4all.pipeline.storage.artifacts.artifact_persistence import to_bytes
from nirs4all.pipeline.storage.workspace_store import WorkspaceStore

from n4a_store.artifacts.registry import ArtifactRegistry
from n4a_store.artifacts.workers import Handover, adopt_handovers
from n4a_store.errors import NotFoundError, UnsupportedFormatError
from n4a_store.integrations.nirs4all.addresses import Address, is_address
from n4a_store.integrations.nirs4all.reading import DatasetReader, gone
from n4a_store.integrations.nirs4all.registry import (
    StoreRegistry,
    commit_pipeline,
    open_registries,
)

__all__ = ["SEAMS", "Seam"]

_ROW = "SELECT artifact_path, content_hash FROM artifacts WHERE artifact_id = ?"
_LEFT = "SELECT 1 FROM artifacts WHERE artifact_path LIKE ? ESCAPE '\\' LIMIT 1"
_DOOMED = "SELECT artifact_path FROM artifacts WHERE ref_count <= 0"

_readers: weakref.WeakKeyDictionary[Any, dict[str, DatasetReader]] = weakref.WeakKeyDictionary()
_folders: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Seam:
    """One name in one place of upstream, and what makes its replacement from what it was."""

    owner: Any
    name: str
    replacement: Callable[[Any], Any]

    def check(self) -> None:
        """Raise :class:`UnsupportedFormatError` when upstream has no such name."""
        if not hasattr(self.owner, self.name):
            raise UnsupportedFormatError(
                f"this nirs4all has no {self.owner.__name__}.{self.name}",
                hint="was it changed? pip install --force-reinstall 'n4a_store[nirs4all]'",
            )


# --- reading ----------------------------------------------------------------------------------


def _row(workspace: WorkspaceStore, artifact_id: str) -> tuple[Address, str] | None:
    """Where the artifact of a row is kept and its content; None when not here."""
    row = workspace._ensure_open().execute(_ROW, [artifact_id]).fetchone()
    if row is None or not is_address(row[0]):
        return None
    return Address.parse(row[0]), str(row[1])


def _load(workspace: WorkspaceStore, address: Address, content: str) -> Any:
    of_workspace = _readers.setdefault(workspace, {})
    reader = of_workspace.get(address.dataset)
    if reader is None:
        try:
            reader = DatasetReader(workspace.workspace_path, address.dataset)
        except NotFoundError as error:
            raise gone(address) from error
        of_workspace[address.dataset] = reader
    return reader.load(address, content)


def _load_artifact(original: Any) -> Any:
    def load_artifact(self: WorkspaceStore, artifact_id: str) -> Any:
        found = _row(self, artifact_id)
        if found is None:
            return original(self, artifact_id)
        return _load(self, *found)

    return load_artifact


def _get_artifact_path(original: Any) -> Any:
    def get_artifact_path(self: WorkspaceStore, artifact_id: str) -> Path:
        found = _row(self, artifact_id)
        if found is None:
            return Path(original(self, artifact_id))
        # Bundles zip files: make one, as upstream would have written it, in a folder that goes
        # when the workspace is closed.
        obj = _load(self, *found)
        folder = _folders.get(self)
        if folder is None:
            folder = _folders[self] = tempfile.mkdtemp(prefix="n4a_store-nirs4all-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        data, form = to_bytes(obj)
        digest = found[1].rpartition(":")[2]
        path = Path(folder) / f"{digest}.{'joblib' if form == 'joblib' else 'pkl'}"
        path.write_bytes(data)
        return path

    return get_artifact_path


def _load_record(original: Any) -> Any:
    def load_record(self: Any, record: Any) -> Any:
        if not is_address(record.path):
            return original(self, record)
        address = Address.parse(record.path)
        with closing(DatasetReader(self.workspace, address.dataset)) as reader:
            return reader.load(address)

    return load_record


# --- writing ----------------------------------------------------------------------------------


def _register_existing(original: Any) -> Any:
    def register_existing_artifact(
        self: WorkspaceStore, artifact_id: str, path: str, *args: Any, **kwargs: Any
    ) -> str:
        if is_address(path):
            commit_pipeline(self.workspace_path, Address.parse(path))
        return str(original(self, artifact_id, path, *args, **kwargs))

    return register_existing_artifact


def _reconstruct(original: Any) -> Any:
    def _reconstruct_parallel_results(
        self: Any, results: list[dict[str, Any]], *args: Any, **kwargs: Any
    ) -> Any:
        _adopt(self.workspace_path, results)
        return original(self, results, *args, **kwargs)

    return _reconstruct_parallel_results


def _adopt(workspace: Path, results: list[dict[str, Any]]) -> None:
    """Adopt what workers hand over, in one commit; a failed variant's is left to gc."""
    handed: dict[str, dict[str, Handover]] = {}
    for result in results:
        for row in result.get("artifact_records", []):
            if not is_address(row["path"]):
                continue
            at = Address.parse(row["path"])
            row["path"] = str(Address(at.dataset, at.pipeline_id, at.key))
            if at.handover is not None and not result.get("failed"):
                pipelines = handed.setdefault(at.dataset, {})
                pipelines[at.pipeline_id] = Handover(at.pipeline_id, at.handover)
    for registry in open_registries(workspace):
        pipelines = handed.pop(registry.kept.dataset, {})
        adopt_handovers(registry.kept, pipelines.values())


# --- deleting ---------------------------------------------------------------------------------


def _gc_artifacts(original: Any) -> Any:
    def gc_artifacts(self: WorkspaceStore) -> int:
        connection = self._ensure_open()
        doomed = [row[0] for row in connection.execute(_DOOMED) if is_address(row[0])]
        count = int(original(self))
        pipelines = {(at.dataset, at.pipeline_id) for at in map(Address.parse, doomed)}
        for dataset, pipeline_id in sorted(pipelines):
            prefix = str(Address(dataset, pipeline_id, ""))
            escaped = prefix.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            if connection.execute(_LEFT, [escaped + "%"]).fetchone() is None:
                _delete_pipeline(self.workspace_path, dataset, pipeline_id)
        return count

    return gc_artifacts


def _delete_pipeline(workspace: Path, dataset: str, pipeline_id: str) -> None:
    registry = ArtifactRegistry(workspace, dataset)
    try:
        if registry.store.find_ref(f"refs/pipelines/{pipeline_id}") is not None:
            registry.delete_pipeline_artifacts(pipeline_id)
    finally:
        registry.close()


def _close(original: Any) -> Any:
    def close(self: WorkspaceStore) -> None:
        for reader in _readers.pop(self, {}).values():
            reader.close()
        folder = _folders.pop(self, None)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        original(self)

    return close


def _the_registry(_: Any) -> Any:
    return StoreRegistry


SEAMS = (
    Seam(artifact_registry, "ArtifactRegistry", _the_registry),
    Seam(artifacts_room, "ArtifactRegistry", _the_registry),
    Seam(orchestrator, "ArtifactRegistry", _the_registry),
    Seam(orchestrator.PipelineOrchestrator, "_reconstruct_parallel_results", _reconstruct),
    Seam(artifact_loader.ArtifactLoader, "_load_artifact", _load_record),
    Seam(WorkspaceStore, "register_existing_artifact", _register_existing),
    Seam(WorkspaceStore, "load_artifact", _load_artifact),
    Seam(WorkspaceStore, "get_artifact_path", _get_artifact_path),
    Seam(WorkspaceStore, "gc_artifacts", _gc_artifacts),
    Seam(WorkspaceStore, "close", _close),
)

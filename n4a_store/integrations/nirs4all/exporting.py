"""Writing a workspace out for nirs4all: its catalog, and one file per artifact again.

Two kinds of artifacts become files. What was imported is written as the bytes it came in, under
the path and with the hash that its row declares. What was trained into a store has no such
bytes: it is loaded and written with joblib, and its row in the written catalog says so. The
result needs neither this package nor the workspace it came from.
"""

from __future__ import annotations

import hashlib
import io
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from n4a_store.artifacts.loader import ArtifactLoader
from n4a_store.artifacts.manifest_tree import PIPELINES, PipelineManifest, StoredArtifact
from n4a_store.artifacts.payload import payload_parts
from n4a_store.artifacts.workspace import Workspace
from n4a_store.errors import (
    BackendError,
    CorruptionError,
    InvalidInputError,
    NotFoundError,
    StoreNotFoundError,
)
from n4a_store.integrations.nirs4all.addresses import Address, is_address
from n4a_store.integrations.nirs4all.beside import files_beside
from n4a_store.integrations.nirs4all.catalog import ARTIFACTS, CATALOG, ArtifactRow, read_catalog
from n4a_store.integrations.nirs4all.chains import ID
from n4a_store.integrations.nirs4all.importing import FILE, KEPT
from n4a_store.repo.store import Store

__all__ = ["WorkspaceExport", "export_workspace"]

_JOBLIB, _COMPRESSION = "joblib", 3
_UPDATE = (
    "UPDATE artifacts SET artifact_path = ?, content_hash = ?, format = ?, size_bytes = ?"
    " WHERE artifact_id = ?"
)


@dataclass(slots=True)
class WorkspaceExport:
    """What an export wrote.

    Args:
        folder: Where to.
        files: How many artifact files.
        size: Bytes of them.
        missing: Ids of rows whose artifact is nowhere any more.
    """

    folder: str
    files: int = 0
    size: int = 0
    missing: list[str] = field(default_factory=list)


def export_workspace(
    workspace: str | os.PathLike[str] | Workspace,
    folder: str | os.PathLike[str],
    *,
    dataset: str | None = None,
    trust: bool = False,
) -> WorkspaceExport:
    """Write a workspace that nirs4all predicts from without this package.

    Args:
        workspace: One that was trained into with the integration installed, or imported into.
        folder: Where to; must not exist or be empty.
        dataset: Of which dataset's import; needed when several were imported.
        trust: Load what was imported and has to be written anew, although that may do harm.

    Raises:
        InvalidInputError: There is something in ``folder``, or a dataset has to be named, or a file
            that nirs4all keeps beside its catalog is a link.
        StoreNotFoundError: There is no catalog of nirs4all in the workspace, live or imported.
        CorruptionError: An artifact or the catalog is damaged.
        BackendError: The disk refused.
    """
    source = Workspace(workspace)
    target = Path(folder).absolute()
    try:
        if target.exists() and any(target.iterdir()):
            raise InvalidInputError(f"{target} is not empty", hint="name a new folder")
        with closing(_Export(source, target, trust=trust)) as work:
            if (source.path / CATALOG).is_file():
                work.live()
            else:
                work.imported(_dataset(source, dataset))
            return work.done
    except OSError as error:
        raise BackendError(f"cannot write {target}: {error}") from error


def _dataset(workspace: Workspace, named: str | None) -> str:
    if named is not None:
        return named
    found = []
    for name in workspace.datasets():
        with workspace.store(name) as store:
            if store.find_ref(PIPELINES + KEPT) is not None:
                found.append(name)
    if not found:
        raise StoreNotFoundError(
            f"{workspace.path} holds no workspace of nirs4all",
            hint="'n4a-store artifacts import-workspace PATH' takes one over",
        )
    if len(found) > 1:
        raise InvalidInputError(
            f"workspaces of nirs4all were imported into {', '.join(found)}",
            hint="choose one with -d NAME",
        )
    return found[0]


class _Export:
    def __init__(self, source: Workspace, target: Path, *, trust: bool) -> None:
        self.source = source
        self.target = target
        self.trust = trust
        self.done = WorkspaceExport(str(target))
        self._loaders: dict[str, ArtifactLoader] = {}

    def close(self) -> None:
        """Close every store."""
        for loader in self._loaders.values():
            loader.close()

    # --- where the catalog comes from ---------------------------------------------------------

    def live(self) -> None:
        """From the workspace's own catalog, and whatever its rows name."""
        catalog = read_catalog(self.source.path)
        self._write(CATALOG, catalog.copy)
        for name, data in files_beside(self.source.path):
            if data is None:
                raise InvalidInputError(
                    f"{self.source.path / name} is a link, or no file: it cannot be written out",
                    hint="put what it leads to in its place, then write into another folder",
                )
            self._write(name, data)
        originals = self._originals(self.source.datasets())
        self._rows(list(catalog.artifacts.values()), originals, catalog.content)

    def imported(self, dataset: str) -> None:
        """From the catalog that was kept when the workspace was imported."""
        store = self._loader(dataset).store
        ref = store.find_ref(PIPELINES + KEPT)
        if ref is None:
            raise StoreNotFoundError(
                f"no workspace of nirs4all was imported into {dataset}",
                hint="'n4a-store artifacts import-workspace PATH' takes one over",
            )
        with store.session():
            manifest = PipelineManifest.read(store, KEPT, ref.oid)
            for path in manifest.paths():
                name = manifest.links.keys[path.key].notes.get(FILE)
                if name is None:
                    raise CorruptionError(
                        f"{path.artifact_id} does not say which file of the workspace it was",
                        hint="it was not made by import-workspace; import the workspace again",
                    )
                self._write(name, _original(store, manifest, path.key))
        catalog = read_catalog(self.target)
        self._rows(list(catalog.artifacts.values()), self._originals([dataset]), lambda _: None)

    # --- artifacts ----------------------------------------------------------------------------

    def _originals(self, datasets: list[str]) -> dict[str, tuple[Store, PipelineManifest, str]]:
        """What was imported, by nirs4all's id."""
        found = {}
        for dataset in datasets:
            store = self._loader(dataset).store
            for ref in store.refs(PIPELINES):
                manifest = PipelineManifest.read(store, ref.name.removeprefix(PIPELINES), ref.oid)
                for key, links in manifest.links.keys.items():
                    if FILE in links.notes and ID in links.notes:
                        found[links.notes[ID]] = (store, manifest, key)
        return found

    def _rows(
        self,
        rows: list[ArtifactRow],
        originals: dict[str, tuple[Store, PipelineManifest, str]],
        content: Callable[[ArtifactRow], bytes | None],
    ) -> None:
        changed = []
        written: set[str] = set()
        for row in rows:
            data: bytes | None
            path = row.path
            if is_address(path):
                data = self._made(row)
                if data is not None:
                    digest = hashlib.sha256(data).hexdigest()
                    path = f"{digest[:2]}/{digest}.{_JOBLIB}"
                    changed.append((path, f"sha256:{digest}", _JOBLIB, len(data), row.artifact_id))
            else:
                original = originals.get(row.artifact_id)
                data = content(row) if original is None else _original(*original)
            if data is None:
                self.done.missing.append(row.artifact_id)
                continue
            if path not in written:
                written.add(path)
                self._write(f"{ARTIFACTS}/{path}", data)
                self.done.files += 1
                self.done.size += len(data)
        with closing(sqlite3.connect(self.target / CATALOG)) as connection, connection:
            connection.executemany(_UPDATE, changed)

    def _made(self, row: ArtifactRow) -> bytes | None:
        """A file for an artifact that never was one; None when it is gone."""
        import joblib

        address = Address.parse(row.path)
        try:
            loader = self._loader(address.dataset)
            record = loader.get_record(address.artifact_id)
            if record is None or record.content_hash != row.content_hash:
                return None
            obj = loader.load_by_id(address.artifact_id)
        except NotFoundError:
            return None
        stream = io.BytesIO()
        joblib.dump(obj, stream, compress=_COMPRESSION)
        return stream.getvalue()

    def _loader(self, dataset: str) -> ArtifactLoader:
        loader = self._loaders.get(dataset)
        if loader is None:
            loader = ArtifactLoader(self.source, dataset, cache_size=0, trust=self.trust)
            self._loaders[dataset] = loader
        return loader

    def _write(self, name: str, data: bytes) -> None:
        path = (self.target / name).resolve()
        if not path.is_relative_to(self.target.resolve()):
            raise CorruptionError(f"{name!r:.120} would be written outside of {self.target}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _original(store: Store, manifest: PipelineManifest, key: str) -> bytes:
    """The bytes that an imported artifact came in."""
    name = f"{manifest.pipeline_id}:{key}"
    stored = StoredArtifact.read(store, manifest.artifacts[key].oid, name)
    skeleton, _ = payload_parts(store, stored.payload)
    return bytes(skeleton)

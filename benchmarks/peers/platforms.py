"""Stores of experiment trackers and data tools, each through its own Python interface."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.base import Peer, needs_module
from benchmarks.peers.workload import Registration

__all__ = ["DiskObjectStore", "DvcData", "MLflow", "Metaflow", "Nirs4all"]


class DiskObjectStore(Peer):
    """disk-objectstore (AiiDA): straight into its pack, synced, a batch a pipeline."""

    name = "disk-objectstore"
    durable = True

    @classmethod
    def missing(cls) -> str | None:
        """The package."""
        return needs_module("disk_objectstore", "bench")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        from disk_objectstore import Container

        self.container: Any = Container(folder / "container")
        self.container.init_container()
        self.hashes: dict[str, str] = {}
        self.batch: list[tuple[str, bytes]] = []

    def put(self, pipeline: str, at: Registration, obj: Any) -> None:
        """Pickle; it is written with its pipeline."""
        del pipeline
        self.batch.append((at.artifact, pickle.dumps(obj, 5)))

    def commit(self, pipeline: str) -> None:
        """Append to the pack, with holes: without them 1.5.0 damages batches with duplicates."""
        del pipeline
        found = self.container.add_objects_to_pack([data for _, data in self.batch])
        self.hashes.update(zip((name for name, _ in self.batch), found, strict=True))
        self.batch.clear()

    def load(self, artifact: str) -> Any:
        """By hash."""
        return pickle.loads(self.container.get_object_content(self.hashes[artifact]))

    def load_pipeline(self, pipeline: str, artifacts: Sequence[str]) -> list[Any]:
        """In one query."""
        del pipeline
        hashes = [self.hashes[artifact] for artifact in artifacts]
        found = self.container.get_objects_content(hashes)
        return [pickle.loads(found[at]) for at in hashes]

    def fsck(self) -> None:
        """Its own check."""
        problems = vars(self.container.validate())
        if any(problems.values()):
            raise AssertionError(f"damage: {problems}")

    def delete(self, pipeline: str, artifacts: Sequence[str]) -> None:
        """Forget the names."""
        del pipeline
        for artifact in artifacts:
            del self.hashes[artifact]

    def gc(self) -> None:
        """Delete what has no name, then repack."""
        kept = set(self.hashes.values())
        gone = [at for at in self.container.list_all_objects() if at not in kept]
        self.container.delete_objects(gone)
        self.container.repack()

    def close(self) -> None:
        """Close it."""
        self.container.close()


class DvcData(Peer):
    """dvc-data: a file each by MD5, as ``dvc add`` caches them."""

    name = "dvc-data"

    @classmethod
    def missing(cls) -> str | None:
        """The package."""
        return needs_module("dvc_data", "bench")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        from dvc_data.hashfile.db.local import LocalHashFileDB
        from dvc_objects.fs.local import LocalFileSystem

        self.fs: Any = LocalFileSystem()
        self.odb: Any = LocalHashFileDB(self.fs, str(folder / "cache"))
        self.hashes: dict[str, str] = {}

    def put(self, pipeline: str, at: Registration, obj: Any) -> None:
        """Write, hash, move in."""
        del pipeline
        from dvc_data.hashfile.hash import hash_file

        path = str(self.folder / "staged")
        with Path(path).open("wb") as file:
            pickle.dump(obj, file, 5)
        _, info = hash_file(path, self.fs, "md5")
        self.odb.add(path, self.fs, info.value, hardlink=True)
        Path(path).unlink(missing_ok=True)
        self.hashes[at.artifact] = info.value

    def load(self, artifact: str) -> Any:
        """Open its file."""
        with Path(self.odb.oid_to_path(self.hashes[artifact])).open("rb") as file:
            return pickle.load(file)

    def fsck(self) -> None:
        """Hash every file again."""
        from dvc_data.hashfile.hash import hash_file

        for oid in self.odb.all():
            _, info = hash_file(self.odb.oid_to_path(oid), self.fs, "md5")
            if info.value != oid:
                raise AssertionError(f"{oid} is damaged")

    def delete(self, pipeline: str, artifacts: Sequence[str]) -> None:
        """Forget the names."""
        del pipeline
        for artifact in artifacts:
            del self.hashes[artifact]

    def gc(self) -> None:
        """Remove what has no name."""
        kept = set(self.hashes.values())
        for oid in list(self.odb.all()):
            if oid not in kept:
                self.odb.delete(oid)


class Metaflow(Peer):
    """Metaflow's content-addressed store on a local folder: gzip level 3, a file each."""

    name = "Metaflow CAS"
    heavy = True

    @classmethod
    def missing(cls) -> str | None:
        """The package."""
        return needs_module("metaflow", "bench-full")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        os.environ.setdefault("METAFLOW_USER", "bench")
        os.environ["METAFLOW_HOME"] = str(folder / "home")
        from metaflow.datastore.content_addressed_store import ContentAddressedStore
        from metaflow.plugins.datastores.local_storage import LocalStorage

        self.store: Any = ContentAddressedStore("data", LocalStorage(str(folder)))
        self.keys: dict[str, str] = {}

    def put(self, pipeline: str, at: Registration, obj: Any) -> None:
        """One blob."""
        del pipeline
        (saved,) = self.store.save_blobs([pickle.dumps(obj, 5)])
        self.keys[at.artifact] = saved.key

    def load(self, artifact: str) -> Any:
        """One blob."""
        ((_, data),) = self.store.load_blobs([self.keys[artifact]])
        return pickle.loads(data)


class MLflow(Peer):
    """MLflow's scikit-learn flavour on a local folder; a subset, for it takes a second a model."""

    name = "MLflow (subset)"
    heavy = True
    subset = 1

    @classmethod
    def missing(cls) -> str | None:
        """The package."""
        return needs_module("mlflow", "bench-full")

    def _path(self, artifact: str) -> str:
        return str(self.folder / artifact.replace(":", "_"))

    def put(self, pipeline: str, at: Registration, obj: Any) -> None:
        """Save a model, its requirements given so that none has to be inferred."""
        del pipeline
        import mlflow.sklearn

        mlflow.sklearn.save_model(
            obj,
            self._path(at.artifact),
            serialization_format="cloudpickle",
            pip_requirements=["scikit-learn"],
        )

    def load(self, artifact: str) -> Any:
        """Load a model."""
        import mlflow.sklearn

        return mlflow.sklearn.load_model(self._path(artifact))


class Nirs4all(Peer):
    """nirs4all 1.4.10 itself: its registry of joblib files, writes deferred to a pipeline's end."""

    name = "nirs4all"
    heavy = True

    @classmethod
    def missing(cls) -> str | None:
        """The package."""
        return needs_module("nirs4all", "bench-full")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        from nirs4all.pipeline.storage.artifacts.artifact_registry import ArtifactRegistry
        from nirs4all.pipeline.storage.artifacts.types import ArtifactType

        self.types: Any = ArtifactType
        self.registry: Any = ArtifactRegistry(folder, "bench")
        self.records: dict[str, Any] = {}
        self.deferred = False

    def put(self, pipeline: str, at: Registration, obj: Any) -> None:
        """Register."""
        del pipeline
        if not self.deferred:
            self.registry.begin_deferred()
            self.deferred = True
        self.records[at.artifact] = self.registry.register(
            obj, at.artifact, self.types(at.kind), depends_on=list(at.deps)
        )

    def commit(self, pipeline: str) -> None:
        """Write what was deferred."""
        del pipeline
        self.registry.commit_deferred()
        self.deferred = False

    def load(self, artifact: str) -> Any:
        """Load by record."""
        return self.registry.load_artifact(self.records[artifact])

    def delete(self, pipeline: str, artifacts: Sequence[str]) -> None:
        """Its own deletion."""
        del artifacts
        self.registry.delete_pipeline_artifacts(pipeline, delete_files=True)

    def gc(self) -> None:
        """The deletion has removed the files."""

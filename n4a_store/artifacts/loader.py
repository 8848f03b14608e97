"""The loader: fitted objects back, by id, by place, or with all that they depend on.

Opening reads manifests and never payloads. Every byte is checked before it is interpreted; what
is missing or damaged raises, and nothing is skipped. Loaded objects are cached by id and content:
the same id gives the same object, another id never does, and an id that was registered again gives
the new one. ``clear_cache`` or ``cache_size=0`` give fresh copies.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, SupportsIndex

from n4a_store.artifacts.cache import MISSING, CacheInfo, ObjectCache
from n4a_store.artifacts.draft import PipelineDraft
from n4a_store.artifacts.execution_path import check_index, parse_artifact_id
from n4a_store.artifacts.graph import ArtifactNode, one_of_each
from n4a_store.artifacts.incoming import artifact_ids
from n4a_store.artifacts.loading import load_payload
from n4a_store.artifacts.manifest_tree import StoredArtifact
from n4a_store.artifacts.queries import Found, StoredPipeline, View
from n4a_store.artifacts.run_handle import RunName, run_id_of
from n4a_store.artifacts.selection import fold_models, for_step
from n4a_store.artifacts.serializers.table import SerializerTable, default_table
from n4a_store.artifacts.types import ArtifactRecord, ArtifactType, as_artifact_types
from n4a_store.artifacts.workspace import Workspace
from n4a_store.errors import AmbiguousNameError, CorruptionError, InvalidInputError
from n4a_store.objects.oid import ObjectId
from n4a_store.refs.names import check_name_component
from n4a_store.repo.reading import ObjectReader
from n4a_store.repo.store import Store
from n4a_store.storage import forks

__all__ = ["ArtifactLoader"]


class ArtifactLoader:
    """Loads the artifacts of one dataset.

    Args:
        workspace: The folder of the workspace, or a :class:`Workspace`.
        dataset: The name of the dataset.
        cache_size: Objects that are kept at most.
        run: A run to load from; None loads what was completed last.
        mmap: Give read-only arrays over the store's own memory instead of writable copies.
        trust: Load what was imported from elsewhere, although that may do harm.
        table: The serializers; None for those of this process.

    Raises:
        InvalidNameError: That cannot be the name of a dataset.
    """

    def __init__(
        self,
        workspace: str | os.PathLike[str] | Workspace,
        dataset: str,
        cache_size: int = 100,
        *,
        run: RunName | None = None,
        mmap: bool = False,
        trust: bool = False,
        table: SerializerTable | None = None,
    ) -> None:
        self.workspace = Workspace(workspace)
        self.dataset = check_name_component(dataset, what="dataset")
        self.run = None if run is None else run_id_of(run)
        self.mmap = mmap
        self.trust = trust
        self._table = table
        settings = self.workspace.settings_of(self.dataset)
        self._cache = ObjectCache(cache_size, settings.cache_bytes)
        self._mutex = forks.own_mutex(self)
        self._store: Store | None = None
        self._pipeline_id: str | None = None
        me = weakref.ref(self)  # else it would keep itself alive, and its files open
        self._view = View(lambda: me()._store or me().store, lambda: None)  # type: ignore[union-attr]

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process: a loader of the same place, with nothing in its cache."""
        size = self._cache.info().max_size
        place = partial(type(self), self.workspace, self.dataset, size, run=self.run)
        made = partial(place, mmap=self.mmap, trust=self.trust, table=self._table)
        return made, (), {"_pipeline_id": self._pipeline_id}

    def __repr__(self) -> str:
        return f"ArtifactLoader({str(self.workspace.path)!r}, {self.dataset!r})"

    @classmethod
    def from_manifest(
        cls,
        manifest: Mapping[str, Any] | str | os.PathLike[str],
        results_dir: str | os.PathLike[str] | None = None,
        *,
        cache_size: int = 100,
        trust: bool = False,
    ) -> ArtifactLoader:
        """A loader of the pipeline and the run that a manifest describes.

        Args:
            manifest: A manifest of schema 2.0, read already, or the path of its file.
            results_dir: The workspace, or any folder in it; needed when ``manifest`` is no path.

        Raises:
            InvalidInputError: The manifest is malformed, or lists other artifacts than the tree
                that it names; or nothing says where the store is.
            UnsupportedFormatError: It is of another schema.
            StoreNotFoundError: There is no workspace around ``results_dir``.
        """
        from n4a_store.artifacts.manifest import (
            check_against,
            check_manifest,
            find_workspace,
            read_manifest_file,
        )

        where = Path(results_dir) if results_dir is not None else None
        if isinstance(manifest, str | os.PathLike):
            where = Path(manifest).parent if where is None else where
            checked = read_manifest_file(Path(manifest))
        else:
            checked = check_manifest(manifest)
        if where is None:
            raise InvalidInputError("from_manifest: results_dir says where the workspace is")
        loader = cls(find_workspace(where), checked.dataset, cache_size, trust=trust)
        check_against(loader.store, checked)
        loader.run = checked.run_id
        loader._pipeline_id = checked.pipeline_id
        return loader

    # --- the store ----------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        """The dataset's store.

        Raises:
            StoreNotFoundError: There is none; nothing is created.
        """
        with self._mutex:
            if self._store is None:
                self._store = self.workspace.store(self.dataset)
            return self._store

    def close(self) -> None:
        """Forget the cache and close the store."""
        with self._mutex:
            self._cache.clear()
            self._view.forget()
            if self._store is not None:
                self._store.close()
                self._store = None

    def __enter__(self) -> ArtifactLoader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- loading ------------------------------------------------------------------------------

    def load_by_id(self, artifact_id: str) -> Any:
        """The object of an artifact.

        Raises:
            InvalidInputError: The id is malformed.
            ArtifactNotFoundError: There is no such artifact.
            StoreNotFoundError: There is no such dataset.
            CorruptionError: Stored bytes are missing or damaged; names the artifact.
            UntrustedError: It was imported, and ``trust`` was not given.
            SerializationError: Its library is not here or refuses it.
        """
        known = self._view.known(artifact_id) if self.run is None else None
        if known is None:
            found = self._get(artifact_id)
            return self._load(found, found.tree, found.path.artifact_id)
        pipeline, key = known
        manifest = pipeline.manifest
        tree = manifest.artifacts.entries[key].oid
        obj = self._cache.get((artifact_id, tree.raw))
        if obj is MISSING:
            origin = manifest.links.origin(key)
            obj = self._read(pipeline.reader, tree, artifact_id, origin)
        return obj

    def _get(self, artifact_id: str) -> Found:
        with self._mutex:
            try:
                return self._view.get(artifact_id, self.run)
            except CorruptionError as error:
                # What names it is damaged: its manifest, its record, the run.
                raise CorruptionError(
                    f"artifact {artifact_id}: {error}", hint=error.hint
                ) from error

    def _load(self, found: Found, tree: ObjectId, name: str) -> Any:
        """The object of the artifact ``found``, or of a dependency of it, by its tree."""
        obj = self._cache.get((name, tree.raw))
        if obj is MISSING:
            obj = self._read(found.reader, tree, name, found.origin_of(tree))
        return obj

    def _read(self, reader: ObjectReader, tree: ObjectId, name: str, origin: str) -> Any:
        """The object with this tree, which is not in the cache."""
        with reader.session():
            stored = StoredArtifact.read(reader, tree, name)
            obj = load_payload(
                reader,
                stored.payload,
                name,
                stored.blob.format,
                default_table() if self._table is None else self._table,
                library=stored.blob.library,
                origin=origin,
                mmap=self.mmap,
                trust=self.trust,
            )
        self._cache.put((name, tree.raw), obj, stored.blob.size)
        return obj

    def load_for_step(
        self,
        step_index: int,
        branch_path: Iterable[SupportsIndex] | None = None,
        fold_id: int | None = None,
        pipeline_id: str | None = None,
    ) -> list[tuple[str, Any]]:
        """The artifacts of one step as a branch and a fold see them, as ``(id, object)``.

        Args:
            step_index: The step.
            branch_path: The branch that looks: it sees its own artifacts and those of every
                branch it lies in. ``[]`` is the trunk; None sees every branch.
            fold_id: The fold that looks: it sees its own and those of all folds. None sees
                every fold.
            pipeline_id: The pipeline; None when only one has such a step.

        Raises:
            AmbiguousNameError: Several pipelines have artifacts there.
            ArtifactNotFoundError: There is no such pipeline.
            InvalidInputError: The step, the branch path or the fold is malformed.
        """
        check_index(step_index, "step")
        with self._mutex:
            seen = [
                (pipeline, paths)
                for pipeline in self._pipelines(pipeline_id)
                if (paths := for_step(pipeline.paths(), step_index, branch_path, fold_id))
            ]
            if len(seen) > 1:
                names = [pipeline.pipeline_id for pipeline, _ in seen]
                raise AmbiguousNameError(
                    f"step {step_index} stands for artifacts of {len(names)} pipelines",
                    candidates=names,
                    hint="say which with pipeline_id=",
                )
            found = [Found.at(pipeline, path) for pipeline, paths in seen for path in paths]
        return [(at.path.artifact_id, self._load(at, at.tree, str(at.path))) for at in found]

    def load_fold_models(
        self,
        step_index: int,
        branch_path: Iterable[SupportsIndex] | None = None,
        pipeline_id: str | None = None,
        sub_index: int | None = None,
    ) -> list[tuple[int, Any]]:
        """A step's fold models as ``(fold, model)``, sorted by fold, of one branch and sub-step.

        Raises:
            AmbiguousNameError: Models of several pipelines, branches or sub-steps fit; they are
                never mixed.
            ArtifactNotFoundError: There is no such pipeline.
        """
        with self._mutex:
            records = fold_models(self._pipelines(pipeline_id), step_index, branch_path, sub_index)
        return [
            (record.fold_id, self.load_by_id(record.artifact_id))
            for record in records
            if record.fold_id is not None
        ]

    def _pipelines(self, pipeline_id: str | None) -> list[PipelineDraft | StoredPipeline]:
        wanted = self._pipeline_id if pipeline_id is None else pipeline_id
        return self._view.pipelines(wanted, self.run)

    # --- dependencies -------------------------------------------------------------------------

    def load_with_dependencies(self, artifact_id: str) -> dict[str, Any]:
        """An artifact and all that it depends on, by id, dependencies before dependents.

        A dependency is the one that the artifact was registered with, also when its id has been
        registered again since or its pipeline deleted.

        Raises:
            AmbiguousNameError: Two versions of one id are among them.
            ArtifactNotFoundError: There is no such artifact.
        """
        found = self._get(artifact_id)
        with self._mutex:
            node = found.node
        chain = (*one_of_each(node), node)
        return {at.artifact_id: self._load(found, at.tree, at.artifact_id) for at in chain}

    def load_meta_model_with_sources(
        self, artifact_id: str, validate_branch: bool = True
    ) -> tuple[Any, list[tuple[str, Any]], list[str]]:
        """A meta-model, its source models as ``(id, model)``, and its feature columns.

        The sources come in the order of the columns that they fill.

        Args:
            artifact_id: The meta-model.
            validate_branch: Refuse a source from a branch that the meta-model can neither see
                nor join: its branch must lie on the meta-model's path, or the other way round.

        Raises:
            ArtifactNotFoundError: There is no such artifact.
            InvalidInputError: It is not a meta-model, or a source is of a sibling branch.
        """
        found = self._get(artifact_id)
        with self._mutex:
            record, node = found.record, found.node
        config = record.meta_config
        if not record.is_meta_model or config is None or not config.source_models:
            raise InvalidInputError(
                f"{artifact_id} is a {record.artifact_type}, not a meta-model with sources",
                hint="load_by_id loads artifacts of every type",
            )
        children = {child.artifact_id: child for child in node.children}
        sources = [children[artifact_id] for artifact_id in config.source_ids]
        if validate_branch:
            for source in sources:
                _check_branch(record, source)
        return (
            self._load(found, node.tree, node.artifact_id),
            [(at.artifact_id, self._load(found, at.tree, at.artifact_id)) for at in sources],
            list(config.feature_columns),
        )

    def load_meta_model_for_prediction(
        self, artifact_id: str, X: Any = None
    ) -> tuple[Any, list[tuple[str, Any]], list[str]]:
        """As :meth:`load_meta_model_with_sources`, checked against what is to be predicted.

        Args:
            artifact_id: The meta-model.
            X: The rows to predict, shape (samples, features). A source that takes them as they
                are (it depends on nothing) must take that many features.

        Raises:
            InvalidInputError: As there; or a source was fitted on another number of features.
        """
        meta, sources, columns = self.load_meta_model_with_sources(artifact_id)
        if X is not None:
            shape: tuple[int, ...] = getattr(X, "shape", ())
            if len(shape) != 2:  # noqa: PLR2004 - a matrix
                raise InvalidInputError(f"X has shape {shape}, not (samples, features)")
            for name, model in sources:
                fitted = getattr(model, "n_features_in_", shape[1])
                if fitted != shape[1] and not self._depends(artifact_id, name):
                    raise InvalidInputError(
                        f"source {name} was fitted on {fitted} features, X has {shape[1]}"
                    )
        return meta, sources, columns

    def _depends(self, artifact_id: str, source: str) -> bool:
        with self._mutex:
            node = self._get(artifact_id).node
        return any(child.children for child in node.children if child.artifact_id == source)

    # --- the cache ----------------------------------------------------------------------------

    def get_record(self, artifact_id: str) -> ArtifactRecord | None:
        """The record of an artifact, None when no artifact has this id."""
        with self._mutex:
            found = self._view.find(artifact_id, self.run)
            return None if found is None else found.record

    def get_all_records(self, pipeline_id: str | None = None) -> list[ArtifactRecord]:
        """All records that can be loaded, sorted by pipeline and in order of execution."""
        with self._mutex:
            wanted = self._pipeline_id if pipeline_id is None else pipeline_id
            return self._view.records(wanted, self.run)

    def preload_artifacts(
        self,
        ids: Iterable[str] | None = None,
        types: Iterable[ArtifactType | str] | None = None,
    ) -> int:
        """Load artifacts into the cache ahead of time; of more than it holds, the last ones stay.

        Args:
            ids: Which; None for all.
            types: Only those of these types.

        Returns:
            How many were loaded; those in the cache already are not counted.

        Raises:
            InvalidInputError: ``ids`` or ``types`` is not a list, or one of them malformed.
            As :meth:`load_by_id`, for the first that cannot be loaded.
        """
        wanted = None if types is None else as_artifact_types(types)
        if ids is None:
            names = [record.artifact_id for record in self.get_all_records()]
        else:
            names = artifact_ids(ids, "ids")
        before = self._cache.info().misses
        for name in names:
            found = self._get(name)
            if wanted is None or found.record.artifact_type in wanted:
                self._load(found, found.tree, found.path.artifact_id)
        return self._cache.info().misses - before

    def set_cache_size(self, size: int) -> None:
        """Keep at most ``size`` objects from now on; what is too much goes at once.

        Raises:
            InvalidInputError: Not a number from 0.
        """
        self._cache.resize(size)

    def clear_cache(self) -> None:
        """Forget all objects and the statistics."""
        self._cache.clear()

    def get_cache_info(self) -> CacheInfo:
        """How the cache is doing."""
        return self._cache.info()


def _check_branch(meta: ArtifactRecord, source: ArtifactNode) -> None:
    path = parse_artifact_id(source.artifact_id)
    if path.pipeline_id != meta.pipeline_id:
        return  # another pipeline's branches are not comparable
    mine, theirs = meta.branch_path, path.branch_path
    if not (mine.starts_with(theirs) or theirs.starts_with(mine)):
        raise InvalidInputError(
            f"meta-model {meta.artifact_id} is in branch {list(mine)}, but its source "
            f"{source.artifact_id} is in branch {list(theirs)}",
            hint="validate_branch=False loads it all the same",
        )

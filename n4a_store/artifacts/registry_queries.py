"""Asking a registry: records, dependencies, objects. Nothing here creates or changes anything."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable
from typing import Any, Self, SupportsIndex

from n4a_store.artifacts.execution_path import check_pipeline_id, parse_artifact_id
from n4a_store.artifacts.loading import load_record
from n4a_store.artifacts.queries import View
from n4a_store.artifacts.run_handle import RunName
from n4a_store.artifacts.runs import OpenRun
from n4a_store.artifacts.selection import fold_models, for_step
from n4a_store.artifacts.serializers.table import SerializerTable, default_table
from n4a_store.artifacts.types import HASH_PREFIX, ArtifactRecord, Ids
from n4a_store.artifacts.whence import whence
from n4a_store.artifacts.workspace import Workspace
from n4a_store.errors import InvalidInputError
from n4a_store.refs.names import check_name_component
from n4a_store.repo.store import Store
from n4a_store.storage import forks

__all__ = ["RegistryQueries"]


class RegistryQueries:
    """The half of a registry that only looks.

    Args:
        workspace: The folder of the workspace, or a :class:`Workspace`.
        dataset: The name of the dataset.
        table: The serializers; None for those of this process.

    Raises:
        InvalidNameError: That cannot be the name of a dataset.
    """

    def __init__(
        self,
        workspace: str | os.PathLike[str] | Workspace,
        dataset: str,
        *,
        table: SerializerTable | None = None,
    ) -> None:
        self.workspace = Workspace(workspace)
        self.dataset = check_name_component(dataset, what="dataset")
        self._table = table
        self._mutex = forks.own_mutex(self)
        self._store: Store | None = None
        self._run: OpenRun | None = None
        self._implicit: OpenRun | None = None
        me = weakref.ref(self)  # else it would keep itself alive, and its files open
        self._view = View(lambda: me()._store or me().store, lambda: me()._run)  # type: ignore[union-attr]

    def __repr__(self) -> str:
        return f"ArtifactRegistry({str(self.workspace.path)!r}, {self.dataset!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the dataset by itself; what is open here stays here.

        Raises:
            InvalidInputError: A run is open.
        """
        if self._run is not None:
            raise InvalidInputError(
                f"run {self._run.id} is open in this process and cannot be sent to another",
                hint="send run.worker_ticket(); there, with WorkerRegistry(ticket) as registry: …",
            )
        return (_reopened, (type(self), self.workspace, self.dataset, self._table))

    # --- the store ----------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        """The dataset's store.

        Raises:
            StoreNotFoundError: There is none yet and no run is open; nothing is created.
        """
        with self._mutex:
            if self._store is None:
                # Whoever has a run open is writing: that nothing is there yet is no error.
                opened = self.workspace.store if self._run is None else self.workspace.create
                self._store = opened(self.dataset)
            return self._store

    @property
    def table(self) -> SerializerTable:
        """The serializers it writes and reads with."""
        return default_table() if self._table is None else self._table

    def close(self) -> None:
        """Close the store; it is opened again when it is needed."""
        with self._mutex:
            self._implicit = None
            self._view.forget()
            store, self._store = self._store, None
            if store is not None:
                store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close. A run that is still open has failed: what is unfinished in it is dropped.

        Raises:
            InvalidInputError: All went well but for a run that nobody has ended.
        """
        left_open = self._run
        self.close()
        if left_open is not None and kind is None:
            raise InvalidInputError(
                f"run {left_open.id} was still open when its registry was closed: it has failed",
                hint="end_run() before, or use with registry.run()",
            )

    # --- asking -------------------------------------------------------------------------------

    def resolve(self, artifact_id: str, run: RunName | None = None) -> ArtifactRecord | None:
        """The record of an artifact, None when no artifact has this id.

        A dataset that nobody has begun holds none: whoever asks what is to be registered yet may
        ask before the first. It is not created. A run of it, though, is an error as anywhere.

        Args:
            artifact_id: The id.
            run: A run to look in, by id or as :meth:`run` gave it; None looks in the open run and
                then among what is completed.

        Raises:
            InvalidInputError: The id is malformed.
            StoreNotFoundError: ``run`` is given and there is no such dataset; or what stands in
                its place is no store.
            RefNotFoundError: There is no such run.
        """
        with self._mutex:
            if run is None and self._nothing_yet():
                parse_artifact_id(artifact_id)
                return None
            found = self._view.find(artifact_id, run)
            return None if found is None else found.record

    def _nothing_yet(self) -> bool:
        """Whether the dataset has not been begun, here or elsewhere."""
        return self._store is None and self._run is None and self.workspace.is_new(self.dataset)

    def get_notes(self, artifact_id: str, run: RunName | None = None) -> dict[str, str]:
        """What the runner noted about an artifact; empty when nothing.

        Raises:
            ArtifactNotFoundError: There is no such artifact.
        """
        with self._mutex:
            return dict(self._view.get(artifact_id, run).notes)

    def resolve_by_hash(self, content_hash: str) -> list[ArtifactRecord]:
        """Every artifact that has this content or once had it, sorted by id, each id once.

        Where an id has another content by now, its record is the one of the newest run in which
        it had this.

        Args:
            content_hash: A record's ``content_hash``, with or without ``blake3:``. Whole: the
                short form in names is for people, and two objects may share one.

        Raises:
            InvalidInputError: ``content_hash`` is no text.
            StoreNotFoundError: What stands in the dataset's place is no store.
        """
        if not isinstance(content_hash, str):
            raise InvalidInputError(
                f"a content hash is text, not {type(content_hash).__name__}",
                hint="the content_hash of a record",
            )
        wanted = HASH_PREFIX + content_hash.lower().removeprefix(HASH_PREFIX)
        with self._mutex:
            if self._nothing_yet():
                return []
            return self._view.records_of(wanted)

    def get_all_records(
        self, pipeline_id: str | None = None, run: RunName | None = None
    ) -> list[ArtifactRecord]:
        """All records, sorted by pipeline and in order of execution.

        Raises:
            StoreNotFoundError: There is no such dataset.
            ArtifactNotFoundError: There is no such pipeline.
        """
        with self._mutex:
            return self._view.records(pipeline_id, run)

    def get_artifacts_for_step(
        self,
        pipeline_id: str,
        step_index: int,
        branch_path: Iterable[SupportsIndex] | None = None,
        fold_id: int | None = None,
    ) -> list[ArtifactRecord]:
        """The records of one step, as one branch and fold see them.

        See :func:`~n4a_store.artifacts.selection.for_step` for what a branch sees.

        Raises:
            InvalidInputError: The step, the branch path or the fold is malformed.
            ArtifactNotFoundError: There is no such pipeline.
        """
        with self._mutex:
            pipelines = self._view.pipelines(check_pipeline_id(pipeline_id))
            paths = for_step(pipelines[0].paths(), step_index, branch_path, fold_id)
            return [pipelines[0].record(path.key) for path in paths]

    def get_fold_models(
        self,
        pipeline_id: str,
        step_index: int,
        branch_path: Iterable[SupportsIndex] | None = None,
        sub_index: int | None = None,
    ) -> list[ArtifactRecord]:
        """The records of a step's fold models, sorted by fold; of one branch and sub-step.

        Raises:
            AmbiguousNameError: Models of several branches or sub-steps fit; they are never mixed.
            InvalidInputError: The step, the sub-step or the branch path is malformed.
            ArtifactNotFoundError: There is no such pipeline.
        """
        with self._mutex:
            pipelines = self._view.pipelines(check_pipeline_id(pipeline_id))
            return fold_models(pipelines, step_index, branch_path, sub_index)

    # --- dependencies -------------------------------------------------------------------------

    def get_dependencies(self, artifact_id: str) -> Ids:
        """The ids that an artifact depends on directly, in the order given.

        Raises:
            ArtifactNotFoundError: There is no such artifact.
        """
        with self._mutex:
            return self._view.get(artifact_id).record.depends_on

    def get_dependents(self, artifact_id: str) -> Ids:
        """The ids of the artifacts that depend on this one directly, sorted as parsed.

        Raises:
            InvalidInputError: The id is malformed.
        """
        name = parse_artifact_id(artifact_id).artifact_id
        with self._mutex:
            return Ids(
                path.artifact_id
                for pipeline in self._view.pipelines()
                for path in pipeline.paths()
                if name in pipeline.deps(path.key)
            )

    def resolve_dependencies(self, artifact_id: str) -> list[ArtifactRecord]:
        """The records of all that an artifact depends on, dependencies before dependents.

        Raises:
            ArtifactNotFoundError: There is no such artifact.
        """
        with self._mutex:
            return self._view.dependencies(self._view.get(artifact_id))

    # --- loading ------------------------------------------------------------------------------

    def load_artifact(
        self, record: ArtifactRecord, *, mmap: bool = False, trust: bool = False
    ) -> Any:
        """The object of a record. Its bytes are checked before any of them is interpreted.

        Args:
            record: What to load; also one of an earlier version.
            mmap: Read-only arrays over the store's memory instead of writable copies.
            trust: Load it although it was imported from elsewhere.

        Raises:
            InvalidInputError: That is no record.
            CorruptionError: Stored bytes are missing or damaged; names the artifact.
            UntrustedError: It was imported, or nothing tells any more where it came from, and
                loading it may do harm; see ``trust``.
            SerializationError: Its library is not here or refuses it.
        """
        if not isinstance(record, ArtifactRecord):
            raise InvalidInputError(
                f"load_artifact wants a record, not {type(record).__name__}",
                hint="resolve(artifact_id) gives it; ArtifactLoader.load_by_id takes the id",
            )
        with self._mutex:
            reader, origin = whence(self._view, self.store, record)
            return load_record(reader, record, self.table, origin=origin, mmap=mmap, trust=trust)


def _reopened(
    kind: type[RegistryQueries], workspace: Workspace, dataset: str, table: SerializerTable | None
) -> RegistryQueries:
    return kind(workspace, dataset, table=table)

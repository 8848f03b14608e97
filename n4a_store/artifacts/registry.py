"""The registry: where a pipeline runner puts what it has fitted.

Registering serialises an object, stores it by content and names it by execution path. Inside a
run nothing is visible to others before its pipeline completes, and what is unfinished when the
run fails was never there. Outside a run each registration is a transaction of its own.

Asking never creates anything: a dataset that does not exist is a
:class:`~n4a_store.errors.StoreNotFoundError`. The first registration creates it. Names are
checked before any file is touched. One registry may be shared by threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, SupportsIndex

from n4a_store.artifacts.closures import copy_closure
from n4a_store.artifacts.draft import PipelineDraft
from n4a_store.artifacts.drafted import NewArtifact
from n4a_store.artifacts.execution_path import (
    check_branch_name,
    check_pipeline_id,
    generate_artifact_id,
    parse_artifact_id,
)
from n4a_store.artifacts.graph import ArtifactNode
from n4a_store.artifacts.incoming import artifact_ids, meta_model_config, prepare, with_sources
from n4a_store.artifacts.manifest_tree import ARTIFACTS, PIPELINES
from n4a_store.artifacts.queries import Found
from n4a_store.artifacts.registry_runs import RegistryRuns
from n4a_store.artifacts.registry_upkeep import RegistryStats
from n4a_store.artifacts.run_handle import RunHandle
from n4a_store.artifacts.runs import OpenRun
from n4a_store.artifacts.serializers.table import SerializerTable
from n4a_store.artifacts.types import (
    ArtifactRecord,
    ArtifactType,
    MetaModelConfig,
)
from n4a_store.artifacts.workspace import Workspace
from n4a_store.errors import (
    ArtifactNotFoundError,
    ConflictError,
    InvalidInputError,
    LockedError,
    ObjectNotFoundError,
    RefNotFoundError,
    StoreNotFoundError,
)
from n4a_store.objects.model import RunStatus
from n4a_store.settings import CommitEach

__all__ = ["ArtifactRegistry", "DependencyNotFoundError", "RegistryStats", "RunHandle"]

_ATTEMPTS = 50


class DependencyNotFoundError(ArtifactNotFoundError, InvalidInputError):
    """Something is registered as depending on an artifact that does not exist."""


class ArtifactRegistry(RegistryRuns):
    """The artifacts of one dataset.

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
        super().__init__(workspace, dataset, table=table)
        self._implicit_ids: set[str] = set()

    def close(self) -> None:
        """Close the store. An open run is ended as failed."""
        with self._mutex:
            try:
                self.cleanup_failed_run()
            finally:
                super().close()

    # --- registering --------------------------------------------------------------------------

    def generate_id(
        self,
        pipeline_id: str,
        branch_path: Iterable[SupportsIndex],
        step_index: SupportsIndex,
        fold_id: SupportsIndex | None = None,
        sub_index: SupportsIndex | None = None,
    ) -> str:
        """See :func:`~n4a_store.artifacts.execution_path.generate_artifact_id`."""
        return generate_artifact_id(pipeline_id, branch_path, step_index, fold_id, sub_index)

    def register(
        self,
        obj: Any,
        artifact_id: str,
        artifact_type: ArtifactType | str,
        depends_on: Iterable[str] | None = None,
        params: Mapping[str, Any] | None = None,
        meta_config: MetaModelConfig | Mapping[str, Any] | None = None,
        format_hint: str | None = None,
    ) -> ArtifactRecord:
        """Store an object under an execution path.

        Equal content is stored once. Registering an id again gives the next version.

        Args:
            obj: A fitted estimator, an array, or anything that a serializer handles.
            artifact_id: Where it was made; see :meth:`generate_id`.
            artifact_type: What it is for.
            depends_on: Ids of artifacts that it cannot be used without.
            params: What to record of its parameters; None asks the object.
            meta_config: Of a meta-model, sources and columns; the sources are dependencies too,
                and come before the others.
            format_hint: The serializer to use, by the name of its format.

        Raises:
            InvalidInputError: The id is malformed, the type unknown, a parameter has no
                canonical form, or the artifact would depend on itself.
            DependencyNotFoundError: A dependency does not exist.
            SerializationError: The object cannot be serialised; names the attribute.
        """
        deps = artifact_ids(depends_on, "depends_on")
        new = prepare(
            obj,
            artifact_id,
            artifact_type,
            params=params,
            meta_config=meta_config,
            format_hint=format_hint,
            table=self.table,
            threshold=self._settings().out_of_band_threshold,
        )
        if new.sources:
            deps = with_sources(deps, new.sources)
        name, pipeline_id = new.path.artifact_id, new.path.pipeline_id
        if name in deps:
            raise InvalidInputError(f"{name} cannot depend on itself: that is a cycle")
        with self._mutex:
            run = self._run
            if run is None:
                return self._register_alone(new, [self._dependency(name, dep) for dep in deps])
            open_draft = run.drafts.get(pipeline_id)
            # Most depend on what their own pipeline made before.
            found = [
                (open_draft and open_draft.own(dep)) or self._dependency(name, dep) for dep in deps
            ]
            draft = run.draft(pipeline_id)
            record = draft.add(
                new,
                [
                    dep if isinstance(dep, ArtifactNode) else self._adopted(draft, dep)
                    for dep in found
                ],
            )
            if run.commit_each is CommitEach.ARTIFACT:
                self._keep(run.complete(pipeline_id))
            return record

    def register_meta_model(
        self,
        obj: Any,
        artifact_id: str,
        source_model_ids: Iterable[str],
        feature_columns: Iterable[str] | None = None,
        params: Mapping[str, Any] | None = None,
        format_hint: str | None = None,
    ) -> ArtifactRecord:
        """Store a stacking meta-model with its sources, in the order of their columns.

        The sources' trees become part of the meta-model's own: it outlives their pipelines.

        Raises:
            InvalidInputError: As for :meth:`register`; or no sources, or one of them twice.
            DependencyNotFoundError: A source does not exist.
            SerializationError: The object cannot be serialised; names the attribute.
        """
        config = meta_model_config(source_model_ids, feature_columns)
        return self.register(
            obj,
            artifact_id,
            ArtifactType.META_MODEL,
            depends_on=config.source_ids,
            params=params,
            meta_config=config,
            format_hint=format_hint,
        )

    def name_branch(self, pipeline_id: str, branch_path: Iterable[int], name: str) -> None:
        """Give a branch of a pipeline of the open run a name, for people.

        Raises:
            InvalidInputError: No run is open, or the name or the path is malformed.
        """
        branch = generate_artifact_id(pipeline_id, branch_path, 0).split(":")[1:-2]
        text = check_branch_name(name)
        with self._mutex:
            draft = self._need_run("name_branch").draft(check_pipeline_id(pipeline_id))
            draft.branches[":".join(branch)] = text

    def annotate(self, artifact_id: str, notes: Mapping[str, str]) -> None:
        """Note what the runner calls an artifact of the open run's unfinished pipeline.

        Notes stand in the manifest, so they must be what an identical training notes again.

        Raises:
            InvalidInputError: No run is open, or a note is not text.
            ArtifactNotFoundError: The artifact is not in the open pipeline.
        """
        path = parse_artifact_id(artifact_id)
        if not isinstance(notes, Mapping) or not all(
            isinstance(text, str) for item in notes.items() for text in item
        ):
            raise InvalidInputError(f"{artifact_id}: notes are text by name, not {notes!r:.80}")
        with self._mutex:
            draft = self._need_run("annotate").drafts.get(path.pipeline_id)
            if draft is None:
                raise ArtifactNotFoundError(f"{artifact_id} is not in an open pipeline")
            draft.annotate(path.key, notes)

    _LOST_DEPENDENCY = "register what it depends on first, in this run or in one that completed"

    def _dependency(self, artifact_id: str, dep: str) -> Found:
        try:
            found = self._view.find(dep)
        except StoreNotFoundError:
            found = None
        if found is None:
            raise DependencyNotFoundError(
                f"{artifact_id} depends on {dep}, which does not exist", hint=self._LOST_DEPENDENCY
            )
        return found

    def _adopted(self, draft: PipelineDraft, dep: Found) -> ArtifactNode:
        """The dependency as a node whose objects the draft's transaction may name."""
        node = dep.node
        if dep.pipeline is draft:
            return node
        if isinstance(dep.pipeline, PipelineDraft):
            if dep.pipeline.txn is draft.txn:
                return node
            copy_closure(dep.pipeline.txn, draft.txn, node.tree)
            return node
        pipeline_id = dep.path.pipeline_id
        names = [ARTIFACTS, dep.path.key]
        try:
            if self._run is not None and self._run.completed.get(pipeline_id) == dep.pipeline.oid:
                found = draft.txn.adopt_path(self._run.ref, pipeline_id, *names)
            else:
                found = draft.txn.adopt_path(PIPELINES + pipeline_id, *names)
        except (RefNotFoundError, ObjectNotFoundError) as error:
            raise DependencyNotFoundError(
                f"{dep.path} was deleted while something was registered that depends on it"
            ) from error
        if found.oid != node.tree:
            # Completed again, by another process, since it was looked up: take what it is now.
            return self._adopted(draft, self._view.get(dep.path.artifact_id))
        return node

    def _register_alone(self, new: NewArtifact, deps: list[Found]) -> ArtifactRecord:
        """A transaction of one, in a run that nobody started."""
        name = new.path.artifact_id
        if self._implicit is None or name in self._implicit_ids:
            # The earlier version stays reachable through the run that made it.
            self._implicit = OpenRun(self._store_giver(), self.dataset, implicit=True)
            self._implicit_ids = set()
        run = self._implicit
        for attempt in range(_ATTEMPTS):
            draft = run.begin(new.path.pipeline_id)
            try:
                record = draft.add(new, [self._adopted(draft, dep) for dep in deps])
                made = run.commit([draft], RunStatus.COMPLETE)
            except LockedError:
                raise  # it has waited long enough already
            except ConflictError:
                # Another process has registered into this pipeline: start from what it left.
                if attempt == _ATTEMPTS - 1:
                    raise
                continue
            finally:
                draft.txn.abort()
            self._implicit_ids.add(name)
            self._keep(made)
            return record
        raise AssertionError("unreachable")

    def add_dependency(self, artifact_id: str, depends_on: str) -> ArtifactRecord:
        """Let an artifact of the open run's unfinished pipeline depend on one more.

        Raises:
            InvalidInputError: No run is open, or that would be a cycle or too long a chain.
            ArtifactNotFoundError: The artifact is not in the open pipeline.
            DependencyNotFoundError: What it would depend on does not exist.
        """
        path = parse_artifact_id(artifact_id)
        with self._mutex:
            run = self._need_run("add_dependency")
            dep = self._dependency(artifact_id, depends_on)
            draft = run.drafts.get(path.pipeline_id)
            if draft is None:
                raise ArtifactNotFoundError(
                    f"{artifact_id} is not in an open pipeline",
                    hint="dependencies are added before complete_pipeline; register it again",
                )
            return draft.add_dependency(path.key, self._adopted(draft, dep))

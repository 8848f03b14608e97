"""Looking after a registry's dataset: manifests in and out, statistics, cleaning up."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from n4a_store.artifacts.execution_path import check_pipeline_id
from n4a_store.artifacts.keyed import Keyed
from n4a_store.artifacts.manifest_files import forget_pipeline, forget_runs
from n4a_store.artifacts.registry_queries import RegistryQueries
from n4a_store.artifacts.rendition import manifest_document
from n4a_store.artifacts.run_handle import RunName, run_id_of
from n4a_store.artifacts.types import ArtifactRecord
from n4a_store.errors import InvalidInputError

if TYPE_CHECKING:
    from n4a_store.artifacts.cleanup import OrphanName

__all__ = ["RegistryStats", "RegistryUpkeep"]


@dataclass(frozen=True, slots=True)
class RegistryStats(Keyed):
    """What a dataset holds, counted.

    Args:
        artifacts: Names of artifacts in the newest manifests.
        pipelines: Pipelines.
        runs: Runs.
        references: Names of artifacts in all runs together.
        unique_artifacts: Different artifacts behind them.
        logical_bytes: What a file for each name would take, uncompressed.
        unique_bytes: What a file for each different artifact would take, uncompressed.
        stored_bytes: What the packs take.
        by_type: Different artifacts by type.
    """

    artifacts: int
    pipelines: int
    runs: int
    references: int
    unique_artifacts: int
    logical_bytes: int
    unique_bytes: int
    stored_bytes: int
    by_type: Mapping[str, int]

    @property
    def deduplication_ratio(self) -> float:
        """Logical bytes over unique bytes; 1 when nothing is shared."""
        return self.logical_bytes / self.unique_bytes if self.unique_bytes else 1.0

    def keys(self) -> tuple[str, ...]:
        """The names of the values."""
        return (*Keyed.keys(self), "deduplication_ratio")

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from n4a_store.objects.html import facts_html, size_text

        facts: list[tuple[str, object]] = [
            ("runs", self.runs),
            ("pipelines", self.pipelines),
            ("artifacts", self.artifacts),
            ("names in all runs", self.references),
            ("different artifacts", self.unique_artifacts),
            ("as files, one a name", size_text(self.logical_bytes)),
            ("as files, each once", size_text(self.unique_bytes)),
            ("stored", size_text(self.stored_bytes)),
            *self.by_type.items(),
        ]
        return facts_html("Artifacts", facts)


def _stated(run: RunName | None) -> str | None:
    return None if run is None else run_id_of(run)


class RegistryUpkeep(RegistryQueries):
    """The half of a registry that looks after what is there."""

    def get_stats(self) -> RegistryStats:
        """Count what the dataset holds.

        Raises:
            StoreNotFoundError: There is no such dataset.
            CorruptionError: A manifest or a record is damaged.
        """
        from n4a_store.artifacts.overview import artifact_stats

        with self._mutex:
            found = artifact_stats(self.store)
            pipelines = self._view.pipelines()
            return RegistryStats(
                artifacts=sum(len(pipeline.paths()) for pipeline in pipelines),
                pipelines=len(pipelines),
                runs=len(found.runs),
                references=found.total.references,
                unique_artifacts=found.unique,
                logical_bytes=found.total.logical_bytes,
                unique_bytes=found.total.unique_bytes,
                stored_bytes=found.store.stored_bytes,
                by_type={name: part.unique for name, part in found.by_type.items()},
            )

    # --- manifests ----------------------------------------------------------------------------

    def export_to_manifest(
        self, pipeline_id: str | None = None, run: RunName | None = None
    ) -> dict[str, Any]:
        """The manifest of a pipeline, or of all, as plain values of schema 2.0.

        Raises:
            StoreNotFoundError: There is no such dataset.
            ArtifactNotFoundError: There is no such pipeline.
        """
        with self._mutex:
            pipelines = self._view.pipelines(pipeline_id, run)
            records = [p.record(path.key) for p in pipelines for path in p.paths()]
            one = pipelines[0] if len(pipelines) == 1 else None
            return manifest_document(
                dataset=self.dataset,
                run_id=_stated(run) if one is None else one.run_id,
                pipeline_id=None if one is None else one.pipeline_id,
                created_at=None if one is None else one.created_at,
                manifest=None if one is None or one.oid is None else one.oid.hex,
                records=records,
                branches={} if one is None else one.branches,
            )

    def import_from_manifest(
        self,
        manifest: Mapping[str, Any] | str | os.PathLike[str],
        results_dir: str | os.PathLike[str] | None = None,
    ) -> list[ArtifactRecord]:
        """Name artifacts that this dataset's runs still hold as a manifest says.

        So a pipeline that was deleted comes back from its readable manifest, for as long as a
        run holds its content; and content gets further names. Outside of runs only.

        Args:
            manifest: A manifest of schema 2.0, read already, or the path of its file. One that
                names no dataset is taken for one of this.
            results_dir: Not needed; where the manifest was found.

        Returns:
            The records of what the manifest lists, in its order, as they are now.

        Raises:
            InvalidInputError: The manifest is malformed or a run is open.
            UnsupportedFormatError: It is of another schema.
            ArtifactNotFoundError: Nothing here has the content of an item; says which.
        """
        from n4a_store.artifacts.naming import name_again

        del results_dir  # content is found by hash, wherever the manifest stood
        with self._mutex:
            if self._run is not None:
                raise InvalidInputError(f"run {self._run.id} is open", hint="end_run() first")
            named = name_again(self.store, self.dataset, manifest)
            return [self._view.get(artifact_id).record for artifact_id in named]

    # --- cleaning up --------------------------------------------------------------------------

    def find_orphaned_artifacts(self) -> list[OrphanName]:
        """The names of the artifacts that no ref reaches, the largest first.

        A name's ``undoable`` says whether the reflog can still bring it back.

        Raises:
            CorruptionError: A root cannot be read: then nothing is known to be an orphan.
        """
        from n4a_store.artifacts.cleanup import orphan_names

        return orphan_names(self.store)

    def delete_orphaned_artifacts(
        self, dry_run: bool = True, expire: str | None = None
    ) -> tuple[list[str], int]:
        """Delete what no ref reaches and undo can no longer bring back.

        Args:
            dry_run: Only tell.
            expire: ``"now"`` deletes what undo could bring back as well.

        Returns:
            The names of the artifacts and the bytes in packs.

        Raises:
            LockedError: Another gc is running.
            CorruptionError: A root cannot be read; nothing was deleted.
        """
        from n4a_store.artifacts.cleanup import delete_orphans

        return delete_orphans(self.store, dry_run=dry_run, expire=expire)

    def delete_pipeline_artifacts(self, pipeline_id: str, expire: str | None = None) -> int:
        """Take a pipeline away, out of every run that holds it, in one commit.

        What other pipelines share or depend on stays. Undo brings it back until the undo window
        has passed.

        Args:
            pipeline_id: Which.
            expire: ``"now"`` gives up the undo window of the whole dataset and frees the space at
                once.

        Returns:
            The number of its artifacts.

        Raises:
            ArtifactNotFoundError: There is no such pipeline.
            InvalidInputError: The open run is training it, or ``expire`` is not known.
            CorruptionError: It, or a run that may hold it, cannot be read; or, with
                ``expire="now"``, any root. Nothing changed.
        """
        from n4a_store.artifacts.cleanup import check_expire, delete_orphans, delete_pipeline

        name = check_pipeline_id(pipeline_id)
        now = check_expire(expire)
        with self._mutex:
            if self._run is not None and self._run.open_draft(name) is not None:
                raise InvalidInputError(
                    f"run {self._run.id} is training pipeline {name}",
                    hint="complete_pipeline() or discard_pipeline() first, or checkpoint()",
                )
            deleted = delete_pipeline(self.store, name, collects=now)
            forget_pipeline(self.workspace.layout, self.dataset, name)
            if self._run is not None:
                self._run.completed.pop(name, None)
            if now:
                delete_orphans(self.store, dry_run=False, expire=expire)
            return deleted

    def purge_dataset_artifacts(
        self, confirm: bool = False, expire: str | None = None
    ) -> tuple[int, int]:
        """Take all runs, pipelines and tags of this dataset away. Other datasets stay untouched.

        Args:
            confirm: Must be True.
            expire: ``"now"`` gives up the undo window and frees the space at once.

        Returns:
            The number of artifacts and their bytes in packs.

        Raises:
            InvalidInputError: ``confirm`` is not True, or a run is open.
            CorruptionError: A root cannot be read; nothing changed.
        """
        from n4a_store.artifacts.cleanup import purge

        if confirm is not True:
            raise InvalidInputError(
                f"this takes away all artifacts of dataset {self.dataset!r}",
                hint="purge_dataset_artifacts(confirm=True)",
            )
        with self._mutex:
            if self._run is not None:
                raise InvalidInputError(f"run {self._run.id} is open", hint="end_run() first")
            self._implicit = None
            purged = purge(self.store, expire=expire)
            forget_runs(self.workspace.layout, self.dataset)
            return purged

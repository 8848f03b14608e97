"""A registry's runs: their beginning, the pipelines they complete, their end."""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from n4a_store.artifacts.execution_path import check_pipeline_id
from n4a_store.artifacts.manifest_files import write_rendition
from n4a_store.artifacts.registry_upkeep import RegistryUpkeep
from n4a_store.artifacts.run_handle import RunHandle
from n4a_store.artifacts.runs import Committed, OpenRun
from n4a_store.errors import BackendError, InvalidInputError
from n4a_store.objects.model import RunStatus
from n4a_store.repo.commit import check_message
from n4a_store.repo.store import Store
from n4a_store.settings import CommitEach, Settings
from n4a_store.storage.layout import StoreLayout

if TYPE_CHECKING:
    from n4a_store.artifacts.registry import ArtifactRegistry

__all__ = ["RegistryRuns"]

log = logging.getLogger(__name__)


class RegistryRuns(RegistryUpkeep):
    """The part of a registry that begins and ends runs."""

    def _created_store(self) -> Store:
        with self._mutex:
            if self._store is None:
                self._store = self.workspace.create(self.dataset)
            return self._store

    def _store_giver(self) -> Callable[[], Store]:
        """Gives that to a run, which this holds, without being held by it."""
        me = weakref.ref(self)
        return lambda: me()._created_store()  # type: ignore[union-attr]

    @contextmanager
    def run(
        self,
        message: str = "",
        details: Mapping[str, Any] | None = None,
        commit_each: CommitEach | str | None = None,
    ) -> Iterator[RunHandle]:
        """A run: what it completes is kept, what is unfinished when it fails never was.

        When the block ends, the remaining pipelines complete and the run is complete; when it
        raises, they are dropped and the run has failed.

        Args:
            message: Free text for the run object.
            details: Values for the run object, kept by the rule for parameters.
            commit_each: What it commits at a time: each ``"artifact"``, each ``"pipeline"`` or
                the ``"run"`` as a whole; None as the settings say.

        Raises:
            InvalidInputError: As :meth:`start_run`.
        """
        handle = self.start_run(message, details, commit_each)
        try:
            yield handle
        except BaseException as error:
            if handle.is_open:
                self._fail_run(error)
            raise
        if handle.is_open:
            self.end_run()

    def start_run(
        self,
        message: str = "",
        details: Mapping[str, Any] | None = None,
        commit_each: CommitEach | str | None = None,
    ) -> RunHandle:
        """Begin a run; the first of the three moments of :meth:`run`.

        Raises:
            InvalidInputError: A run is open already, the message is no text, the details are no
                map or hold what has no canonical form, or ``commit_each`` is not known.
            BackendError: This user may not write here, so that nothing of the run could be kept.
        """
        check_message(message)
        if not isinstance(details, Mapping | None):
            raise InvalidInputError(f"the details of a run are a map, not {details!r:.80}")
        self._refuse_unwritable()
        with self._mutex:
            if self._run is not None and self._run.is_open:  # not in a child that was forked in it
                raise InvalidInputError(
                    f"run {self._run.id} is open already",
                    hint="end_run() or cleanup_failed_run() first",
                )
            self._run = OpenRun(
                self._store_giver(),
                self.dataset,
                message=message,
                details=details,
                commit_each=self._commit_each(commit_each),
            )
            self._implicit = None
            return RunHandle(self._whole(), self._run)

    def _refuse_unwritable(self) -> None:
        """Say that nothing can be kept before anything is fitted, which may take hours."""
        place = self.workspace.layout.store(self.dataset)
        for folder in (place, *StoreLayout(place).folders()):
            there = next((at for at in (folder, *folder.parents) if at.exists()), folder)
            if not os.access(there, os.W_OK | os.X_OK):
                raise BackendError(
                    f"{there} may not be written to, so no run can be kept in {place}",
                    hint="check the permissions of the folder, or choose another workspace",
                )

    @property
    def open_run(self) -> RunHandle | None:
        """The run that is open, or None."""
        return None if self._run is None else RunHandle(self._whole(), self._run)

    def complete_pipeline(self, pipeline_id: str) -> None:
        """Make a pipeline of the open run durable and visible, in one commit.

        In a run that commits only once, it is kept from here on, and durable and visible when
        the run ends, well or not, or at a :meth:`checkpoint`.

        Raises:
            InvalidInputError: No run is open, or nothing was registered for the pipeline.
            ConflictError: What it relies on was taken away; the pipeline is dropped.
        """
        name = check_pipeline_id(pipeline_id)
        with self._mutex:
            self._keep(self._need_run("complete_pipeline").complete(name))

    def checkpoint(self) -> None:
        """Commit the complete pipelines of an open run that commits only at its end.

        Raises:
            InvalidInputError: No run is open.
            ConflictError: What they rely on was taken away; they are dropped.
        """
        with self._mutex:
            self._keep(self._need_run("checkpoint").checkpoint())

    def _keep(self, made: list[Committed]) -> None:
        """Remember what was committed, so that nothing reads it back, and write it for people."""
        for done in made:
            self._view.remember(done.manifest)
            write_rendition(self.workspace.layout, self.dataset, done.manifest, done.records)

    def discard_pipeline(self, pipeline_id: str) -> int:
        """Drop a pipeline of the open run that is not complete; the run goes on.

        Returns:
            The number of artifacts dropped; 0 when nothing unfinished has this id.

        Raises:
            InvalidInputError: No run is open.
        """
        name = check_pipeline_id(pipeline_id)
        with self._mutex:
            return self._need_run("discard_pipeline").drop_draft(name)

    def end_run(self) -> None:
        """End the open run as complete, its remaining pipelines included.

        Raises:
            InvalidInputError: No run is open.
        """
        with self._mutex:
            run = self._need_run("end_run")
            try:
                for made in run.complete_all():
                    self._keep(made)
            except BaseException as error:
                self._fail_run(error)
                raise
            self._run = None
            self._keep(run.end(RunStatus.COMPLETE))

    def cleanup_failed_run(self, completed: bool = False) -> int:
        """End the open run as failed, and drop what is unfinished.

        Args:
            completed: Drop the completed pipelines of the run as well.

        Returns:
            The number of artifacts dropped; 0 when no run is open.

        Raises:
            BackendError: The disk refused. The run has ended all the same, and what it had not
                completed is dropped.
        """
        with self._mutex:
            run, self._run = self._run, None
            if run is None or not run.is_open:
                return 0  # in a forked child the run is the parent's
            try:
                dropped = run.drop_drafts()
                if completed:
                    dropped += run.drop_waiting()
                    from n4a_store.artifacts.cleanup import drop_completed

                    dropped += drop_completed(run)
                self._keep(run.end(RunStatus.FAILED))
            finally:
                run.release()
            return dropped

    def _fail_run(self, error: BaseException) -> None:
        """End the open run as failed because of ``error``, which whoever began it is to see."""
        try:
            self.cleanup_failed_run()
        except Exception as failed:  # noqa: BLE001 - whatever it is, it comes second
            log.warning("a failed run could not be cleaned up: %s", failed)
            error.add_note(f"cleaning up after it failed too: {failed}")

    def _need_run(self, what: str) -> OpenRun:
        if self._run is None:
            raise InvalidInputError(
                f"{what}: no run is open", hint="with registry.run(): …, or start_run()"
            )
        return self._run

    def _whole(self) -> ArtifactRegistry:
        return cast("ArtifactRegistry", self)  # what registers is in the class above this one

    def _settings(self) -> Settings:
        with self._mutex:
            store = self._store
        return self.workspace.settings_of(self.dataset) if store is None else store.settings

    def _commit_each(self, wanted: CommitEach | str | None) -> CommitEach:
        if wanted is None:
            return self._settings().commit_each
        try:
            return CommitEach(wanted)
        except ValueError:
            raise InvalidInputError(
                f"commit_each is not {wanted!r:.80}", hint=f"one of {', '.join(CommitEach)}"
            ) from None

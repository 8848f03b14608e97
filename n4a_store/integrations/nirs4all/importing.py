"""Taking over a finished workspace of nirs4all, trained by any of its engines.

Each run there becomes a run here for each of its datasets, each pipeline a pipeline of the same
id. A file is verified against the hash that its row declares and kept as the bytes it is, with
its origin: nothing is unpickled, and loading it later asks for trust. The catalog itself and
what else a prediction may need (arrays, native results) are kept beside the runs, so that the
workspace can be written out again. The source is only read. What cannot be taken is reported,
row by row; what was taken before is not taken twice.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from n4a_store.artifacts.drafted import NewArtifact
from n4a_store.artifacts.environment import PRODUCER
from n4a_store.artifacts.execution_path import BranchPath, ExecutionPath
from n4a_store.artifacts.record_blob import RecordBlob
from n4a_store.artifacts.runs import OpenRun
from n4a_store.artifacts.serializers.base import Payload
from n4a_store.artifacts.types import register_artifact_type
from n4a_store.artifacts.workspace import Workspace
from n4a_store.errors import StoreError
from n4a_store.integrations.nirs4all.addresses import is_address
from n4a_store.integrations.nirs4all.beside import files_beside
from n4a_store.integrations.nirs4all.catalog import (
    CATALOG,
    ArtifactRow,
    Catalog,
    ChainRow,
    PipelineRow,
    read_catalog,
)
from n4a_store.integrations.nirs4all.chains import ID, component
from n4a_store.integrations.nirs4all.places import Placed, places
from n4a_store.objects.model import RunStatus
from n4a_store.repo.store import Store
from n4a_store.settings import CommitEach

__all__ = ["FILE", "KEPT", "RUN", "WorkspaceImport", "import_workspace"]

log = logging.getLogger(__name__)

KEPT = "nirs4all-workspace"
RUN, FILE = "nirs4all.run", "nirs4all.file"
_FILE_FORMAT = "file"


@dataclass(slots=True)
class WorkspaceImport:
    """What an import did.

    Args:
        runs: The runs that were made here.
        artifacts: How many names of artifacts were taken.
        size: Bytes of their files.
        missing: Ids whose row has no file any more.
        damaged: What is not what its row declares, and what could not be taken, with reasons.
        running: Pipelines that were still being trained, or whose process died.
        kept: Rows whose artifact is in a store already and needs no taking.
        before: Runs that an earlier import took.
        unnamed: Ids of rows that belong to no pipeline of the catalog; they were left.
    """

    runs: list[str] = field(default_factory=list)
    artifacts: int = 0
    size: int = 0
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    kept: int = 0
    before: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)


def import_workspace(
    source: str | os.PathLike[str],
    workspace: str | os.PathLike[str] | Workspace,
    *,
    datasets: Iterable[str] | None = None,
    trusted: bool = False,
    unfinished: bool = False,
) -> WorkspaceImport:
    """Take over what a nirs4all workspace holds.

    Args:
        source: The folder that was nirs4all's ``workspace_path``.
        workspace: Where to; may be the same folder.
        datasets: Only these; None for all.
        trusted: Load what is taken like what was trained here, without asking for trust.
        unfinished: Take runs that never ended as well: their process may have died.

    Raises:
        StoreNotFoundError: There is no such workspace.
        CorruptionError: Its catalog is damaged.
        UnsupportedFormatError: Its catalog is of another schema.
        LockedError: Another process keeps its catalog locked.
        BackendError: It cannot be read, or the target not be written.
    """
    catalog = read_catalog(source)
    wanted = None if datasets is None else {component(name) for name in datasets}
    origin = "" if trusted else f"nirs4all {catalog.root.name}"
    work = _Import(catalog, Workspace(workspace), origin, unfinished=unfinished)
    work.done.unnamed.extend(_unnamed(catalog))
    for dataset, pipelines in _by_dataset(catalog).items():
        if wanted is None or dataset in wanted:
            work.dataset(dataset, pipelines)
    return work.done


def _by_dataset(catalog: Catalog) -> dict[str, dict[str, list[PipelineRow]]]:
    """Pipelines by dataset and run."""
    found: dict[str, dict[str, list[PipelineRow]]] = {}
    for row in catalog.pipelines:
        found.setdefault(component(row.dataset), {}).setdefault(row.run_id, []).append(row)
    return found


def _unnamed(catalog: Catalog) -> Iterator[str]:
    pipelines = {row.pipeline_id for row in catalog.pipelines}
    named = {
        name
        for chain in catalog.chains
        for name in (*chain.folds.values(), *itertools.chain(*chain.shared.values()))
    }
    for name in catalog.artifacts:
        if name not in named and name.partition("$")[0] not in pipelines:
            yield name


class _Import:
    def __init__(
        self, catalog: Catalog, target: Workspace, origin: str, *, unfinished: bool
    ) -> None:
        self.catalog = catalog
        self.unfinished = unfinished
        self.target = target
        self.origin = origin
        self.done = WorkspaceImport()
        self.chains: dict[str, list[ChainRow]] = {}
        for chain in catalog.chains:
            self.chains.setdefault(chain.pipeline_id, []).append(chain)
        self.artifacts: dict[str, list[str]] = {}
        for name in catalog.artifacts:
            pipeline_id, is_own, _ = name.partition("$")
            if is_own:
                self.artifacts.setdefault(pipeline_id, []).append(name)

    def dataset(self, dataset: str, runs: dict[str, list[PipelineRow]]) -> None:
        """Take one dataset; its store is created when the first run is taken."""
        known = self._taken_before(dataset)
        self.done.before.extend(run_id for run_id in runs if run_id in known)
        new = []
        for run_id, pipelines in runs.items():
            running = [row.pipeline_id for row in pipelines if row.is_running]
            if run_id in known:
                continue
            if running and not self.unfinished:
                self.done.running.extend(running)
            else:
                new.append(pipelines)
        for place, pipelines in enumerate(new, start=1):
            self._run(dataset, pipelines, is_last=place == len(new))

    def _taken_before(self, dataset: str) -> set[str]:
        if dataset not in _datasets(self.target):
            return set()
        with self.target.store(dataset) as store:
            return {run for run in _imported_runs(store) if run}

    def _run(self, dataset: str, pipelines: list[PipelineRow], *, is_last: bool) -> None:
        first = pipelines[0]
        run = OpenRun(
            lambda: self.target.create(dataset),
            dataset,
            message=f"imported from nirs4all: {first.run_name or first.run_id}",
            details={
                RUN: first.run_id,
                "dataset": first.dataset,
                "status": first.run_status,
                "pipelines": {row.pipeline_id: row.name for row in pipelines},
            },
            commit_each=CommitEach.RUN,  # of thousands of pipelines: one pack, and one commit
            created_at=_iso(first.run_created),
        )
        try:
            for row in pipelines:
                self._pipeline(run, row)
            if is_last:
                self._beside(run)
            for pipeline_id in list(run.drafts):
                run.complete(pipeline_id)
        except BaseException:
            run.drop_waiting()
            run.end(RunStatus.FAILED)
            raise
        if run.end(RunStatus.COMPLETE):
            self.done.runs.append(run.id)
            log.info("run %s: took nirs4all's run %s", run.id, first.run_id)
            run.store.close()

    def _pipeline(self, run: OpenRun, pipeline: PipelineRow) -> None:
        name = pipeline.pipeline_id
        for path, placed in places(name, self.chains.get(name, ()), self.artifacts.get(name, ())):
            row = self.catalog.artifacts.get(placed.artifact_id)
            if row is not None and is_address(row.path):
                self.done.kept += 1
                continue
            try:
                data = None if row is None else self.catalog.content(row)
                if row is None or data is None:
                    self.done.missing.append(placed.artifact_id)
                    continue
                new = self._new(row, path, placed, data)
            except StoreError as error:
                self.done.damaged.append(str(error))
                continue
            run.draft(path.pipeline_id).add(new, [])
            self.done.artifacts += 1
            self.done.size += len(data)

    def _new(
        self, row: ArtifactRow, path: ExecutionPath, placed: Placed, data: bytes
    ) -> NewArtifact:
        blob = RecordBlob(
            class_path=row.operator or "unknown",
            type=str(register_artifact_type(row.type)),
            format=row.format,
            library="",
            size=len(data),
            params={},
        )
        notes = {ID: row.artifact_id, FILE: row.path} | placed.notes
        return NewArtifact(path, Payload(data), blob, (), PRODUCER, self.origin, notes)

    def _beside(self, run: OpenRun) -> None:
        """Keep the catalog and the files that are not artifacts, as a pipeline of their own."""
        draft = run.draft(KEPT)
        kind = str(register_artifact_type("workspace_file"))
        for place, (name, data) in enumerate(self._files()):
            blob = RecordBlob("file", kind, _FILE_FORMAT, "", len(data), {})
            path = ExecutionPath(KEPT, BranchPath(), place)
            new = NewArtifact(path, Payload(data), blob, (), PRODUCER, self.origin, {FILE: name})
            draft.add(new, [])

    def _files(self) -> Iterator[tuple[str, bytes]]:
        yield CATALOG, self.catalog.copy
        for name, data in files_beside(self.catalog.root):
            if data is None:
                self.done.damaged.append(f"{name} is a link, or no file: it was not read")
            else:
                yield name, data


def _datasets(workspace: Workspace) -> list[str]:
    return workspace.datasets() if Path(workspace.path).is_dir() else []


def _imported_runs(store: Store) -> Iterator[str]:
    for ref in store.refs("refs/runs/"):
        run = store.get_run(ref.oid)
        if run.status is RunStatus.COMPLETE:
            yield str(run.details.get(RUN, ""))


def _iso(stamp: str) -> str | None:
    """SQLite's ``YYYY-MM-DD HH:MM:SS`` in UTC as run objects write it; None for another form."""
    try:
        moment = datetime.fromisoformat(stamp)
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        return None

"""nirs4all's registry, keeping every artifact in a store.

A subclass, because upstream reads a registry's indexes directly: the records, their order and
what is in memory are exactly upstream's, and only where the bytes go differs. Each dataset of a
run there is a run here. A pipeline is committed before the catalog's rows name its artifacts, so
that no row ever names what is not there; what upstream drops afterwards because another variant
scored better stays loadable.

In a worker process the registry is a worker of the same run: what it wrote is adopted when its
results come back. The registry with which upstream refits preprocessing inside one fold is
scratch: its objects make the same round trip through bytes, in memory.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import weakref
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nirs4all.pipeline.storage.artifacts.artifact_registry import ArtifactRegistry as Upstream
from nirs4all.pipeline.storage.artifacts.operator_chain import OperatorChain, compute_chain_hash
from nirs4all.pipeline.storage.artifacts.types import ArtifactRecord as UpstreamRecord
from nirs4all.pipeline.storage.artifacts.types import ArtifactType as UpstreamType
from nirs4all.pipeline.storage.artifacts.types import MetaModelConfig as UpstreamMeta

from n4a_store.artifacts.execution_path import ExecutionPath
from n4a_store.artifacts.registry import ArtifactRegistry
from n4a_store.artifacts.serializers.base import Payload
from n4a_store.artifacts.serializers.pickle5 import Pickle5Serializer
from n4a_store.artifacts.workers import WorkerRegistry, WorkerTicket, worker_ticket
from n4a_store.artifacts.workspace import Workspace
from n4a_store.errors import ArtifactNotFoundError
from n4a_store.integrations.nirs4all.addresses import Address, is_address
from n4a_store.integrations.nirs4all.chains import (
    chain_id,
    component,
    last_node,
    notes_of,
    parse_foreign_id,
    place,
)
from n4a_store.integrations.nirs4all.versions import running_version

__all__ = ["StoreRegistry", "commit_pipeline", "open_registries"]

log = logging.getLogger(__name__)

# The id under which upstream refits preprocessing within a fold, in a folder that it deletes.
_SCRATCH = "cv_preprocessing"
_FORMAT = "joblib"
_WHOLE = 2**62
_live: weakref.WeakSet[StoreRegistry] = weakref.WeakSet()


class StoreRegistry(Upstream):  # type: ignore[misc]  # upstream is not typed here
    """See the module. Built by upstream's own code, with upstream's arguments."""

    workspace: Path

    def __init__(self, workspace: Path, dataset: str, pipeline_id: str = "") -> None:
        super().__init__(workspace, dataset, pipeline_id)
        self._prepare()

    def _prepare(self, ticket: WorkerTicket | None = None) -> None:
        self._scratch: dict[str, Payload] | None = {} if self.pipeline_id == _SCRATCH else None
        self._places: dict[str, ExecutionPath] = {}
        self._keys: dict[str, set[str]] = {}
        self._unfinished: set[str] = set()
        self._alone = False
        self._ticket = ticket
        self._kept: ArtifactRegistry | None = None
        if self._scratch is None:
            _live.add(self)

    @property
    def kept(self) -> ArtifactRegistry:
        """The registry of the store, in a run when upstream has begun one."""
        if self._kept is None:
            if self._ticket is not None:
                self._kept = WorkerRegistry(self._ticket)
            else:
                name = component(self.dataset)
                self._kept = ArtifactRegistry(self.workspace.absolute(), name)
        return self._kept

    # --- between processes --------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        ticket = self._ticket
        if ticket is None and self._kept is not None and self._kept.open_run is not None:
            ticket = worker_ticket(self._kept)
        own = ("_scratch", "_places", "_keys", "_unfinished", "_alone", "_kept", "_ticket")
        state = {name: value for name, value in self.__dict__.items() if name not in own}
        return state | {"_ticket": ticket}

    def __setstate__(self, state: dict[str, Any]) -> None:
        from n4a_store.integrations.nirs4all import install

        self.__dict__.update(state)
        if "_ticket" not in state:
            # Workers are used again: an upstream registry, pickled where the integration is not
            # installed, is looked up by its name in a worker where it still is.
            self.__class__ = Upstream
            return
        self._prepare(state["_ticket"])
        install()

    # --- the moments of a run -----------------------------------------------------------------

    def start_run(self) -> None:
        """As upstream, and begin a run in the store."""
        super().start_run()
        if self._scratch is None and self.kept.open_run is None:
            self._begin()

    def _begin(self) -> None:
        details = {"runner": f"nirs4all=={running_version()}", "dataset": self.dataset}
        self.kept.start_run(details=details)
        self._alone = False

    def end_run(self) -> None:
        """As upstream, and complete the run in the store."""
        super().end_run()
        self._unfinished.clear()
        if self._kept is not None and self._kept.open_run is not None:
            self._kept.end_run()
        self.close()

    def commit(self, pipeline_id: str) -> None:
        """Commit what the open run holds of a pipeline and is not committed."""
        if pipeline_id in self._unfinished:
            self.kept.complete_pipeline(pipeline_id)
            self._unfinished.discard(pipeline_id)

    def cleanup_failed_run(self) -> int:
        """As upstream; what no catalog row names goes, what one names stays."""
        count = int(super().cleanup_failed_run())
        self._unfinished.clear()
        if self._kept is not None:
            self._kept.cleanup_failed_run()
        self.close()
        return count

    def get_all_records(self) -> list[UpstreamRecord]:
        """As upstream. A worker commits here: asking for the records is the last it does."""
        records = super().get_all_records()
        if not isinstance(self._kept, WorkerRegistry):
            return list(records)
        made = {handed.pipeline_id: handed.manifest for handed in self._kept.hand_over()}
        return [_handed_over(record, made) for record in records]

    # --- registering --------------------------------------------------------------------------

    def register_with_chain(  # noqa: PLR0913, PLR0917 - upstream's signature
        self,
        obj: Any,
        chain: OperatorChain | str,
        artifact_type: UpstreamType,
        step_index: int,
        branch_path: list[int] | None = None,
        source_index: int | None = None,
        fold_id: int | None = None,
        substep_index: int | None = None,
        depends_on: list[str] | None = None,
        params: dict[str, Any] | None = None,
        meta_config: UpstreamMeta | None = None,
        format_hint: str | None = None,
        custom_name: str | None = None,
        pipeline_id: str | None = None,
        input_data_hash: str | None = None,
    ) -> UpstreamRecord:
        """As upstream's, through :meth:`register`."""
        path = chain if isinstance(chain, str) else chain.to_path()
        artifact_id = chain_id(pipeline_id or self.pipeline_id, path, fold_id)
        record = self.register(
            obj,
            artifact_id,
            artifact_type,
            depends_on=depends_on,
            params=params,
            meta_config=meta_config,
            format_hint=format_hint,
            custom_name=custom_name,
            chain_path=path,
            source_index=source_index,
        )
        record.step_index, record.branch_path = step_index, branch_path or []
        record.substep_index = substep_index
        if input_data_hash:
            self._by_chain_and_data[compute_chain_hash(path), input_data_hash] = artifact_id
        return record

    def register(  # noqa: PLR0913, PLR0917 - upstream's signature
        self,
        obj: Any,
        artifact_id: str,
        artifact_type: UpstreamType,
        depends_on: list[str] | None = None,
        params: dict[str, Any] | None = None,
        meta_config: UpstreamMeta | None = None,
        format_hint: str | None = None,  # noqa: ARG002 - the store's table chooses by object
        custom_name: str | None = None,
        chain_path: str = "",
        source_index: int | None = None,
    ) -> UpstreamRecord:
        """Keep an object in the store; the record is upstream's.

        Raises:
            ValueError: A meta-model's source has not been registered.
            SerializationError: The object cannot be serialised; names the attribute.
        """
        deps = list(depends_on or [])
        if artifact_type == UpstreamType.META_MODEL:
            self._validate_meta_model_dependencies(artifact_id, deps, meta_config)
        record = self._described(artifact_id, chain_path, obj)
        record.artifact_type = artifact_type
        record.depends_on, record.params = deps, params or {}
        record.meta_config, record.custom_name = meta_config, custom_name or ""
        record.source_index = source_index
        if self._scratch is None:
            self._keep(obj, record)
        else:
            payload = Pickle5Serializer().dumps(obj, threshold=_WHOLE)
            record.path = f"{_SCRATCH}/{artifact_id}"
            record.size_bytes = payload.size
            self._scratch[record.path] = payload
        self._remember(record)
        return record

    def _described(self, artifact_id: str, chain: str, obj: Any) -> UpstreamRecord:
        node = last_node(chain) if chain else None
        foreign = parse_foreign_id(artifact_id) if "$" in artifact_id else None
        pipeline = self.pipeline_id or artifact_id.partition(":")[0]
        return UpstreamRecord(
            artifact_id=artifact_id,
            content_hash="",
            path="",
            chain_path=chain,
            pipeline_id=pipeline if foreign is None else foreign.pipeline,
            branch_path=[] if node is None else list(node.branch_path),
            step_index=0 if node is None else node.step,
            substep_index=None if node is None else node.sub,
            fold_id=None if foreign is None else foreign.fold,
            class_name=type(obj).__name__,
            format=_FORMAT,
            nirs4all_version=running_version(),
            created_at=datetime.now(UTC).isoformat(),
        )

    def _keep(self, obj: Any, record: UpstreamRecord) -> None:
        if self.kept.open_run is None:
            # Nobody began a run: as upstream's files, what is registered is kept at once.
            self._begin()
            self._alone = True
            weakref.finalize(self, self.kept.close)
        path = self._place(record.artifact_id, record.chain_path)
        made = self.kept.register(
            obj,
            path.artifact_id,
            str(record.artifact_type),
            depends_on=[self._ours(dep) for dep in record.depends_on],
            params=record.params or None,
            meta_config=self._meta(record.meta_config),
        )
        notes = notes_of(record.artifact_id, record.chain_path, path, record.custom_name)
        self.kept.annotate(path.artifact_id, notes)
        self._unfinished.add(path.pipeline_id)
        if self._alone:
            self.commit(path.pipeline_id)
        record.content_hash, record.size_bytes = made.content_hash, made.size_bytes
        record.format_version = made.format_version
        record.path = str(Address(self.kept.dataset, path.pipeline_id, path.key))

    def _place(self, artifact_id: str, chain: str) -> ExecutionPath:
        known = self._places.get(artifact_id)
        if known is not None:
            return known
        pipeline = artifact_id.partition("$" if "$" in artifact_id else ":")[0]
        taken = self._keys.setdefault(pipeline, set())
        path = place(artifact_id, chain, taken)
        taken.add(path.key)
        self._places[artifact_id] = path
        return path

    def _ours(self, artifact_id: str) -> str:
        known = self._places.get(artifact_id)
        if known is not None:
            return known.artifact_id
        record = self._artifacts.get(artifact_id)
        if record is not None and is_address(record.path):
            return Address.parse(record.path).artifact_id
        raise ArtifactNotFoundError(
            f"{artifact_id} was not registered here",
            hint="register what an artifact depends on first",
        )

    def _meta(self, config: UpstreamMeta | None) -> Mapping[str, Any] | None:
        if config is None:
            return None
        sources = [
            {"artifact_id": self._ours(source["artifact_id"]), "feature_index": place}
            for place, source in enumerate(config.source_models)
            if source.get("artifact_id")
        ]
        return {"source_models": sources, "feature_columns": list(config.feature_columns)}

    def _remember(self, record: UpstreamRecord) -> None:
        artifact_id = record.artifact_id
        self._artifacts[artifact_id] = record
        if record.content_hash:
            self._by_content_hash[record.content_hash] = artifact_id
        self._by_path[record.path] = artifact_id
        if record.chain_path:
            self._by_chain_path[record.chain_path] = artifact_id
        if record.depends_on:
            self.dependency_graph.add_dependencies(artifact_id, record.depends_on)
        self._current_run_artifacts.append(artifact_id)
        if self._deferred_mode:
            self._deferred_artifact_ids.append(artifact_id)

    # --- loading ------------------------------------------------------------------------------

    def load_artifact(self, record: UpstreamRecord) -> Any:
        """The object of a record, a new one each time.

        Raises:
            CorruptionError: Stored bytes are missing or damaged.
        """
        if self._scratch is not None and record.path in self._scratch:
            return Pickle5Serializer().loads(self._scratch[record.path].skeleton, [])
        if not is_address(record.path):
            return super().load_artifact(record)
        ours = self.kept.resolve(Address.parse(record.path).artifact_id)
        if ours is None:
            raise ArtifactNotFoundError(f"{record.artifact_id} is no longer in {self.kept}")
        return self.kept.load_artifact(ours)

    # --- what upstream looks for before it deletes --------------------------------------------

    def _scan_all_manifest_references(
        self, include_memory: bool = True, include_store: bool = True
    ) -> set[str]:
        # Upstream parses every manifest.yaml below the workspace. The store's own renditions
        # name no file of upstream's, and there is one for each pipeline ever trained.
        was = self.workspace
        self.workspace = _WithoutRenditions(was)
        try:
            return set(super()._scan_all_manifest_references(include_memory, include_store))
        finally:
            self.workspace = was

    def close(self) -> None:
        """Close the store, which opens again when it is needed; an open run has failed."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()


class _WithoutRenditions(type(Path())):  # type: ignore[misc]  # the platform's own kind of path
    """A workspace whose search finds no manifest that a store has written."""

    def rglob(self, pattern: str) -> Iterator[Path]:
        """As a path's, without the renditions of datasets that have a store."""
        workspace = Workspace(self)
        ours = [workspace.layout.runs / name for name in workspace.datasets()]
        for path in Path(self).rglob(pattern):
            if not any(path.is_relative_to(folder) for folder in ours):
                yield path


def _handed_over(record: UpstreamRecord, made: Mapping[str, Any]) -> UpstreamRecord:
    address = Address.parse(record.path)
    handed = dataclasses.replace(address, handover=made[address.pipeline_id])
    return dataclasses.replace(record, path=str(handed))


def open_registries(workspace: str | os.PathLike[str]) -> list[StoreRegistry]:
    """The registries of this process with an open run in a workspace."""
    where = Path(workspace).absolute()
    return [
        registry
        for registry in list(_live)
        if registry._kept is not None
        and registry._kept.open_run is not None
        and registry._kept.workspace.path == where
    ]


def commit_pipeline(workspace: str | os.PathLike[str], address: Address) -> None:
    """Commit what an open run holds of a pipeline, before a row names it."""
    for registry in open_registries(workspace):
        if registry.kept.dataset == address.dataset:
            registry.commit(address.pipeline_id)

"""A content-addressed store for the fitted artifacts of machine-learning pipelines.

The public names, and nothing else. Importing this package is cheap: each name is loaded when it
is first used, so that a program which only reads refs never pays for numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from n4a_store.artifacts.cache import CacheInfo
    from n4a_store.artifacts.execution_path import (
        ExecutionPath,
        generate_artifact_id,
        parse_artifact_id,
    )
    from n4a_store.artifacts.loader import ArtifactLoader
    from n4a_store.artifacts.registry import ArtifactRegistry, DependencyNotFoundError, RunHandle
    from n4a_store.artifacts.registry_upkeep import RegistryStats
    from n4a_store.artifacts.serializers.base import BufferView, Payload, Serializer
    from n4a_store.artifacts.serializers.table import SerializerTable
    from n4a_store.artifacts.types import (
        ArtifactRecord,
        ArtifactType,
        MetaModelConfig,
        SourceModelRef,
        artifact_types,
        register_artifact_type,
    )
    from n4a_store.artifacts.workers import Handover, WorkerRegistry, WorkerTicket
    from n4a_store.artifacts.workspace import Workspace
    from n4a_store.errors import (
        AmbiguousNameError,
        ArtifactNotFoundError,
        BackendError,
        ConflictError,
        CorruptionError,
        InvalidInputError,
        InvalidNameError,
        LockedError,
        NotFoundError,
        ObjectNotFoundError,
        RefNotFoundError,
        SerializationError,
        StoreError,
        StoreNotFoundError,
        TransactionClosedError,
        UnsupportedFormatError,
        UntrustedError,
    )
    from n4a_store.objects.model import Blob, Run, RunStatus, Tree, TreeEntry
    from n4a_store.objects.oid import Kind, ObjectId
    from n4a_store.pipeline.context import DataSelector, RuntimeContext
    from n4a_store.pipeline.controllers.base import Controller
    from n4a_store.pipeline.controllers.branch import BranchController
    from n4a_store.pipeline.controllers.model import ModelController
    from n4a_store.pipeline.controllers.splitter import SplitterController
    from n4a_store.pipeline.controllers.stacking import StackingController
    from n4a_store.pipeline.controllers.transform import TransformController
    from n4a_store.pipeline.controllers.y_processing import YProcessingController
    from n4a_store.pipeline.graph import VersionMismatchWarning
    from n4a_store.pipeline.orchestrator import PipelineStepError
    from n4a_store.pipeline.predictor import Predictor
    from n4a_store.pipeline.results import ModelScore, ResultRow, Results
    from n4a_store.pipeline.run_result import RunResult
    from n4a_store.pipeline.runner import PipelineRunner
    from n4a_store.pipeline.transfer import transfer_model
    from n4a_store.refs.refs import ANY, Ref, ReflogEntry
    from n4a_store.repo.store import ObjectInfo, Store
    from n4a_store.repo.transaction import CommitResult, Transaction
    from n4a_store.settings import CommitEach, Durability, Settings

__version__ = "0.1.0"

# Where each public name is defined; the imports above say the same to a type checker, and
# tests/test_public_names.py compares the two.
_HOMES = {
    "n4a_store.artifacts.cache": ("CacheInfo",),
    "n4a_store.artifacts.execution_path": (
        "ExecutionPath",
        "generate_artifact_id",
        "parse_artifact_id",
    ),
    "n4a_store.artifacts.loader": ("ArtifactLoader",),
    "n4a_store.artifacts.registry": ("ArtifactRegistry", "DependencyNotFoundError", "RunHandle"),
    "n4a_store.artifacts.registry_upkeep": ("RegistryStats",),
    "n4a_store.artifacts.serializers.base": ("BufferView", "Payload", "Serializer"),
    "n4a_store.artifacts.serializers.table": ("SerializerTable",),
    "n4a_store.artifacts.types": (
        "ArtifactRecord",
        "ArtifactType",
        "MetaModelConfig",
        "SourceModelRef",
        "artifact_types",
        "register_artifact_type",
    ),
    "n4a_store.artifacts.workers": ("Handover", "WorkerRegistry", "WorkerTicket"),
    "n4a_store.artifacts.workspace": ("Workspace",),
    "n4a_store.errors": (
        "AmbiguousNameError",
        "ArtifactNotFoundError",
        "BackendError",
        "ConflictError",
        "CorruptionError",
        "InvalidInputError",
        "InvalidNameError",
        "LockedError",
        "NotFoundError",
        "ObjectNotFoundError",
        "RefNotFoundError",
        "SerializationError",
        "StoreError",
        "StoreNotFoundError",
        "TransactionClosedError",
        "UnsupportedFormatError",
        "UntrustedError",
    ),
    "n4a_store.objects.model": ("Blob", "Run", "RunStatus", "Tree", "TreeEntry"),
    "n4a_store.objects.oid": ("Kind", "ObjectId"),
    "n4a_store.pipeline.context": ("DataSelector", "RuntimeContext"),
    "n4a_store.pipeline.controllers.base": ("Controller",),
    "n4a_store.pipeline.controllers.branch": ("BranchController",),
    "n4a_store.pipeline.controllers.model": ("ModelController",),
    "n4a_store.pipeline.controllers.splitter": ("SplitterController",),
    "n4a_store.pipeline.controllers.stacking": ("StackingController",),
    "n4a_store.pipeline.controllers.transform": ("TransformController",),
    "n4a_store.pipeline.controllers.y_processing": ("YProcessingController",),
    "n4a_store.pipeline.graph": ("VersionMismatchWarning",),
    "n4a_store.pipeline.orchestrator": ("PipelineStepError",),
    "n4a_store.pipeline.predictor": ("Predictor",),
    "n4a_store.pipeline.results": ("ModelScore", "ResultRow", "Results"),
    "n4a_store.pipeline.run_result": ("RunResult",),
    "n4a_store.pipeline.runner": ("PipelineRunner",),
    "n4a_store.pipeline.transfer": ("transfer_model",),
    "n4a_store.refs.refs": ("ANY", "Ref", "ReflogEntry"),
    "n4a_store.repo.store": ("ObjectInfo", "Store"),
    "n4a_store.repo.transaction": ("CommitResult", "Transaction"),
    "n4a_store.settings": ("CommitEach", "Durability", "Settings"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ANY",
    "AmbiguousNameError",
    "ArtifactLoader",
    "ArtifactNotFoundError",
    "ArtifactRecord",
    "ArtifactRegistry",
    "ArtifactType",
    "BackendError",
    "Blob",
    "BranchController",
    "BufferView",
    "CacheInfo",
    "CommitEach",
    "CommitResult",
    "ConflictError",
    "Controller",
    "CorruptionError",
    "DataSelector",
    "DependencyNotFoundError",
    "Durability",
    "ExecutionPath",
    "Handover",
    "InvalidInputError",
    "InvalidNameError",
    "Kind",
    "LockedError",
    "MetaModelConfig",
    "ModelController",
    "ModelScore",
    "NotFoundError",
    "ObjectId",
    "ObjectInfo",
    "ObjectNotFoundError",
    "Payload",
    "PipelineRunner",
    "PipelineStepError",
    "Predictor",
    "Ref",
    "RefNotFoundError",
    "ReflogEntry",
    "RegistryStats",
    "ResultRow",
    "Results",
    "Run",
    "RunHandle",
    "RunResult",
    "RunStatus",
    "RuntimeContext",
    "SerializationError",
    "Serializer",
    "SerializerTable",
    "Settings",
    "SourceModelRef",
    "SplitterController",
    "StackingController",
    "Store",
    "StoreError",
    "StoreNotFoundError",
    "Transaction",
    "TransactionClosedError",
    "TransformController",
    "Tree",
    "TreeEntry",
    "UnsupportedFormatError",
    "UntrustedError",
    "VersionMismatchWarning",
    "WorkerRegistry",
    "WorkerTicket",
    "Workspace",
    "YProcessingController",
    "__version__",
    "artifact_types",
    "generate_artifact_id",
    "parse_artifact_id",
    "register_artifact_type",
    "transfer_model",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})

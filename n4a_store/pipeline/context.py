"""Where a step acts, and with what: the two values every controller is handed.

:class:`DataSelector` is a place in an execution: branch path, step, fold. It is the only maker
of artifact ids in the runner, so that no step number alone ever identifies anything.
:class:`RuntimeContext` carries the registry and what the run has decided; nothing in it is
global, so that pipelines can train in several processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from n4a_store.artifacts.execution_path import (
    BranchPath,
    generate_artifact_id,
    make_branch_path,
)
from n4a_store.errors import InvalidInputError

if TYPE_CHECKING:
    from n4a_store.pipeline.data import PathState, TrainingData
    from n4a_store.pipeline.fit_cache import FitCache
    from n4a_store.pipeline.steps import Step

__all__ = ["ArmTrainer", "ArtifactSink", "DataSelector", "RuntimeContext"]


@dataclass(frozen=True, slots=True)
class DataSelector:
    """A place in an execution.

    Args:
        branch_path: The branch indices that lead here, outermost first; empty outside.
        fold_id: The fold, or None for all rows.
        step_index: The step; None before the first.
        sub_index: The part of a step that has several.
        branch_names: A name for each index of ``branch_path``.
    """

    branch_path: Sequence[int] = ()
    fold_id: int | None = None
    step_index: int | None = None
    sub_index: int | None = None
    branch_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "branch_path", make_branch_path(self.branch_path))
        object.__setattr__(self, "branch_names", tuple(self.branch_names))

    def enter(self, index: int, name: str) -> DataSelector:
        """The place at the entrance of a branch."""
        path = BranchPath((*self.branch_path, index))
        return replace(self, branch_path=path, branch_names=(*self.branch_names, name))

    def at(
        self, step_index: int, fold_id: int | None = None, sub_index: int | None = None
    ) -> DataSelector:
        """The place of one fit of a step on this path."""
        return replace(self, step_index=step_index, fold_id=fold_id, sub_index=sub_index)

    def artifact_id(self, pipeline_id: str) -> str:
        """The id of what is made here.

        Raises:
            InvalidInputError: No step has been chosen, or the pipeline's name is malformed.
        """
        step = -1 if self.step_index is None else self.step_index
        return generate_artifact_id(
            pipeline_id, self.branch_path, step, self.fold_id, sub_index=self.sub_index
        )


class ArtifactSink(Protocol):
    """The part of the registry that training needs; a worker's journal is another one."""

    def register(
        self,
        obj: Any,
        artifact_id: str,
        artifact_type: Any,
        depends_on: Any = None,
        params: Any = None,
        meta_config: Any = None,
    ) -> Any:
        """Keep ``obj`` under ``artifact_id``."""

    def name_branch(self, pipeline_id: str, branch_path: Any, name: str) -> None:
        """Give a branch a name."""


class ArmTrainer(Protocol):
    """What trains the arms of a branch step side by side."""

    def run(
        self, step: Step, following: Sequence[Step], state: PathState, context: RuntimeContext
    ) -> list[PathState]:
        """The places where the arms' paths end, ``following`` included."""


@dataclass(frozen=True, slots=True)
class RuntimeContext:
    """What a controller works with.

    Args:
        artifact_registry: Where fitted objects go.
        pipeline_id: The pipeline that is being trained.
        data: What it is trained on.
        fits: Where a fit that was made before may be found.
        facts: What every record of predictions states about the pipeline (its definition and
            its data, as content ids), so that a later run can tell whether it is the same.
        arms: Processes for the arms of a branch step; None trains them one after the other.
    """

    artifact_registry: ArtifactSink
    pipeline_id: str = ""
    data: TrainingData | None = None
    fits: FitCache | None = None
    run_id: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    arms: ArmTrainer | None = None

    def name_branch(self, selector: DataSelector) -> None:
        """Tell the registry the name of the branch that was entered, unless it is its number."""
        index, name = selector.branch_path[-1], selector.branch_names[-1]
        if name != str(index):
            self.artifact_registry.name_branch(self.pipeline_id, selector.branch_path, name)

    @property
    def training(self) -> TrainingData:
        """The data, in a context that has some."""
        if self.data is None:
            raise InvalidInputError("this context has no data to train on")
        return self.data

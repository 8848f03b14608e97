"""What a controller is: the reading and the running of one kind of step.

A new kind of step is one small class here and one line in ``controllers/__init__.py``. A
controller has no state: everything it needs comes with the step, the path's state and the
orchestrator, so that one instance serves all pipelines and processes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from n4a_store.errors import InvalidInputError, SerializationError, StoreError
from n4a_store.pipeline.data import Lane, PathState, frozen, is_sparse
from n4a_store.pipeline.estimators import class_name
from n4a_store.pipeline.rehearsal import Outlook, Rehearsal
from n4a_store.pipeline.steps import Place, Step

if TYPE_CHECKING:
    from n4a_store.pipeline.context import RuntimeContext
    from n4a_store.pipeline.orchestrator import Orchestrator

__all__ = ["Controller", "PipelineStepError", "check_rows", "columns_of", "named_errors"]


class PipelineStepError(StoreError):
    """An estimator failed in a step; the cause stands behind it."""


@contextmanager
def named_errors(step: Step, lane: Lane | None = None) -> Iterator[None]:
    """Let what an estimator raises say in which step, and in which fold.

    Raises:
        PipelineStepError: For whatever is the pipeline's fault and does not name the step yet.
            Errors of the store pass through as they are.
    """
    fold = "" if lane is None or lane.fold_id is None else f", fold {lane.fold_id}"
    try:
        yield
    except (InvalidInputError, SerializationError) as error:
        if str(error).startswith(step.where):
            raise
        raise PipelineStepError(f"{step.where}{fold}: {error}", hint=error.hint) from error
    except StoreError:
        raise
    except Exception as error:
        said = f"{step.where}{fold}: {type(error).__name__}: {error}"
        if "read-only" in said:
            said += " (a step must not write into the rows it is given)"
        raise PipelineStepError(
            said, hint="the estimator's own message says what it did not like"
        ) from error


class Controller(ABC):
    """One kind of step."""

    keyword: ClassVar[str]
    """The key of the dict that asks for it."""

    options: ClassVar[frozenset[str]] = frozenset()
    """The other keys that such a dict may have."""

    trains: ClassVar[bool] = False
    """Whether it trains a model."""

    serves_models: ClassVar[bool] = False
    """Whether it is of no use without a model after it."""

    needs_rows: ClassVar[bool] = True
    """Whether it works on the rows of a path; a stack works on what models have said."""

    def claims(self, obj: object) -> bool:
        """Whether a bare object in the list of steps is meant for this controller."""
        return False

    def joins(self, step: Step) -> bool:
        """Whether the step needs every path that has reached it at once."""
        return False

    @abstractmethod
    def parse(self, value: Any, options: Mapping[str, Any], place: Place) -> Step:
        """The step that ``value`` stands for.

        Raises:
            InvalidInputError: It cannot work; nothing has been fitted yet.
        """

    def foresee(self, step: Step, outlook: Outlook, rehearsal: Rehearsal) -> list[Outlook] | None:
        """What the step will make of one path, as :meth:`run` does; None: nobody can say.

        Raises:
            InvalidInputError: It cannot work there, whatever the data.
        """
        return None

    def foresee_all(
        self, step: Step, outlooks: list[Outlook], rehearsal: Rehearsal
    ) -> list[Outlook] | None:
        """What the step will make of every path that reaches it."""
        ends: list[Outlook] = []
        for outlook in outlooks:
            found = self.foresee(step, outlook, rehearsal)
            if found is None:
                return None
            ends.extend(found)
        return ends

    @abstractmethod
    def run(self, step: Step, state: PathState, orchestrator: Orchestrator) -> list[PathState]:
        """Run the step on one path; several states come back where the path forks."""

    def run_all(
        self, step: Step, states: list[PathState], orchestrator: Orchestrator
    ) -> list[PathState]:
        """Run the step on every path that has reached it."""
        return [after for state in states for after in self.run(step, state, orchestrator)]


def columns_of(lane: Lane, context: RuntimeContext) -> dict[str, Any] | None:
    """What the record of a fit says of the columns of the user's X; None behind a transformer."""
    columns = context.training.columns
    return None if columns is None or lane.transformers else columns.to_meta()


def check_rows(transformed: Any, rows: int, step: Step, operator: object) -> Any:
    """What a transformer gave, as a table with the rows that it was given.

    Raises:
        InvalidInputError: It has another number of rows or no two dimensions.
    """
    table = transformed.tocsr() if is_sparse(transformed) else np.asarray(transformed)
    if table.ndim != 2 or table.shape[0] != rows:
        raise InvalidInputError(
            f"{step.where}: {class_name(operator)} turned {rows} rows into shape {table.shape}",
            hint="a transformer must give a table with one row for each it was given",
        )
    return frozen(table)

"""What a controller is: the reading and the running of one kind of step.

A new kind of step is one small class here and one line in ``controllers/__init__.py``. A
controller has no state: everything it needs comes with the step, the path's state and the
orchestrator, so that one instance serves all pipelines and processes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from n4a_store.errors import InvalidInputError
from n4a_store.pipeline.data import PathState, frozen
from n4a_store.pipeline.estimators import class_name
from n4a_store.pipeline.steps import Place, Step

if TYPE_CHECKING:
    from n4a_store.pipeline.orchestrator import Orchestrator

__all__ = ["Controller", "check_rows"]


class Controller(ABC):
    """One kind of step."""

    keyword: ClassVar[str]
    """The key of the dict that asks for it."""

    options: ClassVar[frozenset[str]] = frozenset()
    """The other keys that such a dict may have."""

    trains: ClassVar[bool] = False
    """Whether it trains a model."""

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

    @abstractmethod
    def run(self, step: Step, state: PathState, orchestrator: Orchestrator) -> list[PathState]:
        """Run the step on one path; several states come back where the path forks."""

    def run_all(
        self, step: Step, states: list[PathState], orchestrator: Orchestrator
    ) -> list[PathState]:
        """Run the step on every path that has reached it."""
        return [after for state in states for after in self.run(step, state, orchestrator)]


def check_rows(transformed: Any, rows: int, step: Step, operator: object) -> Any:
    """What a transformer gave, as a table with the rows that it was given.

    Raises:
        InvalidInputError: It has another number of rows or no two dimensions.
    """
    table = transformed.tocsr() if callable(getattr(transformed, "tocsr", None)) else transformed
    if not callable(getattr(transformed, "tocsr", None)):
        table = np.asarray(transformed)
    if table.ndim != 2 or table.shape[0] != rows:
        raise InvalidInputError(
            f"{step.where}: {class_name(operator)} turned {rows} rows into shape {table.shape}",
            hint="a transformer must give a table with one row for each it was given",
        )
    return frozen(table)

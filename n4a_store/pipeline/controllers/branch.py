"""Branches: the path forks, and what follows the branch step runs at the end of each branch.

``{"branch": [[SNV()], [SavitzkyGolay(), MeanCenter()]]}``, or by name
``{"branch": {"snv": [SNV()], "raw": []}}``. Branches nest. Each sees what was fitted before
it, never a sibling's work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from n4a_store.artifacts.execution_path import check_branch_name
from n4a_store.errors import InvalidNameError
from n4a_store.pipeline.controllers.base import Controller
from n4a_store.pipeline.data import PathState
from n4a_store.pipeline.rehearsal import Outlook, Rehearsal
from n4a_store.pipeline.steps import Branch, Place, Step

if TYPE_CHECKING:
    from n4a_store.pipeline.orchestrator import Orchestrator

__all__ = ["BranchController"]


class BranchController(Controller):
    """``{"branch": [...]}``: lists of steps, or names to lists of steps."""

    keyword: ClassVar[str] = "branch"

    def parse(self, value: Any, options: Mapping[str, Any], place: Place) -> Step:
        """Every branch, each with its steps."""
        if isinstance(value, Mapping):
            named = [(str(name), steps) for name, steps in value.items()]
        elif isinstance(value, (list, tuple)):
            named = [(str(index), steps) for index, steps in enumerate(value)]
        else:
            raise place.fail(
                f"branches are a list of lists or a dict of lists, not {type(value).__name__}"
            )
        if not named:
            raise place.fail("a branch step without branches")
        for name, _ in named:
            if name in ("_or_", "_range_"):
                raise place.fail(
                    f"{name!r} stands for a step or a value, not for the branches",
                    'put it into a branch: {"branch": [[{"_or_": [...]}], ...]}',
                )
        try:
            names = [check_branch_name(name) for name, _ in named]
        except InvalidNameError as error:
            raise place.fail(str(error), error.hint) from error
        for name in names:
            if names.count(name) > 1:  # also where they differ only in their encoding
                raise place.fail(f"two branches are called {name!r}")
        branches = tuple(
            Branch(name, place.parse_inner(steps, name)[0])
            for name, (_, steps) in zip(names, named, strict=True)
        )
        return place.step(self.keyword, branches=branches)

    def foresee(self, step: Step, outlook: Outlook, rehearsal: Rehearsal) -> list[Outlook]:
        """One path becomes as many as there are branches, and those inside them."""
        ends: list[Outlook] = []
        for index, branch in enumerate(step.branches):
            ends.extend(rehearsal.run_steps(branch.steps, [outlook.enter(step, index, branch)]))
        return ends

    def run(self, step: Step, state: PathState, orchestrator: Orchestrator) -> list[PathState]:
        """One path becomes as many as there are branches, and those inside them."""
        ends: list[PathState] = []
        for index, branch in enumerate(step.branches):
            entered = state.enter(index, branch.name)
            orchestrator.context.name_branch(entered.selector)
            ends.extend(orchestrator.run_steps(branch.steps, [entered]))
        return ends

"""A pipeline gone through without data, so that what cannot work is refused before any fit.

The rehearsal walks the same paths as the orchestrator and asks each controller what its step
makes of them: are the rows split, which models lie behind. A stack without a model before it, a
second splitter on a path or a branch that never comes to a model are found here, and named. What
depends on the data is not foreseen; nor is anything behind a step whose controller does not say
what it does: there the same mistakes are found when the step runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from n4a_store.errors import InvalidInputError

if TYPE_CHECKING:
    from n4a_store.pipeline.controllers.base import Controller
    from n4a_store.pipeline.steps import Branch, Program, Step

__all__ = ["ForeseenModel", "Outlook", "Rehearsal"]


@dataclass(frozen=True, slots=True)
class ForeseenModel:
    """A model that is going to be trained.

    Args:
        place: Its branch and step, which no other model of its pipeline has.
        name: What the results will call it.
        is_held_out: Whether it will have said something about rows that it had not seen.
        is_stack: Whether it is a meta-model.
    """

    place: tuple[tuple[int, ...], int]
    name: str
    is_held_out: bool
    is_stack: bool = False


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known of one place on one path before anything is fitted.

    Args:
        branch_path: Which path.
        entered: How messages call the branches that lead here.
        has_rows: Whether there are rows to work on: not behind a stack that joins branches.
        is_split: Whether the splitter lies behind.
        models: The models trained on the way here.
    """

    branch_path: tuple[int, ...] = ()
    entered: tuple[str, ...] = ()
    has_rows: bool = True
    is_split: bool = False
    models: tuple[ForeseenModel, ...] = ()

    def enter(self, step: Step, index: int, branch: Branch) -> Outlook:
        """What is known at the entrance of a branch."""
        where = f"{step.where}, branch {branch.name!r}"
        # A branch inside another one is called by both already.
        outer = tuple(one for one in self.entered if not where.startswith(f"{one}, "))
        path = (*self.branch_path, index)
        return replace(self, branch_path=path, entered=(*outer, where))

    def with_model(self, step: Step, *, is_stack: bool = False) -> Outlook:
        """The same place, one model further."""
        model = ForeseenModel(
            (self.branch_path, step.index), step.name, is_stack or self.is_split, is_stack
        )
        return replace(self, models=(*self.models, model))

    def behind(self, step: Step) -> str:
        """What a message about a step adds when it runs on several paths; else nothing."""
        apart = [one for one in self.entered if not step.where.startswith(f"{one}, ")]
        return f" on the path through {' and '.join(apart)}" if apart else ""


class Unforeseen(Exception):
    """A step whose controller does not say what it will do."""


class Rehearsal:
    """Goes through one pipeline.

    Args:
        controllers: The kinds of steps.
    """

    def __init__(self, controllers: Sequence[Controller]) -> None:
        self._controllers = {controller.keyword: controller for controller in controllers}
        self._paths: list[Outlook] = []

    @property
    def trunk(self) -> Outlook:
        """Where the list of steps that is being gone through began."""
        return self._paths[-1]

    def check(self, program: Program) -> None:
        """Refuse a program that cannot work.

        Raises:
            InvalidInputError: A step or a branch is of no use where it stands; it is named.
        """
        try:
            ends = self.run_steps(program.steps, [Outlook()])
        except Unforeseen:
            return
        for end in ends:
            if not end.models:
                raise InvalidInputError(
                    f"{' and '.join(end.entered)}: no model on this path",
                    hint="put a model into the branch, before the branches or after them",
                )

    def run_steps(self, steps: Sequence[Step], outlooks: list[Outlook]) -> list[Outlook]:
        """What a list of steps makes of the paths that come to it."""
        self._paths.append(outlooks[0])
        try:
            for step in steps:
                controller = self._controllers[step.keyword]
                if controller.needs_rows and not all(one.has_rows for one in outlooks):
                    raise InvalidInputError(
                        f"{step.where}: nothing but a stack follows a joining stack",
                        hint='put it before the stack, or leave "over" out',
                    )
                found = controller.foresee_all(step, outlooks, self)
                if found is None:
                    raise Unforeseen
                outlooks = found
            return outlooks
        finally:
            self._paths.pop()

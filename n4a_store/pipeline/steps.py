"""From what the user wrote to numbered steps, every mistake found before anything is fitted.

A step is read by the controller that claims it: a dict by its keyword, any other object by
what it can do. Lists inside the list are chains and are read in place; None is left out.

Numbering: a step's index counts the steps before it on its path, the branch step included, so
that the order of indices is the order of execution on every path. After a branch the count
goes on behind the longest of its branches; hence a step after it has one index everywhere.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from n4a_store.errors import InvalidInputError
from n4a_store.pipeline.estimators import class_name, instantiate
from n4a_store.pipeline.rehearsal import Rehearsal

if TYPE_CHECKING:
    from n4a_store.pipeline.controllers.base import Controller

__all__ = ["Branch", "Place", "Program", "Step", "parse_pipeline"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step, ready to run.

    Args:
        index: Its number on its path.
        keyword: The keyword of its controller.
        where: How messages call it.
        operators: The unfitted objects, never fitted themselves.
        name: What the results call it.
        options: Whatever else its controller has read.
        branches: For a branch step, what each branch holds.
    """

    index: int
    keyword: str
    where: str
    operators: tuple[Any, ...] = ()
    name: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    branches: tuple[Branch, ...] = ()

    def walk(self) -> Iterator[Step]:
        """This step and all steps in its branches."""
        yield self
        for branch in self.branches:
            for step in branch.steps:
                yield from step.walk()


@dataclass(frozen=True, slots=True)
class Branch:
    """A named list of steps."""

    name: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """A pipeline without generators, parsed.

    Args:
        steps: The steps of the trunk.
        end: The first index that no step has.
    """

    steps: tuple[Step, ...]
    end: int

    def walk(self) -> Iterator[Step]:
        """Every step, branches included."""
        for step in self.steps:
            yield from step.walk()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a controller reads a step, and its way to read the steps inside."""

    index: int
    where: str
    controllers: Sequence[Controller]

    def step(self, keyword: str, *operators: Any, **more: Any) -> Step:
        """The step that stands here."""
        return Step(self.index, keyword, self.where, operators, **more)

    def parse_inner(self, steps: Any, name: str) -> tuple[tuple[Step, ...], int]:
        """The steps of a branch, and the first index behind them."""
        if not isinstance(steps, (list, tuple)):
            steps = [steps]
        return _parse(steps, self.controllers, self.index + 1, f"{self.where}, branch {name!r}, ")

    def name(self, options: Mapping[str, Any], operator: object) -> str:
        """What the results call the step.

        Raises:
            InvalidInputError: The name it was given is no text.
        """
        name = options.get("name", class_name(operator))
        if not isinstance(name, str) or not name:
            raise self.fail(f'"name" is text, not {name!r:.80}')
        return name

    def fail(self, message: str, hint: str | None = None) -> InvalidInputError:
        """An error that names this step."""
        return InvalidInputError(f"{self.where}: {message}", hint=hint)


def parse_pipeline(steps: Sequence[Any], controllers: Sequence[Controller]) -> Program:
    """The program that a list of steps, already without generators, stands for.

    Raises:
        InvalidInputError: A step is unknown, malformed or in a place where it cannot work; the
            message names it.
    """
    parsed, end = _parse(steps, controllers, 0, "")
    program = Program(parsed, end)
    trainable = {c.keyword for c in controllers if c.trains}
    if not any(step.keyword in trainable for step in program.walk()):
        raise InvalidInputError(
            "the pipeline has no model", hint='add {"model": PLSRegression(n_components=5)}'
        )
    Rehearsal(controllers).check(program)
    # A stack is fitted on predictions and on the user's own targets: nothing before it serves it.
    served = {c.keyword for c in controllers if c.trains and c.needs_rows}
    _check_served(parsed, served, {c.keyword for c in controllers if c.serves_models})
    return program


def _check_served(
    steps: Sequence[Step],
    training: AbstractSet[str],
    serving: AbstractSet[str],
    *,
    after: bool = False,
) -> None:
    """Refuse a step that only models after it would need, where none comes."""
    for step in reversed(steps):
        for branch in step.branches:
            _check_served(branch.steps, training, serving, after=after)
        if step.keyword in serving and not after:
            raise InvalidInputError(
                f"{step.where}: no model comes after {step.name or step.keyword}",
                hint="put it before the models",
            )
        after = after or any(one.keyword in training for one in step.walk())


def _flatten(steps: Sequence[Any]) -> Iterator[Any]:
    for step in steps:
        if isinstance(step, (list, tuple)):
            yield from _flatten(step)
        elif step is not None:
            yield step


def _parse(
    steps: Sequence[Any], controllers: Sequence[Controller], start: int, prefix: str
) -> tuple[tuple[Step, ...], int]:
    parsed: list[Step] = []
    index = start
    for raw in _flatten(steps):
        step = _read(raw, Place(index, f"{prefix}step {index}", controllers))
        parsed.append(step)
        index = 1 + max((inner.index for inner in step.walk()), default=index)
    return tuple(parsed), index


def _read(raw: Any, place: Place) -> Step:
    if isinstance(raw, Mapping):
        return _read_mapping(raw, place)
    obj = instantiate(raw)
    for controller in place.controllers:
        if controller.claims(obj):
            return controller.parse(obj, {}, place)
    raise place.fail(
        f"{class_name(obj)} is no step: it has neither fit and transform, nor split, nor predict",
        hint="pass a transformer, a splitter, or a dict such as {'model': ...}",
    )


def _read_mapping(raw: Mapping[Any, Any], place: Place) -> Step:
    keywords = {controller.keyword: controller for controller in place.controllers}
    found = [key for key in raw if key in keywords]
    if len(found) != 1:
        said = " and ".join(map(repr, found)) if found else f"only {sorted(map(str, raw))}"
        raise place.fail(
            f"a step has exactly one of the keys {', '.join(keywords)}; this one has {said}",
            hint=_meant(raw, [*keywords, "_or_", "_range_"]),
        )
    controller = keywords[found[0]]
    options = {key: value for key, value in raw.items() if key != found[0]}
    for key in options:
        if key not in controller.options:
            known = ", ".join(sorted(controller.options)) or "none"
            raise place.fail(
                f"unknown option {key!r} of {found[0]!r}",
                hint=_meant([key], controller.options) or f"options: {known}",
            )
    return controller.parse(raw[found[0]], options, place)


def _meant(given: Any, known: Any) -> str | None:
    for key in given:
        close = difflib.get_close_matches(str(key), list(known), n=1)
        if close:
            return f"did you mean {close[0]!r}?"
    return None

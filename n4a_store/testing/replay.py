"""Single orders of steps, played for real and checked at each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from n4a_store.testing.invariants import Broken, check_end, check_step
from n4a_store.testing.scenario import Run, Scenario, Stage
from n4a_store.testing.seams import as_processes

__all__ = ["follow", "replay"]


def _take_checked(run: Run, choice: str) -> None:
    name = choice.removeprefix("!")
    if name == choice:
        check_step(run.disk, run.minds[name], run.minds.values())
    run.take(choice)
    failure = run.minds[name].failure
    if failure is not None:
        raise Broken(f"{name} failed: {failure}") from run.processes[name].failure


def replay(scenario: Scenario, choices: tuple[str, ...], folder: Path) -> Iterator[str]:
    """Run a scenario along given choices; its steps, one by one.

    Raises:
        Broken: An invariant does not hold.
    """
    with as_processes():
        run = Stage(scenario, folder).begin()
        try:
            for choice in choices:
                _take_checked(run, choice)
                yield run.trace[-1]
            if all(mind.over for mind in run.minds.values()):
                check_end(run.store, list(run.processes.values()))
        finally:
            run.end()


def follow(scenario: Scenario, plan: Iterable[tuple[str, str]], folder: Path) -> None:
    """Run a scenario in one order that is told by its turns.

    Args:
        scenario: The scenario.
        plan: Whose turn it is, and before which step it ends: the beginning of a step as it is
            shown, with ``#2`` behind it the second such step; empty, it goes on to its end. A
            process that must wait ends its turn as well. In the end all go on to their ends.
        folder: An empty folder.

    Raises:
        Broken: An invariant does not hold.
    """
    with as_processes():
        run = Stage(scenario, folder).begin()
        try:
            for name, until in plan:
                _turn_of(run, name, until)
            while names := [name for name, mind in run.minds.items() if mind.can_go_on(run.disk)]:
                _turn_of(run, names[0], "")
            check_end(run.store, list(run.processes.values()))
        finally:
            run.end()


def _turn_of(run: Run, name: str, until: str) -> None:
    """Let one process go on until it stands before a step."""
    wanted, _, times = until.partition("#")
    left = int(times or 1)
    while run.minds[name].can_go_on(run.disk):
        if wanted and str(run.minds[name].at).startswith(wanted):
            left -= 1
            if not left:
                return
        _take_checked(run, name)

"""An explorer of interleavings: the real protocol, every order of its steps up to a bound.

A :class:`Scenario` prepares a small store and names the processes that then work on it. The
explorer runs it again and again, each time with other choices of who takes the next step and who
is killed, fewest *preemptions* first: a preemption takes the turn from a process that could have
gone on. It leaves out a choice only when the same disk, the same knowledge of every process and
at least as many preemptions to spend have been seen before. After every step and at every end it
checks the invariants (:mod:`n4a_store.testing.invariants`).
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from n4a_store.repo.store import Store
from n4a_store.settings import Durability, Settings
from n4a_store.testing.invariants import Broken, check_end, check_step, files_of
from n4a_store.testing.stepping import Process, as_processes, is_locked

__all__ = ["Bound", "Exploration", "Role", "Scenario", "Violation", "explore", "follow", "replay"]

_SETTINGS = Settings(durability=Durability.NONE, allow_network_filesystem=True)
_TABLES = ("refs", "reflog", "pins", "packs")


@dataclass(frozen=True, slots=True)
class Role:
    """One process of a scenario.

    Args:
        name: What it is called.
        body: What it does, step by step.
        before: What it has done before the exploration begins.
        expected: Errors that are a fair end for it.
        collects: Whether it is a gc or repack.
        mortal: Whether it may be the one that is killed.
    """

    name: str
    body: Callable[[Process], None]
    before: Callable[[Process], None] | None = None
    expected: tuple[type[Exception], ...] = ()
    collects: bool = False
    mortal: bool = True


@dataclass(frozen=True, slots=True)
class Scenario:
    """A store and who works on it.

    Args:
        name: What it is called.
        prepare: Fills the store, through the public door.
        roles: The processes.
    """

    name: str
    prepare: Callable[[Store], None]
    roles: tuple[Role, ...]

    def only(self, *names: str) -> Scenario:
        """The same store with some of the processes."""
        chosen = tuple(role for role in self.roles if role.name in names)
        return replace(self, name=f"{self.name}: {', '.join(names)}", roles=chosen)


@dataclass(frozen=True, slots=True)
class Bound:
    """How far to go.

    Args:
        preemptions: At most so many in one interleaving.
        kills: At most so many in one interleaving.
        runs: Stop after so many runs, None for no limit.
        seconds: Stop after this time, None for no limit.
        seed: In which order to explore; it matters only when the exploration stops early.
    """

    preemptions: int = 3
    kills: int = 1
    runs: int | None = None
    seconds: float | None = None
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that broke, and how to get there again.

    Args:
        scenario: Of which scenario.
        what: What broke.
        choices: The choices that lead there, for :func:`replay`.
        trace: The steps taken, for people.
    """

    scenario: str
    what: str
    choices: tuple[str, ...]
    trace: tuple[str, ...]

    def __str__(self) -> str:
        steps = "\n".join(f"  {line}" for line in self.trace)
        return f"{self.scenario}: {self.what}\nafter\n{steps}"


@dataclass(slots=True)
class Exploration:
    """What has been explored.

    Args:
        interleavings: Runs that went to their end.
        merged: Runs that met a known state and were left there.
        states: Distinct states.
        steps: Steps taken in all runs.
        pending: Choices that the bound left unexplored; 0 when it was exhausted.
        violation: The first that was found.
    """

    scenario: str
    bound: Bound
    interleavings: int = 0
    merged: int = 0
    states: int = 0
    steps: int = 0
    pending: int = 0
    seconds: float = 0.0
    violation: Violation | None = None

    def __str__(self) -> str:
        rest = "all of them" if not self.pending else f"{self.pending} choices left"
        return (
            f"{self.scenario}: {self.interleavings} interleavings to the end, "
            f"{self.merged} merged, {self.states} states, {self.steps} steps, "
            f"{self.bound.preemptions} preemptions, "
            f"{self.bound.kills} kills, {self.seconds:.1f} s ({rest})"
        )


@dataclass(frozen=True, slots=True)
class _Choice:
    """A choice after others: the name of who goes on, with ``!`` before it who is killed."""

    before: _Choice | None
    choice: str
    preemptions: int

    def path(self) -> list[str]:
        """All choices from the beginning."""
        found: list[str] = []
        at: _Choice | None = self
        while at is not None:
            found.append(at.choice)
            at = at.before
        return found[::-1]


@dataclass(slots=True)
class _Run:
    """One run of a scenario: its processes and whose turn it is."""

    store: Store
    processes: dict[str, Process]
    turn: str | None = None
    trace: list[str] = field(default_factory=list)
    _catalog: tuple[int, ...] | None = None

    def take(self, choice: str) -> None:
        """Make one choice."""
        process = self.processes[choice.removeprefix("!")]
        if choice.startswith("!"):
            self.trace.append(f"{process.name} is killed before: {process.at}")
            process.kill()
        else:
            self.trace.append(f"{process.name}: {process.at}")
            check_step(self.store, process, self.processes.values())
            if process.at.name == "catalog-commit":
                self._catalog = None
            self.turn = process.name
            process.advance()
        if process.failure is not None:
            raise Broken(f"{process.name} failed: {process.failure!r}") from process.failure

    def turn_of(self, name: str, until: str) -> None:
        """Let one process go on until it stands before a step; see :func:`follow`."""
        wanted, _, times = until.partition("#")
        left = int(times or 1)
        process = self.processes[name]
        while self._can_go_on(process):
            if wanted and str(process.at).startswith(wanted):
                left -= 1
                if not left:
                    return
            self.take(name)

    def runnable(self) -> list[str]:
        """Who could take a step."""
        return [name for name, process in self.processes.items() if self._can_go_on(process)]

    def _can_go_on(self, process: Process) -> bool:
        if process.over:
            return False
        if process.at.name != "lock":
            return True
        path = self.store.path / process.at.path
        return not path.exists() or not is_locked(path)

    def mortals(self, kills: int) -> list[str]:
        """Who could be killed."""
        if sum(process.killed for process in self.processes.values()) >= kills:
            return []
        return [
            name
            for name, process in self.processes.items()
            if process.begun and not process.over and process.mortal
        ]

    def state(self) -> int:
        """A hash of everything that the future depends on, but for whose turn it is."""
        if self._catalog is None:
            with self.store.catalog.read() as reader:
                sums = [reader.summary(table).total for table in _TABLES]
                self._catalog = (*sums, reader.generation(), reader.sequence())
        knowledge = tuple(process.seen for process in self.processes.values())
        return hash((self._catalog, files_of(self.store), knowledge))

    def end(self) -> None:
        """Leave nothing behind."""
        for process in self.processes.values():
            if not process.over:
                process.kill()
            process.join()
            process.store.catalog.close()
            process.store.odb.close()
        self.store.close()


class _Explorer:
    def __init__(self, scenario: Scenario, bound: Bound, folder: Path) -> None:
        self._scenario = scenario
        self._bound = bound
        self._template = folder / "template"
        self._place = folder / "store"
        self._waiting: list[list[_Choice | None]] = [[] for _ in range(bound.preemptions + 1)]
        self._seen: set[tuple[int, str | None]] = set()
        self._ends: set[int] = set()
        self._random = random.Random(bound.seed)
        self.report = Exploration(scenario.name, bound)
        with Store.init(self._template, settings=_SETTINGS) as store:
            scenario.prepare(store)

    def run(self) -> Exploration:
        """Explore until the bound."""
        report, bound = self.report, self._bound
        began = time.monotonic()
        self._waiting[0].append(None)
        while (choice := self._next()) is not _NOTHING:
            if bound.runs is not None and report.interleavings + report.merged >= bound.runs:
                report.pending += 1
                break
            if bound.seconds is not None and time.monotonic() - began >= bound.seconds:
                report.pending += 1
                break
            self._explore(choice)
            if report.violation is not None:
                break
        report.pending += sum(len(waiting) for waiting in self._waiting)
        report.states = len({state for state, _ in self._seen})
        report.seconds = time.monotonic() - began
        return report

    def _next(self) -> _Choice | None:
        """A choice with the fewest preemptions: so a state is first met with the most to spend."""
        for waiting in self._waiting:
            if waiting:
                # Anywhere in the tree, so that a bounded exploration is not all in one corner.
                at = self._random.randrange(len(waiting))
                waiting[at], waiting[-1] = waiting[-1], waiting[at]
                return waiting.pop()
        return _NOTHING

    def _explore(self, choice: _Choice | None) -> None:
        run = self.begin()
        try:
            for name in choice.path() if choice is not None else ():
                run.take(name)
                self.report.steps += 1
            if self._go_on(run, choice):
                self.report.interleavings += 1
                self._check_end(run)
            else:
                self.report.merged += 1
        except Broken as broken:
            choices = tuple(_choice_of(line) for line in run.trace)
            self.report.violation = Violation(
                self._scenario.name, str(broken), choices, tuple(run.trace)
            )
        finally:
            run.end()

    def _go_on(self, run: _Run, choice: _Choice | None) -> bool:
        """Run on with nobody preempted, and leave every other choice for later; True at an end."""
        used = 0 if choice is None else choice.preemptions
        while True:
            names = run.runnable()
            if not names:
                if not all(process.over for process in run.processes.values()):
                    raise Broken("all that are left wait for each other")
                return True
            key = (run.state(), run.turn)
            if key in self._seen:
                return False
            self._seen.add(key)
            turn = run.turn if run.turn in names else None
            chosen = turn or names[0]
            for name in names:
                cost = used + (turn is not None)
                if name != chosen and cost <= self._bound.preemptions:
                    self._waiting[cost].append(_Choice(choice, name, cost))
            for name in run.mortals(self._bound.kills):
                self._waiting[used].append(_Choice(choice, "!" + name, used))
            choice = _Choice(choice, chosen, used)
            run.take(chosen)
            self.report.steps += 1

    def _check_end(self, run: _Run) -> None:
        end = run.state()
        if end not in self._ends:
            self._ends.add(end)
            check_end(run.store, list(run.processes.values()))

    def begin(self) -> _Run:
        """The scenario at its beginning."""
        shutil.rmtree(self._place, ignore_errors=True)
        shutil.copytree(self._template, self._place)
        run = _Run(Store.open(self._place, settings=_SETTINGS), {})
        run.store.sessions.ends_when_idle = False
        for role in self._scenario.roles:
            process = Process(
                role.name,
                Store.open(self._place, settings=_SETTINGS),
                role.body,
                expected=role.expected,
                collects=role.collects,
                mortal=role.mortal,
            )
            run.processes[role.name] = process
            if role.before is not None:
                process.prepare(role.before)
        for process in run.processes.values():
            process.begin()
        return run


_NOTHING = _Choice(None, "", 0)


def _choice_of(line: str) -> str:
    name, killed, _ = line.partition(" is killed before: ")
    return "!" + name if killed else line.partition(":")[0]


def explore(scenario: Scenario, bound: Bound, folder: Path) -> Exploration:
    """Explore a scenario; ``folder`` is empty, and best in memory."""
    with as_processes():
        return _Explorer(scenario, bound, folder).run()


def replay(scenario: Scenario, choices: tuple[str, ...], folder: Path) -> Iterator[str]:
    """Run a scenario along given choices; its steps, one by one.

    Raises:
        Broken: An invariant does not hold.
    """
    with as_processes():
        run = _Explorer(scenario, Bound(), folder).begin()
        try:
            for choice in choices:
                run.take(choice)
                yield run.trace[-1]
            if all(process.over for process in run.processes.values()):
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
        run = _Explorer(scenario, Bound(), folder).begin()
        try:
            for name, until in plan:
                run.turn_of(name, until)
            while names := run.runnable():
                run.turn_of(names[0], "")
            check_end(run.store, list(run.processes.values()))
        finally:
            run.end()

"""An explorer of interleavings: the real protocol, every order of its steps up to a bound.

A :class:`~n4a_store.testing.scenario.Scenario` names the processes that work on a small store. The
explorer goes through every order of their steps, and every moment at which one of them is killed,
with a bound on the *preemptions*: a preemption takes the turn from a process that could have gone
on. Orders that lead to the same disk and the same knowledge of every process go on as one.

It does not play each order. What a step does is learned from real runs
(:mod:`n4a_store.testing.learning`); only what no run has shown yet is played, and each different
end, which is then checked as a whole. Fewer preemptions are explored before more, so what was
found or gone through holds for the smaller bound even when the larger is not exhausted.
"""

from __future__ import annotations

import heapq
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path as Folder

from n4a_store.testing.invariants import Broken, check_end, check_step
from n4a_store.testing.learning import Effect, Learned
from n4a_store.testing.scenario import Mind, Run, Scenario, Stage
from n4a_store.testing.seams import as_processes
from n4a_store.testing.sight import Disk

__all__ = ["Bound", "Exploration", "Violation", "explore"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bound:
    """How far to go.

    Args:
        preemptions: At most so many in one interleaving; None for any number.
        kills: At most so many in one interleaving.
        runs: Stop after so many real runs, None for no limit.
        seconds: Stop after this time, None for no limit.
    """

    preemptions: int | None = 3
    kills: int = 1
    runs: int | None = None
    seconds: float | None = None

    def steps(self) -> list[int | None]:
        """The numbers of preemptions to explore, one after another."""
        if self.preemptions is None:
            return [0, 1, None]
        return list(range(self.preemptions + 1))


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that broke, and how to get there again.

    Args:
        scenario: Of which scenario.
        what: What broke.
        choices: The choices that lead there, for :func:`~n4a_store.testing.replay.replay`.
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
        exhausted: Up to how many preemptions everything was; None for any number, -1 for not even
            those without.
        interleavings: How many orders of steps these are, from the beginning to an end.
        states: Different states in which a process could take a step.
        steps: Different steps out of these states.
        ends: Different ends, each of them checked.
        learned: Different steps of single processes that all of them consist of.
        runs: Real runs, and how many of their steps repeated what had been learned.
        seconds: How long it took, and of that the time that a processor worked for it.
        violation: The first that was found.
    """

    scenario: str
    bound: Bound
    exhausted: int | None = -1
    interleavings: int = 0
    states: int = 0
    steps: int = 0
    ends: int = 0
    learned: int = 0
    runs: int = 0
    compared: int = 0
    seconds: float = 0.0
    processor_seconds: float = 0.0
    violation: Violation | None = None

    @property
    def complete(self) -> bool:
        """Whether the bound was exhausted."""
        return self.exhausted == self.bound.preemptions

    def __str__(self) -> str:
        def preemptions(number: int | None) -> str:
            return "any number of" if number is None else str(number)

        what = f"all {self.interleavings:,} interleavings with {preemptions(self.exhausted)}"
        if self.exhausted == -1:
            what = f"not all with 0 of {preemptions(self.bound.preemptions)}"
        elif not self.complete:
            what += f", not all with {preemptions(self.bound.preemptions)}"
        return (
            f"{self.scenario}: {what} preemptions, {self.bound.kills} kills: "
            f"{self.states:,} states, {self.steps:,} steps, {self.ends:,} ends; "
            f"{self.learned:,} steps learned in {self.runs:,} real runs, "
            f"{self.compared:,} repeated alike; {self.seconds:.1f} s, "
            f"{self.processor_seconds:.1f} of them at work"
        )


class _Enough(Exception):
    """A bound on runs or seconds has been reached."""


# A choice (who goes on, or with ``!`` before it who is killed) after others.
Path = tuple["Path | None", str]


def _choices(path: Path | None) -> list[str]:
    """All choices from the beginning."""
    found: list[str] = []
    while path is not None:
        path, choice = path
        found.append(choice)
    return found[::-1]


Minds = tuple[Mind, ...]
State = tuple[Disk, Minds]
_NOBODY = -1
# Bits for a number of ways: more than there are orders of a few hundred steps of four processes.
_FIELD = 512


@dataclass(slots=True)
class _Reached:
    """A state, and how it was reached.

    Args:
        last: One way there.
        ways: In how many ways, by whose turn it is.
    """

    last: Path | None
    ways: dict[int, int] = field(default_factory=dict)


class _Explorer:
    """One exploration of a scenario."""

    def __init__(self, scenario: Scenario, bound: Bound, folder: Folder) -> None:
        self._bound = bound
        self._stage = Stage(scenario, folder)
        self._learned = Learned(self._stage.sight)
        self._ends: set[State] = set()
        self._began, self._worked = time.monotonic(), time.process_time()
        self.report = Exploration(scenario.name, bound)

    def run(self) -> Exploration:
        """Explore until the bound."""
        report = self.report
        try:
            for preemptions in self._bound.steps():
                layer = _Layer(self, preemptions)
                layer.run(self._begin())
                report.exhausted, report.interleavings = preemptions, layer.interleavings
                report.states, report.steps = layer.states, layer.steps
                self._count()
                log.info("%s", report)
        except _Enough:
            report.states, report.steps = layer.states, layer.steps
        except _Found as found:
            report.violation = found.violation
        self._count()
        return report

    def _count(self) -> None:
        report = self.report
        report.ends = len(self._ends)
        report.learned, report.compared = self._learned.steps, self._learned.compared
        report.runs = self._stage.runs
        report.seconds = time.monotonic() - self._began
        report.processor_seconds = time.process_time() - self._worked

    def _begin(self) -> State:
        run = self._stage.begin()
        run.end()
        return run.disk, tuple(run.minds.values())

    def check_bound(self) -> None:
        """Stop here if it is enough."""
        bound = self._bound
        late = bound.seconds is not None and time.monotonic() - self._began >= bound.seconds
        if late or (bound.runs is not None and self._stage.runs >= bound.runs):
            raise _Enough

    @property
    def kills(self) -> int:
        """How many processes may be killed."""
        return self._bound.kills

    def take(self, state: State, index: int, path: Path) -> Effect:
        """What the last choice of a path does, which is about a process of a state."""
        disk, minds = state
        mind = minds[index]
        kill = path[1].startswith("!")
        if mind.writes and not kill:
            try:
                check_step(disk, mind, minds)
            except Broken as broken:
                raise self._found(path, broken) from broken
        effect = self._learned.effect(mind, kill, disk)
        if effect is None:
            self.check_bound()
            effect = self._play(path)
        if effect[0].failure is not None:
            raise self._found(path, Broken(f"{mind.name} failed: {effect[0].failure}"))
        return effect

    def _play(self, path: Path) -> Effect:
        """Play what has not been learned yet, and whatever else is new from there on."""
        run = self._stage.begin()
        effects: list[Effect] = []
        choices = iter(_choices(path))

        def ask() -> str | None:
            choice = next(choices, None)
            if choice is None:
                if not effects:  # the path has just been gone to its end
                    effects.append((run.minds[path[1].removeprefix("!")], run.disk))
                choice = self._new_step(run)
            return choice

        try:
            self._learned.play(run, ask)
        finally:
            run.end()
        return effects[0]

    def _new_step(self, run: Run) -> str | None:
        """Who would now do something that has not been learned; first who did it last."""
        last = run.choices[-1]
        for name in sorted(run.minds, key=lambda name: name != last):
            mind = run.minds[name]
            if mind.can_go_on(run.disk) and self._learned.effect(mind, False, run.disk) is None:
                return name
        return None

    def end(self, state: State, last: Path | None) -> None:
        """Check an end of all processes, by a real run that leads there."""
        if state in self._ends:
            return
        if not all(mind.over for mind in state[1]):
            assert last is not None
            raise self._found(last, Broken("all that are left wait for each other"))
        self.check_bound()
        run = self._stage.begin()
        choices = iter(_choices(last))
        try:
            self._learned.play(run, lambda: next(choices, None))
            check_end(run.store, list(run.processes.values()))
        except Broken as broken:
            raise _Found(self._violation(run, broken)) from broken
        finally:
            run.end()
        self._ends.add(state)

    def _found(self, last: Path, broken: Broken) -> _Found:
        """The violation to which some choices lead, once more for real."""
        run = self._stage.begin()
        try:
            for choice in _choices(last):
                run.take(choice)
        finally:
            run.end()
        return _Found(self._violation(run, broken))

    def _violation(self, run: Run, broken: Broken) -> Violation:
        name = self._stage.scenario.name
        return Violation(name, str(broken), tuple(run.choices), tuple(run.trace))


class _Found(Exception):
    """A violation has been found."""

    def __init__(self, violation: Violation) -> None:
        self.violation = violation


class _Layer:
    """All interleavings with so many preemptions.

    States are taken up in an order in which nobody can come back to an earlier one: first those
    in which fewer processes are over, then those in which the others have come less far. So all
    ways to a state are known when it is its turn, and it can be forgotten afterwards.

    In how many ways a state is reached is one number with a field for each number of preemptions;
    to preempt is to shift it.
    """

    def __init__(self, explorer: _Explorer, preemptions: int | None) -> None:
        self._explorer = explorer
        self._bounded = preemptions is not None
        self._mask = (1 << _FIELD * (1 + (preemptions or 0))) - 1
        self._waiting: dict[tuple[int, int], dict[State, _Reached]] = {}
        self._order: list[tuple[int, int]] = []
        self.interleavings = self.states = self.steps = 0

    def run(self, begin: State) -> None:
        """Go through all of them."""
        depth = sum(mind.depth for mind in begin[1])
        self._reach((0, depth), begin, None).ways[_NOBODY] = 1
        while self._order:
            rank = heapq.heappop(self._order)
            for state, reached in self._waiting.pop(rank).items():
                self._go_on(rank, state, reached)

    def _reach(self, rank: tuple[int, int], state: State, last: Path | None) -> _Reached:
        states = self._waiting.get(rank)
        if states is None:
            states = self._waiting[rank] = {}
            heapq.heappush(self._order, rank)
        reached = states.get(state)
        if reached is None:
            reached = states[state] = _Reached(last)
        return reached

    def _go_on(self, rank: tuple[int, int], state: State, reached: _Reached) -> None:
        disk, minds = state
        ready = [index for index, mind in enumerate(minds) if mind.can_go_on(disk)]
        ways = reached.ways
        if not ready:
            self._explorer.end(state, reached.last)
            self.interleavings += sum(_added_up(way) for way in ways.values())
            return
        self.states += 1
        if not self.states % 1_000:
            self._explorer.check_bound()
        last = reached.last
        if not self._bounded:
            for index in ready:
                self._choose(rank, state, index, (last, minds[index].name), ways)
        else:
            theirs = {turn: way for turn, way in ways.items() if turn in ready}
            free = sum(way for turn, way in ways.items() if turn not in theirs)
            taken = sum(theirs.values())
            for index in ready:
                own = theirs.get(index, 0)
                way = free + own + ((taken - own << _FIELD) & self._mask)
                if way:
                    self._choose(rank, state, index, (last, minds[index].name), {index: way})
        if sum(mind.killed for mind in minds) < self._explorer.kills:
            for index, mind in enumerate(minds):
                if mind.can_die:
                    self._choose(rank, state, index, (last, "!" + mind.name), ways)

    def _choose(
        self, rank: tuple[int, int], state: State, index: int, path: Path, ways: dict[int, int]
    ) -> None:
        """Make a choice, of which the path is told, and note where it leads."""
        self.steps += 1
        minds = state[1]
        over, depth = rank
        mind, disk = self._explorer.take(state, index, path)
        depth -= minds[index].depth
        rank = (over + 1, depth) if mind.over else (over, depth + mind.depth)
        after = (*minds[:index], mind, *minds[index + 1 :])
        reached = self._reach(rank, (disk, after), path).ways
        for turn, way in ways.items():
            # Who is over has no turn that could be taken from him.
            kept = _NOBODY if turn == _NOBODY or after[turn].over else turn
            reached[kept] = reached.get(kept, 0) + way


def _added_up(ways: int) -> int:
    total = 0
    while ways:
        total += ways & ((1 << _FIELD) - 1)
        ways >>= _FIELD
    return total


def explore(scenario: Scenario, bound: Bound, folder: Folder) -> Exploration:
    """Explore a scenario; ``folder`` is empty, and best in memory."""
    with as_processes():
        return _Explorer(scenario, bound, folder).run()

"""A scenario, and one real run of it: processes that take their steps one at a time, as told.

A :class:`Scenario` prepares a small store and names the processes that then work on it. A
:class:`Run` has it on real files and real code. After each step it looks at the disk and at each
process from outside; equal looks are one object, so that runs can be compared.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from n4a_store.repo.store import Store
from n4a_store.settings import Durability, Settings
from n4a_store.testing.sight import Disk, Sight
from n4a_store.testing.stepping import START, Knowledge, Process, Step

__all__ = ["Mind", "Role", "Run", "Scenario", "Stage"]

_SETTINGS = Settings(durability=Durability.NONE, allow_network_filesystem=True)


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


@dataclass(frozen=True, slots=True, eq=False)
class Mind:
    """A process at a stop, as seen from outside; equal ones are one object.

    Args:
        name: Whose.
        at: The step before which it stands.
        depth: A number that grows with each of its steps.
        over: Whether it will take no step any more.
        killed: Whether that is because it was killed.
        can_die: Whether it may be killed now.
        leases: The leases that it has made.
        failure: What it failed with, where that is no fair end.
    """

    name: str
    at: Step
    depth: int
    over: bool
    killed: bool
    can_die: bool
    leases: frozenset[str]
    failure: str | None
    writes: bool = field(init=False)
    waits_for: str | None = field(init=False)

    def __post_init__(self) -> None:
        # Asked for millions of times.
        object.__setattr__(self, "writes", self.at.name in {"unlink", "write"})
        object.__setattr__(self, "waits_for", self.at.path if self.at.name == "lock" else None)

    def can_go_on(self, disk: Disk) -> bool:
        """Whether it could take its step on this disk."""
        return not self.over and (self.waits_for is None or not disk.is_locked(self.waits_for))


@dataclass(slots=True)
class Stage:
    """Where the runs of one scenario are played; it makes equal looks one object.

    Args:
        scenario: The scenario.
        folder: An empty folder, best in memory.
    """

    scenario: Scenario
    folder: Path
    sight: Sight = field(default_factory=Sight)
    knowledge: Knowledge = field(default_factory=Knowledge)
    runs: int = 0
    _minds: dict[tuple[object, ...], Mind] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with Store.init(self.folder / "template", settings=_SETTINGS) as store:
            self.scenario.prepare(store)

    @property
    def minds(self) -> int:
        """How many different ones have been seen."""
        return len(self._minds)

    def begin(self) -> Run:
        """The scenario at its beginning."""
        self.runs += 1
        place = self.folder / "store"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.folder / "template", place)
        run = Run(self, _open(place), {})
        for role in self.scenario.roles:
            process = Process(
                role.name,
                _open(place),
                role.body,
                self.knowledge,
                expected=role.expected,
                collects=role.collects,
                mortal=role.mortal,
            )
            run.processes[role.name] = process
            if role.before is not None:
                process.prepare(role.before)
        for process in run.processes.values():
            process.begin()
            run.minds[process.name] = self.mind_of(process)
        run.look()
        return run

    def mind_of(self, process: Process) -> Mind:
        """Look at a process."""
        can_die = process.begun and process.mortal and not process.over
        failure = None if process.failure is None else repr(process.failure)
        # Where it was when it was killed, and what it had made, is nobody's concern.
        at = START if process.over else process.at
        made = frozenset() if process.over else frozenset(process.leases)
        ids = 0 if process.over else process.ids
        key = (process.name, process.seen, at, made, ids, process.over, can_die, failure)
        found = self._minds.get(key)
        if found is None:
            depth = self.knowledge.depth(process.seen)
            killed = process.killed
            found = Mind(process.name, at, depth, process.over, killed, can_die, made, failure)
            self._minds[key] = found
        return found


def _open(place: Path) -> Store:
    store = Store.open(place, settings=_SETTINGS)
    store.sessions.ends_when_idle = False  # nothing here happens by the clock
    return store


@dataclass(slots=True)
class Run:
    """One run of a scenario.

    Args:
        stage: Where.
        store: The store as a bystander has it open.
        processes: By name.
        trace: The steps taken, for people.
        choices: The same, for :meth:`take`.
        minds: What a look at the processes finds now.
        disk: What the last look at the disk found, or should have.
    """

    stage: Stage
    store: Store
    processes: dict[str, Process]
    trace: list[str] = field(default_factory=list)
    choices: list[str] = field(default_factory=list)
    minds: dict[str, Mind] = field(default_factory=dict)
    disk: Disk = field(init=False)
    _catalog: dict[str, Hashable] | None = None
    _packs: dict[str, str] = field(default_factory=dict)
    _next: str | None = None
    _error: Exception | None = None

    def look(self) -> Disk:
        """Look at the disk."""
        if self._catalog is None:
            self._catalog = self.stage.sight.catalog_of(self.store)
        self.disk = self.stage.sight.look(self.store, self._catalog, self._packs)
        return self.disk

    def take(self, choice: str) -> None:
        """Let a process take its step, or kill it.

        Args:
            choice: Its name, with ``!`` before it to kill it.
        """
        choices = iter((choice,))
        self.play(lambda: next(choices, None))
        self.look()

    def play(self, ask: Callable[[], str | None]) -> None:
        """Take steps for as long as ``ask``, which is asked after each of them, names one.

        It is asked in any thread, and nothing else runs meanwhile. Of what a step did, only the
        mind of its process has been looked at by then.
        """
        choice = ask()
        while choice is not None:
            process = self.processes[choice.removeprefix("!")]
            self._begin_step(process, choice)
            if choice.startswith("!"):
                process.kill()
            else:
                process.advance(partial(self._goes_on, process, ask))
                if self._error is not None:
                    raise self._error
            if process.over:
                self._end_step(process)
                choice = ask()
            else:
                choice = self._next

    def _goes_on(self, process: Process, ask: Callable[[], str | None]) -> bool:
        """In the thread of a process that has come to a stop: whether it is its turn again."""
        try:
            self._end_step(process)
            self._next = ask()
        except Exception as error:  # noqa: BLE001 - it belongs to whoever plays the run
            self._error = error
            return False
        if self._next != process.name:
            return False
        self._begin_step(process, self._next)
        return True

    def _begin_step(self, process: Process, choice: str) -> None:
        self.choices.append(choice)
        if choice.startswith("!"):
            self.trace.append(f"{process.name} is killed before: {process.at}")
        else:
            self.trace.append(f"{process.name}: {process.at}")
            process.begun = True
            if process.at.name == "catalog-commit":
                self._catalog = None

    def _end_step(self, process: Process) -> None:
        self.minds[process.name] = self.stage.mind_of(process)

    def end(self) -> None:
        """Leave nothing behind."""
        for process in self.processes.values():
            if not process.over:
                process.kill()
            process.join()
            process.store.catalog.close()
            process.store.odb.close()
        self.store.close()

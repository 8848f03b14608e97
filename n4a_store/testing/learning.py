"""What the steps of processes do, learned from real runs.

What a process does from one stop to the next follows from what it has seen before (its
:class:`~n4a_store.testing.scenario.Mind`) and from what it meets on the disk meanwhile. Each real
step is noted with the paths that mattered for it and their state at that moment. A step of an equal
mind that meets an equal state at these paths has the same effect, whatever else differs; so it
need not be taken again, and a state of all processes can be explored without being played.

Nothing is taken on trust: each real run is compared with what was learned, step by step, and a
difference is an error of this kit, :class:`LearningError`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from n4a_store.testing.scenario import Mind, Run
from n4a_store.testing.sight import Change, Disk, Sight

__all__ = ["Effect", "Learned", "LearningError"]

Effect = tuple[Mind, Disk]


class LearningError(Exception):
    """A real step did something else than what was learned of it."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    mind: Mind
    changes: tuple[Change, ...]


@dataclass(slots=True)
class _Look:
    """What mattered next: a path, and what follows for each state of it."""

    path: str
    found: dict[Hashable, _Look | _Outcome] = field(default_factory=dict)


@dataclass(slots=True)
class Learned:
    """What has been learned of one scenario.

    Args:
        sight: Which makes its disks.
        steps: How many different steps of processes: a mind, what it met, what it did.
        compared: How many real steps were compared with what had been learned before.
    """

    sight: Sight
    steps: int = 0
    compared: int = 0
    _roots: dict[tuple[Mind, bool], _Look | _Outcome] = field(default_factory=dict)
    # By mind and whether it is killed, then by disk.
    _effects: tuple[dict[Mind, dict[Disk, Effect]], ...] = field(
        default_factory=lambda: (defaultdict(dict), defaultdict(dict))
    )

    def effect(self, mind: Mind, kill: bool, disk: Disk) -> Effect | None:
        """The mind and the disk after a step, None when it has not been learned."""
        effects = self._effects[kill][mind]
        effect = effects.get(disk)
        if effect is None:
            at = self._roots.get((mind, kill))
            while isinstance(at, _Look):
                at = at.found.get(disk.value(at.path))
            if at is None:
                return None
            effect = effects[disk] = (at.mind, self.sight.after(disk, at.changes))
        return effect

    def play(self, run: Run, ask: Callable[[], str | None]) -> None:
        """Take the steps of a real run that ``ask`` names, one by one, and learn from them.

        Of a step that was learned before, its process is compared at once; the disk before the
        next step that was not, or at the end.

        Raises:
            LearningError: One did something else than it should have.
        """
        taken: tuple[Mind, bool, Effect | None] | None = None

        def ask_next() -> str | None:
            nonlocal taken
            if taken is not None:
                self._learn(run, *taken)
            choice = ask()
            if choice is None:
                self._compare(run, (run.minds[run.choices[-1].removeprefix("!")], run.disk))
                return None
            mind, kill = run.minds[choice.removeprefix("!")], choice.startswith("!")
            taken = (mind, kill, self.effect(mind, kill, run.disk))
            if taken[2] is None and run.choices:
                self._compare(run, (run.minds[run.choices[-1].removeprefix("!")], run.disk))
            return choice

        run.play(ask_next)

    def _learn(self, run: Run, mind: Mind, kill: bool, known: Effect | None) -> None:
        now = run.minds[mind.name]
        if known is not None:
            self.compared += 1
            if known[0] is not now:
                raise LearningError(_difference(run, known, (now, run.disk)))
            run.disk = known[1]
            return
        before = run.disk
        changes = before.changes_to(run.look())
        # What it changed depends on what stood there, if only on its not having been so already.
        touched = (*run.processes[mind.name].touched, *(path for path, _ in changes))
        self._note(mind, kill, before, tuple(dict.fromkeys(touched)), _Outcome(now, changes))
        known = self.effect(mind, kill, before)
        if known != (now, run.disk):
            raise LearningError(_difference(run, known, (now, run.disk)))

    def _compare(self, run: Run, known: Effect) -> None:
        if run.look() is not known[1]:
            raise LearningError(_difference(run, known, (known[0], run.disk)))

    def _note(
        self, mind: Mind, kill: bool, disk: Disk, mattered: tuple[str, ...], outcome: _Outcome
    ) -> None:
        self.steps += 1
        key: Hashable = (mind, kill)
        # Each dictionary holds what follows for a state of the path before it.
        place: dict[Hashable, _Look | _Outcome] = self._roots  # type: ignore[assignment]
        for path in mattered:
            at = place.setdefault(key, _Look(path))
            if not isinstance(at, _Look) or at.path != path:
                raise LearningError(f"{mind.name} before {mind.at} looked elsewhere than before")
            place, key = at.found, disk.value(path)
        place[key] = outcome


def _difference(run: Run, expected: Effect | None, found: Effect) -> str:
    steps = "\n".join(f"  {line}" for line in run.trace)
    if expected is None:
        return f"what was noted cannot be found again, after\n{steps}"
    disks = expected[1].changes_to(found[1])
    return f"expected {expected[0]}, found {found[0]}; on the disk {disks}; after\n{steps}"

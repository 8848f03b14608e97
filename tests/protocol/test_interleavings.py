"""Every interleaving of the protocol's steps, up to a stated bound, on the real code.

The quick form takes the processes that must meet, and goes through all that one preemption can do
to them, and through one death at any step. ``make explore`` goes to the end with three preemptions
and one death. ``make slow`` gives each scenario with all of its processes ``N4A_TORTURE_SECONDS``
and any number of preemptions.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from pathlib import Path

import pytest

from n4a_store.repo.store import Store
from n4a_store.storage.leases import list_leases
from n4a_store.testing import seams
from n4a_store.testing.explorer import Bound, Exploration, explore
from n4a_store.testing.invariants import Broken
from n4a_store.testing.learning import LearningError
from n4a_store.testing.replay import follow, replay
from n4a_store.testing.scenario import Role, Scenario
from n4a_store.testing.stepping import Process
from tests.protocol import scenarios as s
from tests.protocol.seen_refs import ADOPT_SEEN

MEMORY = Path("/dev/shm")

# Who must meet whom: without its bystanders a scenario takes a second or so.
DUELS = (
    (s.DEDUPE, ("writer1", "gc")),
    (s.ADOPT, ("writer1", "writer2", "gc")),
    (s.INCOMPLETE, ("writer1", "gc")),
    (s.UNDO, ("writer1", "gc")),
    (s.REPACK, ("writer1", "repack")),
    (s.SPARSE, ("writer1", "gc")),
    (s.TWO_GCS, ("gc1", "gc2")),
    (s.READER, ("writer1", "gc", "reader1")),
    (s.SEAT, ("writer1", "gc")),
    (s.APPEND, ("writer1", "writer2")),
    (ADOPT_SEEN, ("writer1", "writer2", "gc")),
)
DEATHS = (
    (s.UNDO, ("writer1", "gc")),
    (s.REPACK, ("writer1", "repack")),
    (s.TWO_GCS, ("gc1", "gc2")),
)


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty folder, in memory where there is such a place: nothing here needs a disk."""
    folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


def _tell(capsys: pytest.CaptureFixture[str], found: Exploration) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{found}")


def _ids(pairs: Iterable[tuple[Scenario, tuple[str, ...]]]) -> list[str]:
    return [scenario.name for scenario, _ in pairs]


@pytest.mark.parametrize(("scenario", "names"), DUELS, ids=_ids(DUELS))
def test_one_preemption(
    scenario: Scenario,
    names: tuple[str, ...],
    place: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = explore(scenario.only(*names), Bound(preemptions=1, kills=0), place)
    _tell(capsys, found)
    assert found.violation is None, str(found.violation)
    assert found.complete
    assert found.interleavings > found.ends > 1


@pytest.mark.parametrize(("scenario", "names"), DEATHS, ids=_ids(DEATHS))
def test_somebody_is_killed(
    scenario: Scenario,
    names: tuple[str, ...],
    place: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = explore(scenario.only(*names), Bound(preemptions=0, kills=1), place)
    _tell(capsys, found)
    assert found.violation is None, str(found.violation)
    assert found.complete
    assert found.interleavings > found.ends > 1


@pytest.mark.slow
@pytest.mark.parametrize("scenario", s.SCENARIOS, ids=[each.name for each in s.SCENARIOS])
def test_all_meet(
    scenario: Scenario,
    place: Path,
    torture_seconds: float,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = explore(scenario, Bound(preemptions=None, kills=1, seconds=torture_seconds), place)
    _tell(capsys, found)
    assert found.violation is None, str(found.violation)


# --- that the explorer can see at all ----------------------------------------------------------


def _forget(process: Process) -> None:
    """A writer that names what it has only seen: the mistake the protocol exists to rule out."""
    with process.store.transaction() as txn:
        txn._known[s.blob(s.STALE).raw] = 1
        tree = txn.put_tree({"stale": s.blob(s.STALE)})
        txn.set_ref("refs/tags/one", tree)
        s.commit(process, txn, "refs/tags/one", tree)


FORGETFUL = Scenario("a writer that breaks the rules", s.DEDUPE.prepare, (
    s.writer("writer1", _forget), s.collector(),
))  # fmt: skip


def test_a_broken_rule_is_found_and_its_steps_can_be_repeated(place: Path) -> None:
    found = explore(FORGETFUL, Bound(preemptions=1, kills=0), place / "a")
    assert found.violation is not None
    assert "missing" in found.violation.what or "cannot be read" in found.violation.what
    with pytest.raises(Broken):
        list(replay(FORGETFUL, found.violation.choices, place / "b"))


def test_a_small_scenario_is_gone_through_completely(place: Path) -> None:
    def look(process: Process) -> None:
        for _ in range(2):
            process.store.refs()

    two = Scenario("two readers", lambda store: None, (Role("a", look), Role("b", look)))
    found = explore(two, Bound(preemptions=9, kills=0), place)
    assert found.complete
    # Each takes two steps, and reads commute: a grid of 3 by 3 states, less the end.
    assert found.states == 8


def test_a_bound_that_stops_it_is_told(place: Path) -> None:
    found = explore(s.UNDO.only("writer1", "gc"), Bound(preemptions=1, kills=0, runs=6), place)
    assert not found.complete
    assert "not all" in str(found)
    assert found.runs >= 6


def test_what_is_forgotten_makes_no_difference(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To forget what a function has looked at leaves out no order of steps, and no end."""
    scenario, bound = s.UNDO.only("writer1", "gc"), Bound(preemptions=1, kills=0)
    found = explore(scenario, bound, place / "a")
    monkeypatch.setattr(seams, "_FORGETFUL", ())
    without = explore(scenario, bound, place / "b")
    assert (found.interleavings, found.ends) == (without.interleavings, without.ends)
    assert found.learned < without.learned


def test_the_number_of_interleavings_is_that_of_playing_each(place: Path) -> None:
    """Two processes of two and three steps: each order of them, and each with few preemptions."""

    def look(times: int) -> Callable[[Process], None]:
        def body(process: Process) -> None:
            for _ in range(times):
                process.store.refs()

        return body

    two = Scenario("2 and 3 steps", lambda store: None, (Role("a", look(2)), Role("b", look(3))))
    counts = [
        explore(two, Bound(preemptions=most, kills=0), place / str(most)).interleavings
        for most in (0, 1, None)
    ]
    # One after the other; one of them interrupted once (1 + 2 moments); 5 choose 2.
    assert counts == [2, 2 + 1 + 2, 10]


def test_a_step_that_depends_on_what_nobody_told_is_noticed(place: Path) -> None:
    """The kit must not go on with what it has learned wrongly."""
    hidden: list[str] = []

    def look(process: Process) -> None:
        process.store.refs()
        hidden.append(process.name)
        for _ in range(len(hidden) % 3):
            process.store.refs()

    two = Scenario("hidden", lambda store: None, (Role("a", look), Role("b", look)))
    with pytest.raises(LearningError):
        explore(two, Bound(preemptions=2, kills=0), place)


def test_to_remove_a_name_that_has_gone_is_no_harm(place: Path) -> None:
    """gc took a lease for dead that was not locked yet; its owner has given it up by now."""
    scenario = s.READER.only("writer1", "gc")
    plan = (
        ("writer1", "lock leases"),
        ("gc", "lock commit.lock"),  # has listed it among the dead
        ("writer1", "unlink leases"),  # is about to give it up, and to take another
        ("gc", "unlink leases"),
        ("gc", "try-lock leases"),  # has opened it, to see whether it is dead still
        ("writer1", "create leases"),
        ("gc", ""),
    )
    follow(scenario, plan, place)


def test_a_look_at_the_end_of_a_pack_is_a_step(place: Path) -> None:
    """gc may take a pack away just before; others must be able to come in between."""

    def prepare(store: Store) -> None:
        for number in range(5):
            s.put(store, f"refs/tags/{number}", b"%d" % number)

    alone = Scenario("ends", prepare, (s.writer("writer", s.write("refs/tags/new", b"new")),))
    steps = takewhile(
        lambda step: "catalog-commit" not in step, replay(alone, ("writer",) * 12, place)
    )
    ends = [step for step in steps if step.startswith("writer: map packs/")]
    assert len(ends) == len(set(ends)) == 5


def test_a_killed_process_leaves_its_files_and_frees_its_locks(place: Path) -> None:
    def hold(process: Process) -> None:
        with process.store.transaction() as txn:
            txn.set_ref("refs/tags/one", txn.put_blob(b"x"))

    seen: list[tuple[str, ...]] = []

    def look(process: Process) -> None:
        found = list_leases(process.store.layout.leases)
        seen.append(tuple("alive" if info.alive else "dead" for info in found))

    pair = Scenario("kill", lambda store: None, (s.writer("writer", hold), Role("look", look)))
    steps = ["writer"] * 3
    list(replay(pair, (*steps, "look", "look"), place / "a"))
    list(replay(pair, (*steps, "!writer", "look", "look"), place / "b"))
    assert seen == [("alive",), ("dead",)]

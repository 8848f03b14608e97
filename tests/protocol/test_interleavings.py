"""Every interleaving of the protocol's steps, up to a stated bound, on the real code.

The quick form takes few processes and a bounded, seeded sample of one preemption and one kill. The
long form (``make torture``) takes all of them with three preemptions and one kill and goes on for
``N4A_TORTURE_SECONDS`` a scenario, fewest preemptions first; what it explored stands in the output.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from n4a_store.storage.leases import list_leases
from n4a_store.testing.explorer import Bound, Exploration, Role, Scenario, explore, replay
from n4a_store.testing.invariants import Broken
from n4a_store.testing.stepping import Process
from tests.protocol import scenarios as s

MEMORY = Path("/dev/shm")

# Who must meet whom, and how many runs find out: a scenario without its bystanders is small enough
# to be gone through with one preemption in a second or two.
DUELS = (
    (s.DEDUPE, ("writer1", "gc")),
    (s.ADOPT, ("writer1", "writer2", "gc")),
    (s.INCOMPLETE, ("writer1", "gc")),
    (s.UNDO, ("writer1", "gc")),
    (s.HELD, ("run", "worker", "gc")),
    (s.REPACK, ("writer1", "repack")),
    (s.SPARSE, ("writer1", "gc", "reader")),
    (s.TWO_GCS, ("gc1", "gc2")),
    (s.READER, ("writer1", "gc", "reader1")),
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


@pytest.mark.parametrize(("scenario", "names"), DUELS, ids=[duel[0].name for duel in DUELS])
def test_duels(
    scenario: Scenario,
    names: tuple[str, ...],
    place: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bound = Bound(preemptions=1, kills=0, runs=40)
    found = explore(scenario.only(*names), bound, place)
    _tell(capsys, found)
    assert found.violation is None, str(found.violation)
    assert found.interleavings > 1


@pytest.mark.parametrize("scenario", s.SCENARIOS, ids=[each.name for each in s.SCENARIOS])
def test_somebody_is_killed(
    scenario: Scenario, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = explore(scenario, Bound(preemptions=1, kills=1, runs=8), place)
    _tell(capsys, found)
    assert found.violation is None, str(found.violation)
    assert found.interleavings > 1


@pytest.mark.slow
@pytest.mark.parametrize("scenario", s.SCENARIOS, ids=[each.name for each in s.SCENARIOS])
def test_all_meet(
    scenario: Scenario,
    place: Path,
    torture_seconds: float,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = explore(scenario, Bound(preemptions=3, kills=1, seconds=torture_seconds), place)
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
    assert found.pending == 0
    # Each takes two steps, and reads commute: a grid of 3 by 3 states, less the end.
    assert found.states == 8


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

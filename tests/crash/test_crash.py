"""Every state in which a crash can leave a store opens, is clean, and holds what was promised.

The quick test checks a sample over the whole recording; the marked one goes on for
N4A_TORTURE_SECONDS, and ``python -m n4a_store.testing.crash`` tries 100,000 states and more. The
last tests prove that the suite has teeth: recordings of a program that left out one kind of sync
must be found out.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from n4a_store.storage.layout import StoreLayout
from n4a_store.testing.crash import Recording, explore, record_scenario
from n4a_store.testing.crash_scenario import STORE, operations
from n4a_store.testing.recorder import Call, RecorderMissing


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    try:
        return record_scenario(tmp_path_factory.mktemp("recording"))
    except RecorderMissing as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture
def scratch() -> Iterator[Path]:
    memory = Path("/dev/shm")
    usable = memory.is_dir() and os.access(memory, os.W_OK)
    with tempfile.TemporaryDirectory(dir=memory if usable else None) as folder:
        yield Path(folder)


def test_a_sample_of_all_crash_states(recording: Recording, scratch: Path) -> None:
    report = explore(recording, scratch, seed=1, random_ones=2, sample=0.015)
    assert report.findings == []
    assert report.states > 30
    # The sample reaches every part of the scenario.
    assert report.rounds == 1
    assert report.by_operation.keys() >= {name for name, _ in operations()}


@pytest.mark.slow
@pytest.mark.torture
def test_crash_states(recording: Recording, scratch: Path, torture_seconds: float) -> None:
    report = explore(
        recording, scratch, seed=2, random_ones=10, sample=0.03, most=10**9, seconds=torture_seconds
    )
    assert report.findings == []
    assert report.states > 100
    assert report.rounds > 0, "not one round in this time"


def test_a_number_of_states_is_reached_by_whole_rounds(recording: Recording, scratch: Path) -> None:
    """However few are asked for, no operation is left out because others came first."""
    report = explore(recording, scratch, seed=4, random_ones=1, sample=0.01, most=1)
    assert (report.rounds, report.findings) == (1, [])
    assert report.states > 1
    assert "adoption of packs" in report.by_operation


def without(recording: Recording, unsynced: set[str]) -> Recording:
    """The recording of a program that does not sync what is in ``unsynced``: kinds of files."""
    names: dict[int, str] = {}
    calls: list[Call] = []
    layout = StoreLayout(Path(recording.root, STORE))
    for call in recording.calls:
        if call.kind in "CM":
            path = Path(call.path)
            kind = {layout.packs.name: "packs", layout.catalog.name: "catalog"}.get(path.name)
            if path.name == f"{layout.catalog.name}-journal":
                kind = "journal"
            names[call.inode] = kind or ("pack" if path.suffix == ".n4p" else "other")
        if call.kind == "F" and names.get(call.inode) in unsynced:
            continue
        calls.append(call)
    assert len(calls) < len(recording.calls)
    return Recording(recording.root, calls)


@pytest.mark.parametrize("kind", ["pack", "packs", "catalog", "journal"])
def test_a_program_that_leaves_out_a_sync_is_found_out(
    recording: Recording, scratch: Path, kind: str
) -> None:
    report = explore(without(recording, {kind}), scratch, seed=3, random_ones=4, findings=1)
    assert report.findings

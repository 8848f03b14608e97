"""Orders of steps that were holes once, or would be if a single step were other than it is.

Each stands in the space that the explorer goes through, some of them three preemptions deep; here
they are run every time.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from n4a_store.testing.replay import follow
from n4a_store.testing.scenario import Scenario
from tests.protocol import scenarios as s

MEMORY = Path("/dev/shm")

Plan = tuple[tuple[str, str], ...]

ORDERS: dict[str, tuple[Scenario, Plan]] = {
    "a lease lasts until its commit is done": (
        s.DEDUPE,
        (("writer1", "lock commit.lock"), ("gc", ""), ("writer1", "")),
    ),
    "a commit between gc's list of files and its look at the leases": (
        s.DEDUPE,
        (("writer1", "lock commit.lock"), ("gc", "try-lock leases"), ("writer1", "")),
    ),
    "a commit between the look at the leases and the read of the rows": (
        s.DEDUPE,
        (("writer1", "lock commit.lock"), ("gc", "catalog-read#3"), ("writer1", "")),
    ),
    "a writer that reads before the condemnation, and relies after the look at the leases": (
        s.DEDUPE,
        (
            ("writer1", "write leases"),
            ("gc", "lock commit.lock#3"),
            ("writer1", "lock commit.lock"),
            ("gc", ""),
        ),
    ),
    "a writer that begins while gc is about to commit its condemnation": (
        s.DEDUPE,
        (("gc", "catalog-commit#2"), ("writer1", "lock commit.lock"), ("gc", "")),
    ),
    "a commit after the mark and before the condemnation": (
        s.DEDUPE,
        (("gc", "lock commit.lock#2"), ("writer1", ""), ("gc", "")),
    ),
    "gc removes a lease that is not locked yet": (
        s.DEDUPE,
        (("writer1", "lock leases"), ("gc", ""), ("writer1", "")),
    ),
    "a lease that is locked after gc has taken it for a dead one's": (
        s.DEDUPE,
        (
            ("writer1", "lock leases"),
            ("gc", "lock commit.lock"),
            ("writer1", "lock commit.lock"),
            ("gc", ""),
        ),
    ),
    "what was adopted loses its ref and its pack before the commit": (
        s.ADOPT,
        (("writer1", "lock commit.lock"), ("writer2", ""), ("gc", ""), ("writer1", "")),
    ),
    "a ref that moves vouches for what it holds now": (
        s.ADOPT_FROM_MOVING,
        (("writer1", "lock commit.lock"), ("writer2", ""), ("gc", ""), ("writer1", "")),
    ),
    "a dead tree in a living pack loses its child": (
        s.INCOMPLETE,
        (("writer1", "lock commit.lock"), ("gc", ""), ("writer1", "")),
    ),
    "an undo that began before the expiry and ends after it": (
        s.UNDO,
        (("writer1", "lock commit.lock"), ("gc", ""), ("writer1", "")),
    ),
    "an undo after the expiry, before the condemnation": (
        s.UNDO,
        (("gc", "lock commit.lock#2"), ("writer1", ""), ("gc", "")),
    ),
    "a worker commits while gc marks": (
        s.HELD,
        (("gc", "lock commit.lock#2"), ("worker", ""), ("gc", ""), ("run", "")),
    ),
    "a worker commits, gc runs, the run adopts": (
        s.HELD,
        (("worker", ""), ("gc", ""), ("run", "")),
    ),
    "a writer relies on a sparse pack that has been copied": (
        s.SPARSE,
        (("gc", "lock commit.lock#2"), ("writer1", ""), ("gc", "")),
    ),
    "a writer plans again after gc has condemned what it relies on": (
        s.APPEND,
        (
            ("writer1", "lock commit.lock"),
            ("writer2", ""),
            ("gc", "lock commit.lock#2"),
            ("writer1", "lock commit.lock"),
            ("gc", ""),
            ("writer1", ""),
        ),
    ),
    "gc runs while a writer's packs stand without a row and it plans again": (
        s.APPEND,
        (
            ("writer1", "lock commit.lock"),
            ("writer2", ""),
            ("writer1", "lock commit.lock"),
            ("gc", ""),
            ("writer1", ""),
        ),
    ),
    "a reader's ref comes and goes": (
        s.READER,
        (
            ("writer1", "create leases#2"),
            ("reader1", "catalog-read#3"),
            ("writer1", ""),
            ("gc", ""),
            ("reader1", ""),
        ),
    ),
    "a reader that began before the ref came": (
        s.READER,
        (
            ("reader1", "catalog-read#2"),
            ("writer1", "create leases#2"),
            ("reader1", "catalog-read#2"),
            ("writer1", ""),
            ("gc", ""),
            ("reader1", ""),
        ),
    ),
    "a writer relies on a pack that is being merged": (
        s.REPACK,
        (("writer1", "lock commit.lock"), ("repack", ""), ("writer1", "")),
    ),
    "a merged pack is condemned again before its writer commits": (
        s.REPACK_THEN_GC,
        (("writer1", "lock commit.lock"), ("repack", ""), ("gc", ""), ("writer1", "")),
    ),
}


@pytest.fixture
def place() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(("scenario", "plan"), ORDERS.values(), ids=ORDERS)
def test_an_order_of_steps(scenario: Scenario, plan: Plan, place: Path) -> None:
    # Nobody else: whoever puts the same object again would hide that it was lost.
    follow(scenario.only(*(name for name, _ in plan)), plan, place)

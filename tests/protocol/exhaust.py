"""Go through every interleaving of the scenarios, up to a bound, and print how many there were.

    python -m tests.protocol.exhaust [--preemptions N|any] [--kills N] [--seconds N] [WORD ...]

Two writers, a gc and a reader meet in the first line; in the others, those of a scenario's
processes without which it would be no other scenario (``--all``: all of them). A WORD chooses the
scenarios whose names hold it. It ends with 1 when an invariant broke or a bound was not exhausted.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
from pathlib import Path

from n4a_store.testing.explorer import Bound, Exploration, explore
from n4a_store.testing.scenario import Scenario
from tests.protocol import scenarios as s
from tests.protocol.seen_refs import ADOPT_SEEN

MEMORY = Path("/dev/shm")

CASTS = (
    s.DEDUPE,
    s.ADOPT.only("writer1", "writer2", "gc"),
    s.ADOPT_FROM_MOVING.only("writer1", "writer2", "gc"),
    s.INCOMPLETE.only("writer1", "gc", "reader"),
    s.UNDO.only("writer1", "gc", "reader"),
    s.HELD.only("run", "worker", "gc"),
    s.HELD_TWICE.only("worker1", "worker2", "gc"),
    s.REPACK.only("writer1", "repack", "reader"),
    s.REPACK_THEN_GC,
    s.TWO_GCS.only("gc1", "gc2", "writer1"),
    s.SPARSE.only("writer1", "gc", "reader"),
    s.READER,
    s.SEAT.only("writer1", "gc"),
    s.APPEND.only("writer1", "writer2", "gc"),
    ADOPT_SEEN.only("writer1", "writer2", "gc"),
)


def run(scenario: Scenario, bound: Bound) -> Exploration:
    """Explore in a folder of its own, in memory where there is such a place."""
    folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
    try:
        return explore(scenario, bound, folder)
    finally:
        shutil.rmtree(folder)


def main(arguments: list[str]) -> int:
    """Explore what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.protocol.exhaust")
    parser.add_argument("words", nargs="*", metavar="WORD", help="part of a scenario's name")
    parser.add_argument("--preemptions", default="3", help="a number or 'any' (3)")
    parser.add_argument("--kills", type=int, default=1, help="how many may be killed (1)")
    parser.add_argument("--seconds", type=float, help="give up a scenario after so long")
    parser.add_argument("--all", action="store_true", help="with every process there is")
    parser.add_argument("--verbose", action="store_true", help="tell of each smaller bound, too")
    asked = parser.parse_args(arguments)
    preemptions = None if asked.preemptions == "any" else int(asked.preemptions)
    bound = Bound(preemptions, asked.kills, seconds=asked.seconds)
    if asked.verbose:
        logging.basicConfig(level=logging.ERROR, format="  %(message)s", stream=sys.stdout)
        logging.getLogger("n4a_store.testing.explorer").setLevel(logging.INFO)
    every = (*s.SCENARIOS, ADOPT_SEEN) if asked.all else CASTS
    chosen = [
        scenario
        for scenario in every
        if not asked.words or any(word in scenario.name for word in asked.words)
    ]
    if not chosen:
        names = "\n  ".join(scenario.name for scenario in every)
        parser.error(f"no scenario is called so; there are:\n  {names}")
    sound = True
    for scenario in chosen:
        found = run(scenario, bound)
        sys.stdout.write(f"{found}\n")
        if found.violation is not None:
            sys.stdout.write(f"{found.violation}\n")
        sys.stdout.flush()
        sound &= found.violation is None and found.complete
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The driver: fit the workload, give every peer its turns, print the tables.

    python -m benchmarks.peers [--form small|full] [--rounds N] [--seconds S] [--peers a,b,…]

Rounds go A B C A B C, each turn in a process and a folder of its own. No round begins that would
probably end after ``--seconds``; the first always does.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.peers import table, workload
from benchmarks.peers.roster import PEERS

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
_TURN_SECONDS = 3_600


def turn(key: str, path: Path) -> dict[str, Any]:
    """One turn of one peer.

    Raises:
        RuntimeError: Its process failed, or brought something back changed.
    """
    with tempfile.TemporaryDirectory(dir=RESULTS, prefix=f"{key}-") as folder:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.peers.worker", key, str(path), folder],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=_TURN_SECONDS,
            check=False,
        )
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def participants(form: str, wanted: str) -> tuple[list[str], dict[str, str]]:
    """Who takes part, and who does not and why."""
    chosen = wanted.split(",") if wanted else list(PEERS)
    skipped: dict[str, str] = {}
    for key in chosen:
        if key not in PEERS:
            sys.exit(f"error: no peer {key!r}\nhint: one of {', '.join(PEERS)}")
        missing = PEERS[key].missing()
        if missing is not None:
            skipped[key] = missing
        elif PEERS[key].heavy and form != "full" and not wanted:
            skipped[key] = "slow: in the full form only (make bench-full)"
    return [key for key in chosen if key not in skipped], skipped


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers")
    parser.add_argument("--form", choices=sorted(workload.FORMS), default="small")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=170.0)
    parser.add_argument("--peers", default="", help="by key, with commas: " + ",".join(PEERS))
    chosen = parser.parse_args()
    began = time.monotonic()
    fitted, path = workload.load(chosen.form, chosen.seed, RESULTS)
    print(
        f"workload {chosen.form}, seed {chosen.seed}: {fitted.registrations} registrations of "
        f"{len(fitted.objects)} objects, digest {fitted.digest}",
        flush=True,
    )
    keys, skipped = participants(chosen.form, chosen.peers)
    output = RESULTS / f"peers-{chosen.form}-{time.strftime('%Y%m%d-%H%M%S')}.jsonl"
    lines: list[dict[str, Any]] = []
    longest = 0.0
    for number in range(chosen.rounds):
        start = time.monotonic()
        if number and start - began + longest > chosen.seconds:
            break
        for key in list(keys):
            try:
                line = turn(key, path)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                skipped[key] = f"FAILED: {error}"
                keys.remove(key)
                continue
            line |= {"round": number, "form": chosen.form, "digest": fitted.digest}
            lines.append(line)
            with output.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(f"  round {number + 1}: {PEERS[key].name}", file=sys.stderr, flush=True)
        longest = max(longest, time.monotonic() - start)
    print(table.render(table.collect(lines), skipped))
    print(f"\n{len(lines)} turns in {time.monotonic() - began:.0f} s; {output.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

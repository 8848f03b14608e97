"""How long `n4a-store --help` takes, beside a bare click program and a bare interpreter.

The promise: within 1.5 times of a program that does nothing but import click and show its help.
The three are started in turn, so that a busy moment of the machine hits all of them; medians and
their ratios are printed.

    python benchmarks/startup.py [ROUNDS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path

PROMISE = 1.5
DEFAULT_ROUNDS = 21

BARE_CLICK = """
import click

@click.group()
def main():
    "A program that does nothing."

main(["--help"])
"""


def seconds(command: Sequence[str]) -> float:
    """The wall time of one start, from spawn to exit."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def contenders() -> dict[str, list[str]]:
    """What is started, by the name shown in the table."""
    script = Path(sysconfig.get_path("scripts")) / "n4a-store"
    return {
        "python -c pass": [sys.executable, "-c", "pass"],
        "bare click --help": [sys.executable, "-c", BARE_CLICK],
        "n4a-store --help": [str(script), "--help"],
    }


def measure(rounds: int) -> dict[str, float]:
    """Median seconds by contender, interleaved, after one start each that fills the caches."""
    commands = contenders()
    times: dict[str, list[float]] = {name: [] for name in commands}
    for command in commands.values():
        seconds(command)
    for _ in range(rounds):
        for name, command in commands.items():
            times[name].append(seconds(command))
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Measure and print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_ROUNDS
    medians = measure(rounds)
    rival = medians["bare click --help"]
    print(f"start-up, median of {rounds} interleaved rounds")
    for name, median in medians.items():
        print(f"  {name:<18} {median * 1000:7.1f} ms   {median / rival:5.2f} x bare click")
    ratio = medians["n4a-store --help"] / rival
    print(f"promise: at most {PROMISE} x; measured {ratio:.2f} x: {verdict(ratio)}")


def verdict(ratio: float) -> str:
    """Whether the promise holds, in a word."""
    return "kept" if ratio <= PROMISE else "BROKEN"


if __name__ == "__main__":
    main()

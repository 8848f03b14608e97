"""How long commands take to start and answer, beside git's and a bare interpreter.

The promise: `artifacts stats` answers from counters that every commit keeps, so ten thousand
artifacts cost little more than none. Contenders are started in turn; medians and their ratio to
`python -c pass` are printed. git's figures are those of its own small repository: its
`count-objects -v` counts files, which is what comes nearest.

    python benchmarks/commands.py [ROUNDS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from n4a_store.artifacts.registry import ArtifactRegistry
from n4a_store.artifacts.types import ArtifactType

DEFAULT_ROUNDS = 11
PIPELINES, EACH = 100, 100


def make_workspace(path: Path, pipelines: int) -> None:
    """A dataset of so many pipelines with a hundred different artifacts each."""
    rng = np.random.default_rng(0)
    registry = ArtifactRegistry(path, "corn")
    with registry.run():
        for number in range(pipelines):
            pipeline = f"{number:04}_bench"
            for step in range(EACH):
                name = registry.generate_id(pipeline, [], step)
                registry.register({"coef": rng.normal(size=20)}, name, ArtifactType.MODEL)
            registry.complete_pipeline(pipeline)
    registry.close()


def contenders(folder: Path) -> dict[str, list[str]]:
    """What is started, by the name shown in the table."""
    program = str(Path(sysconfig.get_path("scripts")) / "n4a-store")
    subprocess.run(["git", "init", "-q", str(folder / "git")], check=True)
    git = ["git", "-C", str(folder / "git")]
    few, many = str(folder / "few"), str(folder / "many")
    return {
        "python -c pass": [sys.executable, "-c", "pass"],
        "git --version": ["git", "--version"],
        "git count-objects -v": [*git, "count-objects", "-v"],
        "n4a-store --help": [program, "--help"],
        "count-objects -v": [program, "-w", many, "count-objects", "-v"],
        "stats, 100 artifacts": [program, "-w", few, "artifacts", "stats"],
        "stats, 10 000 artifacts": [program, "-w", many, "artifacts", "stats"],
    }


def seconds(command: Sequence[str]) -> float:
    """The wall time of one start, from spawn to exit."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Measure and print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_ROUNDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_workspace(folder / "few", 1)
        make_workspace(folder / "many", PIPELINES)
        commands = contenders(folder)
        times: dict[str, list[float]] = {shown: [] for shown in commands}
        for command in commands.values():
            seconds(command)
        for _ in range(rounds):
            for shown, command in commands.items():
                times[shown].append(seconds(command))
    medians = {shown: statistics.median(values) for shown, values in times.items()}
    bare = medians["python -c pass"]
    print(f"commands, median of {rounds} interleaved rounds")
    for shown, median in medians.items():
        print(f"  {shown:<24} {median * 1000:7.1f} ms   {median / bare:5.2f} x python -c pass")


if __name__ == "__main__":
    main()

"""What a person waits for in a large workspace: every command that lists, weighs or collects.

Pipelines of ten artifacts (a scaler, models of three folds in two branches with their meta-model,
two encoders) over runs in which most are trained again alike, some with other data. Then each
command once, in a process of its own: seconds of the clock and the peak of memory.

    python benchmarks/large_workspace.py [ARTIFACTS] [FOLDER]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from n4a_store import ArtifactRegistry, ArtifactType

# Nothing large is imported by the process that starts the commands: a child's peak of memory
# counts from what its parent had.
ARTIFACTS = 40_000
PER_PIPELINE = 10
RUNS = 40
MEGABYTE = 1024
COMMANDS = (
    "artifacts stats",
    "artifacts stats --deep",
    "artifacts log",
    "artifacts show",
    "artifacts find --type meta_model",
    "artifacts find --class ndarray",
    "artifacts find --until 2020-01-01",
    "artifacts why 0000_p:0:all",
    "artifacts du",
    "artifacts du 0000_p 0001_p 0002_p 0003_p",
    "artifacts list-orphaned",
    "artifacts gc",
    "artifacts rm 0000_p",
    "artifacts tag best 0000_p",
    "artifacts undo",
    "artifacts verify",
    "fsck",
    "fsck --full",
    "repack --compact",
    "artifacts gc --force",
    "artifacts purge",
)


def train(registry: ArtifactRegistry, pipeline: str, seed: int) -> None:
    """One pipeline of ten artifacts."""
    import numpy as np

    from n4a_store import ArtifactType

    rng = np.random.default_rng(seed)

    def keep(path: str, kind: ArtifactType, deps: list[str]) -> str:
        name = f"{pipeline}:{path}"
        registry.register(rng.normal(size=(8, 12)), name, kind, depends_on=deps)
        return name

    scaler = keep("0:all", ArtifactType.TRANSFORMER, [])
    models = [
        keep(f"{branch}:1:{fold}", ArtifactType.MODEL, [scaler])
        for branch in range(2)
        for fold in range(3)
    ]
    keep("2:all", ArtifactType.META_MODEL, models)
    for step in (3, 4):
        keep(f"{step}:all", ArtifactType.ENCODER, [])
    registry.complete_pipeline(pipeline)


def build(folder: Path, artifacts: int) -> None:
    """A workspace with so many artifacts in its newest manifests, a tenth of them trained twice."""
    from n4a_store import ArtifactRegistry, Durability, Settings, Workspace

    workspace = Workspace(folder, settings=Settings(durability=Durability.NONE))
    pipelines = artifacts // PER_PIPELINE
    with ArtifactRegistry(workspace, "corn") as registry:
        for run in range(RUNS):
            with registry.run():
                for number in range(run, pipelines, RUNS):
                    train(registry, f"{number:04d}_p", number)
                for number in range(run, pipelines // PER_PIPELINE, RUNS):
                    train(registry, f"{number:04d}_p", number + pipelines * (number % 2))


def main(artifacts: int, parent: str | None) -> None:
    """Build, and ask."""
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        began = time.perf_counter()
        asked = [sys.executable, __file__, str(artifacts), folder, "build"]
        subprocess.run(asked, check=True)
        print(f"{artifacts} artifacts, built in {time.perf_counter() - began:.0f} s")
        for command in COMMANDS:
            asked = [sys.executable, "-m", "n4a_store", "-w", folder, "-d", "corn"]
            began = time.perf_counter()
            done = subprocess.Popen([*asked, *command.split()], stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL)  # fmt: skip
            _, status, used = os.wait4(done.pid, 0)
            taken = time.perf_counter() - began
            code = os.waitstatus_to_exitcode(status)
            failed = f"  exit {code}" if code else ""
            print(f"| `{command}` | {taken:.1f} s | {used.ru_maxrss // MEGABYTE} MB |{failed}")


if __name__ == "__main__":
    if sys.argv[3:] == ["build"]:
        build(Path(sys.argv[2]), int(sys.argv[1]))
        sys.exit()
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else ARTIFACTS,
        sys.argv[2] if len(sys.argv) > 2 else None,  # noqa: PLR2004
    )

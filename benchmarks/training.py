"""What storing costs while training: beside no persistence at all, joblib.dump and pickle.dumps.

Two workloads on the fermentation spectra, each a sweep with three folds: forests, where fitting is
what takes the time, and ridge regressions, the cheapest models there are. The same steps train

- with nothing kept,
- with ``joblib.dump`` of every artifact into a file of its own, not durable,
- into a store, durable with each pipeline,
- into a store, durable with one commit when the run ends,
- into a store that is never synced: what is left is what the store itself takes.

They are run in turn, so that a busy moment of the machine hits all of them, and the medians are
compared: of the time on the wall, and of the processor's, which other programs and the disk
disturb less. The aims: forests at most 3 % over nothing kept; ridge at most 1.5 times
``pickle.dumps`` and 100 µs an artifact over it.

    python benchmarks/training.py [PIPELINES] [ROUNDS] [forest | ridge]
"""

from __future__ import annotations

import pickle
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from n4a_store.artifacts.workspace import Workspace
from n4a_store.demo.spectra import load_fermentation
from n4a_store.pipeline.context import RuntimeContext
from n4a_store.pipeline.data import check_data
from n4a_store.pipeline.fit_cache import FitCache
from n4a_store.pipeline.orchestrator import Orchestrator
from n4a_store.pipeline.plan import plan_pipelines
from n4a_store.pipeline.runner import PipelineRunner
from n4a_store.settings import CommitEach, Durability, Settings

FOREST_AIM = 1.03
MICROSECONDS = 1e6


@dataclass
class Nothing:
    """Keeps nothing."""

    count: int = 0

    def register(self, obj: Any, artifact_id: str, *args: Any, **kwargs: Any) -> None:
        self.count += 1

    def name_branch(self, *args: Any) -> None:
        pass


@dataclass
class Files(Nothing):
    """A file an artifact, as people do it."""

    folder: Path = field(default_factory=Path)

    def register(self, obj: Any, artifact_id: str, *args: Any, **kwargs: Any) -> None:
        self.count += 1
        joblib.dump(obj, self.folder / f"{artifact_id.replace(':', '_')}.joblib")


@dataclass
class Pickles(Nothing):
    """The time that ``pickle.dumps`` alone takes."""

    seconds: float = 0.0

    def register(self, obj: Any, artifact_id: str, *args: Any, **kwargs: Any) -> None:
        self.count += 1
        begun = time.perf_counter()
        pickle.dumps(obj, protocol=5)
        self.seconds += time.perf_counter() - begun


def steps(kind: str, pipelines: int) -> list[Any]:
    """A sweep of so many pipelines."""
    model: dict[str, Any] = {"_range_": [1, pipelines]}
    if kind == "forest":
        model |= {"param": "random_state", "model": RandomForestRegressor(n_estimators=50)}
    else:
        model |= {"param": "alpha", "model": Ridge()}
    return [KFold(3), StandardScaler(), model]


def train_into(sink: Nothing, kind: str, pipelines: int) -> None:
    """Train the sweep into a sink that is no store."""
    spectra = load_fermentation()
    data = check_data(spectra.X, spectra.glucose, None, None, None)
    fits = FitCache()
    for plan in plan_pipelines(steps(kind, pipelines)):
        Orchestrator(RuntimeContext(sink, plan.pipeline_id, data, fits)).train(plan.program)


def train_into_files(kind: str, pipelines: int) -> None:
    """Train the sweep with a file an artifact."""
    with tempfile.TemporaryDirectory() as folder:
        train_into(Files(folder=Path(folder)), kind, pipelines)


def train_into_store(kind: str, pipelines: int, settings: Settings = Settings()) -> None:  # noqa: B008
    """Train the sweep into a new store."""
    spectra = load_fermentation()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "w", settings=settings)
        runner = PipelineRunner(workspace, progress=lambda _: None)
        runner.run(steps(kind, pipelines), spectra.X, spectra.glucose, "fermentation")


def measure(kind: str, pipelines: int, rounds: int) -> None:
    """Print one workload's table."""
    contenders: dict[str, Callable[[], None]] = {
        "nothing kept": lambda: train_into(Nothing(), kind, pipelines),
        "joblib.dump": lambda: train_into_files(kind, pipelines),
        "store": lambda: train_into_store(kind, pipelines),
        "store, once": lambda: train_into_store(
            kind, pipelines, Settings(commit_each=CommitEach.RUN)
        ),
        "store, unsynced": lambda: train_into_store(
            kind, pipelines, Settings(durability=Durability.NONE)
        ),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    train_into(Nothing(), kind, min(pipelines, 5))
    for _ in range(rounds):
        for name, train in contenders.items():
            begun = time.perf_counter(), time.process_time()
            train()
            taken[name].append((time.perf_counter() - begun[0], time.process_time() - begun[1]))
    pickles = Pickles()
    train_into(pickles, kind, pipelines)
    dumps = pickles.seconds / pickles.count * MICROSECONDS
    medians = {name: np.median(times, axis=0) for name, times in taken.items()}
    nothing, files = medians["nothing kept"], medians["joblib.dump"]
    print(f"{kind}: {pipelines} pipelines, {pickles.count} artifacts, medians of {rounds}")
    print(f"  {'':15}      wall                          processor")
    for name, times in medians.items():
        each = (times - nothing) / pickles.count * MICROSECONDS
        shown = [
            f"{times[at]:7.2f} s {times[at] / nothing[at]:6.3f}x {each[at]:6.0f} us/artifact"
            for at in (0, 1)
        ]
        print(f"  {name:15} {'   '.join(shown)}")
    store = medians["store"]
    ratios = store / files
    print(f"  store / joblib.dump: {ratios[0]:.2f} on the wall, {ratios[1]:.2f} of the processor")
    print(f"  pickle.dumps alone: {dumps:.0f} us/artifact")
    if kind == "forest":
        print(f"  aim: at most {FOREST_AIM}x of nothing kept; here {store[0] / nothing[0]:.3f}x")
    else:
        allowed = 1.5 * dumps + 100
        each = (store - nothing) / pickles.count * MICROSECONDS
        print(f"  aim: at most {allowed:.0f} us/artifact; here {each[0]:.0f} ({each[1]:.0f} cpu)")


def main(arguments: list[str]) -> None:
    """Both workloads, or one."""
    pipelines = int(arguments[0]) if arguments else 200
    rounds = int(arguments[1]) if len(arguments) > 1 else 3
    for kind in arguments[2:3] or ("forest", "ridge"):
        measure(kind, pipelines, rounds)


if __name__ == "__main__":
    main(sys.argv[1:])

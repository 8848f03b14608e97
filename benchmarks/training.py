"""What storing costs while training: beside no persistence at all, joblib.dump and pickle.dumps.

Two workloads on the fermentation spectra, each a sweep with three folds: forests, where fitting is
what takes the time, and ridge regressions, the cheapest models there are. The same steps train

- with nothing kept,
- with ``joblib.dump`` of every artifact into a file of its own, not durable,
- into a store, durable with each pipeline.

The three are run in turn, so that a busy moment of the machine hits all of them; the smallest of
each is compared. The promises: forests at most 3 % over nothing kept; ridge at most 1.5 times
``pickle.dumps`` and 100 µs an artifact over it.

    python benchmarks/training.py [PIPELINES] [ROUNDS]
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
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from n4a_store.demo.spectra import load_fermentation
from n4a_store.pipeline.context import RuntimeContext
from n4a_store.pipeline.data import check_data
from n4a_store.pipeline.fit_cache import FitCache
from n4a_store.pipeline.orchestrator import Orchestrator
from n4a_store.pipeline.plan import plan_pipelines
from n4a_store.pipeline.runner import PipelineRunner

FOREST_PROMISE = 1.03
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


def train_into(sink: Nothing, kind: str, pipelines: int) -> float:
    """Seconds to train the sweep into a sink that is no store."""
    spectra = load_fermentation()
    data = check_data(spectra.X, spectra.glucose, None, None, None)
    plans = plan_pipelines(steps(kind, pipelines))
    fits = FitCache()
    begun = time.perf_counter()
    for plan in plans:
        Orchestrator(RuntimeContext(sink, plan.pipeline_id, data, fits)).train(plan.program)
    return time.perf_counter() - begun


def train_into_store(kind: str, pipelines: int) -> float:
    """Seconds to train the sweep into a new store."""
    spectra = load_fermentation()
    with tempfile.TemporaryDirectory() as folder:
        runner = PipelineRunner(Path(folder) / "w", progress=lambda _: None)
        begun = time.perf_counter()
        runner.run(steps(kind, pipelines), spectra.X, spectra.glucose, "fermentation")
        return time.perf_counter() - begun


def train_into_files(kind: str, pipelines: int) -> float:
    """Seconds to train the sweep with a file an artifact."""
    with tempfile.TemporaryDirectory() as folder:
        return train_into(Files(folder=Path(folder)), kind, pipelines)


def measure(kind: str, pipelines: int, rounds: int) -> None:
    """Print one workload's table."""
    contenders: dict[str, Callable[[], float]] = {
        "nothing kept": lambda: train_into(Nothing(), kind, pipelines),
        "joblib.dump": lambda: train_into_files(kind, pipelines),
        "store": lambda: train_into_store(kind, pipelines),
    }
    best = dict.fromkeys(contenders, float("inf"))
    train_into(Nothing(), kind, min(pipelines, 5))
    for _ in range(rounds):
        for name, train in contenders.items():
            best[name] = min(best[name], train())
    pickles = Pickles()
    train_into(pickles, kind, pipelines)
    nothing, store = best["nothing kept"], best["store"]
    print(f"{kind}: {pipelines} pipelines, {pickles.count} artifacts, best of {rounds}")
    for name, seconds in best.items():
        each = (seconds - nothing) / pickles.count * MICROSECONDS
        print(f"  {name:13} {seconds:8.2f} s  {seconds / nothing:5.2f}x  {each:7.0f} us/artifact")
    dumps = pickles.seconds / pickles.count * MICROSECONDS
    each = (store - nothing) / pickles.count * MICROSECONDS
    print(f"  pickle.dumps alone: {dumps:.0f} us/artifact")
    print(f"  store / joblib.dump: {store / best['joblib.dump']:.2f}")
    if kind == "forest":
        print(f"  promise: at most {FOREST_PROMISE}x of nothing kept; here {store / nothing:.3f}x")
    else:
        allowed = 1.5 * dumps + 100
        print(f"  promise: at most {allowed:.0f} us/artifact; here {each:.0f}")


def main(arguments: list[str]) -> None:
    """Both workloads."""
    pipelines = int(arguments[0]) if arguments else 200
    rounds = int(arguments[1]) if len(arguments) > 1 else 3
    for kind in ("forest", "ridge"):
        measure(kind, pipelines, rounds)


if __name__ == "__main__":
    main(sys.argv[1:])

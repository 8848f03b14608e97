"""Training and predicting with nirs4all: its own files beside this store, and nothing kept.

The promise: nearly all of the time that nirs4all spends on keeping artifacts is given back. A
sweep of several hundred artifacts on real spectra is trained with the legacy engine four ways in
turn:

- ``files``: as nirs4all does by itself; it drops the files of every variant that was not better
  than those before it, although its catalog goes on naming them;
- ``all files``: the same, but every variant's files are written, as the store keeps them too;
- ``store``: with the integration installed;
- ``nothing``: artifacts are neither serialised nor written, the floor that no store can beat.

Then every chain predicts. Medians of wall and processor time are printed with their ratios;
scores must be equal.

    python benchmarks/nirs4all_training.py [ROUNDS]
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from n4a_store.artifacts.workspace import Workspace
from n4a_store.demo.spectra import load_fermentation
from n4a_store.integrations import nirs4all as integration
from n4a_store.repo.repack import RepackMode, repack

DEFAULT_ROUNDS = 3
WAYS = ("files", "all files", "store", "nothing")
PREDICTING = ("all files", "store")


def sweep() -> list[Any]:
    """72 pipelines of one transformer and five fold models each, and a refit of the best."""
    from nirs4all.operators.transforms import (
        FirstDerivative,
        MultiplicativeScatterCorrection,
        SecondDerivative,
        StandardNormalVariate,
    )
    from sklearn.cross_decomposition import PLSRegression
    from sklearn.model_selection import KFold
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    transforms = [
        MinMaxScaler(),
        StandardScaler(),
        StandardNormalVariate(),
        MultiplicativeScatterCorrection(),
        FirstDerivative(),
        SecondDerivative(),
    ]
    return [
        {"_or_": transforms},
        KFold(5),
        {"model": {"_or_": [PLSRegression(components) for components in range(1, 13)]}},
    ]


def data() -> tuple[Any, Any]:
    """168 spectra of 1,047 channels: the training set eight times, with a detector's noise."""
    spectra = load_fermentation()
    noise = np.random.default_rng(0).normal(scale=2e-4, size=(8, *spectra.X.shape))
    return np.concatenate(list(spectra.X + noise)), np.tile(spectra.glucose, 8)


@contextmanager
def nothing_kept() -> Iterator[None]:
    """Upstream's own registry, for which every object is the same few bytes."""
    from nirs4all.pipeline.storage.artifacts import artifact_registry

    def to_bytes(*_: Any) -> tuple[bytes, str]:
        return b"nothing", "joblib"

    was = artifact_registry.to_bytes
    artifact_registry.to_bytes = to_bytes
    try:
        yield
    finally:
        artifact_registry.to_bytes = was


@contextmanager
def all_files() -> Iterator[None]:
    """Upstream's own registry, which writes what it would have dropped as well."""
    from nirs4all.pipeline.storage.artifacts.artifact_registry import ArtifactRegistry

    was = ArtifactRegistry.rollback_deferred
    ArtifactRegistry.rollback_deferred = ArtifactRegistry.commit_deferred
    try:
        yield
    finally:
        ArtifactRegistry.rollback_deferred = was


AROUND: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "files": nullcontext,
    "all files": all_files,
    "store": integration.installed,
    "nothing": nothing_kept,
}


@dataclass(frozen=True, slots=True)
class Took:
    """What something took: seconds by the clock, and seconds of processors."""

    wall: float
    cpu: float


def clock() -> Took:
    """Now."""
    return Took(time.perf_counter(), time.process_time())


def train(way: str, workspace: Path) -> Took:
    """One training."""
    import nirs4all

    X, y = data()
    began = clock()
    with AROUND[way](), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nirs4all.run(
            sweep(),
            (X, y),
            engine="legacy",
            workspace_path=str(workspace),
            random_state=0,
            verbose=0,
            save_charts=False,
            plots_visible=False,
            log_file=False,
        )
    ended = clock()
    return Took(ended.wall - began.wall, ended.cpu - began.cpu)


def predict(way: str, workspace: Path, X: Any) -> Took:
    """Replay every chain on a few rows, so that loading is what takes the time."""
    from nirs4all.pipeline.storage.workspace_store import WorkspaceStore

    chains = rows(workspace, "SELECT chain_id FROM chains ORDER BY rowid")
    began = clock()
    with AROUND[way](), WorkspaceStore(workspace) as store:
        for (chain,) in chains:
            store.replay_chain(chain, X)
    ended = clock()
    return Took((ended.wall - began.wall) / len(chains), (ended.cpu - began.cpu) / len(chains))


def rows(workspace: Path, query: str) -> list[tuple[Any, ...]]:
    """Rows of nirs4all's catalog."""
    connection = sqlite3.connect(workspace / "store.sqlite")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def size(folder: Path) -> int:
    """Bytes that a folder takes on disk."""
    if not folder.is_dir():
        return 0
    return sum(
        os.lstat(Path(where, name)).st_blocks * 512
        for where, _, files in os.walk(folder)
        for name in files
    )


def measure(rounds: int, root: Path) -> None:
    """Train and predict in turn, and print the table."""
    few = data()[0][:4]
    train("files", root / "warm")  # imports
    trained: dict[str, list[Took]] = {way: [] for way in WAYS}
    predicted: dict[str, list[Took]] = {way: [] for way in PREDICTING}
    for number in range(rounds):
        for way in WAYS:
            workspace = root / f"{way}{number}"
            trained[way].append(train(way, workspace))
            if way in PREDICTING:
                predicted[way].append(predict(way, workspace, few))
    last = {way: root / f"{way}{rounds - 1}" for way in WAYS}
    scores = "SELECT fold_id, partition, val_score, train_score FROM predictions"
    equal = [sorted(rows(last[way], scores), key=repr) for way in ("files", "store")]
    assert equal[0] == equal[1]

    disk = {way: size(last[way] / "artifacts") for way in ("files", "all files")}
    disk["store"] = size(last["store"] / "binaries") + size(last["store"] / "runs")
    for name in Workspace(last["store"]).datasets():
        with Workspace(last["store"]).store(name) as store:
            repack(store, RepackMode.COMPACT)
    compact = size(last["store"] / "binaries") + size(last["store"] / "runs")
    (count,) = rows(last["store"], "SELECT count(*) FROM artifacts")[0]
    print(f"{count} artifacts; seconds of training, milliseconds for a chain to predict")
    report(trained, predicted, disk)
    print(f"store after repack --compact: {compact / 2**20:.1f} MiB", end=", ")
    print(f"{compact / disk['all files']:.2f} of all files")


def report(
    trained: dict[str, list[Took]], predicted: dict[str, list[Took]], disk: dict[str, int]
) -> None:
    """The table; every ratio is to the row ``all files``, which keeps what the store keeps."""
    heads = (
        "wall",
        "ratio",
        "cpu",
        "ratio",
        "chain ms",
        "ratio",
        "cpu ms",
        "ratio",
        "MiB",
        "ratio",
    )
    print(f"{'':10}" + "".join(f"{head:>9}" for head in heads))
    for way in WAYS:
        cells: list[str] = []
        for of in ("wall", "cpu"):
            cells += pair(trained[way], trained["all files"], of, 1.0)
        for of in ("wall", "cpu"):
            if way in predicted:
                cells += pair(predicted[way], predicted["all files"], of, 1000.0)
            else:
                cells += ["", ""]
        if way in disk:
            cells += [f"{disk[way] / 2**20:.1f}", f"{disk[way] / disk['all files']:.2f}"]
        print(f"{way:10}" + "".join(f"{cell:>9}" for cell in cells))
    for of in ("wall", "cpu"):
        floor = middle(trained["nothing"], of)
        cost = {way: middle(trained[way], of) - floor for way in ("all files", "store")}
        share = cost["all files"] / middle(trained["all files"], of)
        print(f"{of}: keeping all files is {share:.0%} of training", end="")
        if cost["all files"] > 0:
            print(f", of which the store gives {1 - cost['store'] / cost['all files']:.0%} back")
        else:
            print(", which is within the noise")


def middle(values: list[Took], of: str) -> float:
    """The median of one kind of time."""
    return float(statistics.median(getattr(value, of) for value in values))


def pair(values: list[Took], base: list[Took], of: str, scale: float) -> list[str]:
    """A median, and its ratio to another."""
    value = middle(values, of)
    return [f"{value * scale:.2f}", f"{value / middle(base, of):.2f}"]


def main() -> None:
    """Run it in a folder of its own."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_ROUNDS
    root = Path(tempfile.mkdtemp(prefix="n4a-nirs4all-"))
    try:
        measure(rounds, root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()

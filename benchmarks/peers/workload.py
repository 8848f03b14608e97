"""What is stored: fitted scikit-learn objects as a pipeline runner registers them.

Real spectra (chemotools), enlarged by seeded augmentation; scalers and models over folds and
branches; then the same run again, and runs in which one branch was edited. Everything follows
from the form and the seed; :attr:`Workload.digest` says whether two machines fitted the same.
Fitting takes longer than storing, so a workload is kept on disk between benchmarks.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from threadpoolctl import threadpool_limits

from n4a_store.demo.spectra import load_fermentation

__all__ = ["FORMS", "Form", "Pipeline", "Registration", "Workload", "fingerprint", "load"]

_VERSION = 6
_SAMPLES = 80
_TABLES = 16


@dataclass(frozen=True, slots=True)
class Form:
    """How large a workload is.

    Args:
        branches: Preprocessings.
        folds: Folds of the cross-validation.
        edits: Which branch changes its data in each run after the second, which repeats the first.
    """

    name: str
    branches: int
    folds: int
    edits: tuple[int, ...]


FORMS = {
    "tiny": Form("tiny", 1, 2, ()),
    "small": Form("small", 3, 5, (0, 1)),
    "full": Form("full", 6, 10, (0, 1, 2)),
}


@dataclass(frozen=True, slots=True)
class Registration:
    """One artifact that a run registers.

    Args:
        artifact: Its id.
        kind: The store's type for it.
        place: Which of the workload's objects it is.
        deps: Ids that it depends on.
    """

    artifact: str
    kind: str
    place: int
    deps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What is committed at once."""

    name: str
    registrations: tuple[Registration, ...]


@dataclass(frozen=True, slots=True)
class Workload:
    """Everything that is measured.

    Args:
        objects: The distinct fitted objects.
        fingerprints: Of each object, by :func:`fingerprint`.
        pipelines: In the order of training, all runs.
        repeated: The first run once more, under new ids: nothing in it is new.
        tables: Large plain arrays, for read-only loads.
    """

    form: str
    seed: int
    objects: tuple[Any, ...]
    fingerprints: tuple[bytes, ...]
    pipelines: tuple[Pipeline, ...]
    repeated: tuple[Pipeline, ...]
    tables: Pipeline

    @property
    def registrations(self) -> int:
        """How many artifacts its runs register."""
        return sum(len(pipeline.registrations) for pipeline in self.pipelines)

    @property
    def digest(self) -> str:
        """Equal for equal workloads."""
        whole = hashlib.sha256()
        for pipeline in (*self.pipelines, *self.repeated, self.tables):
            for at in pipeline.registrations:
                whole.update(f"{at.artifact} {at.kind} {at.deps} ".encode())
                whole.update(self.fingerprints[at.place])
        return whole.hexdigest()[:16]


class _ByValue(pickle.Pickler):
    """Writes the fields of a structured array one by one: the padding between has no value."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, np.ndarray) and obj.dtype.names:
            return (dict, ([(name, obj[name].copy()) for name in obj.dtype.names],))
        return NotImplemented


def fingerprint(obj: Any) -> bytes:
    """A hash of type and content that does not see which equal parts are one object.

    Pickling without a memo writes every part by value; protocol 4 does not look at whether an
    array can be written to.
    """
    stream = io.BytesIO()
    pickler = _ByValue(stream, 4)
    pickler.fast = True
    pickler.dump(obj)
    name = f"{type(obj).__module__}.{type(obj).__qualname__}".encode()
    return hashlib.blake2b(name + stream.getbuffer(), digest_size=16).digest()


def load(form: str, seed: int, folder: Path) -> tuple[Workload, Path]:
    """The workload, fitted now or kept in ``folder`` from an earlier time, and its file."""
    versions = f"sklearn-{sklearn.__version__}-numpy-{np.__version__}"
    path = folder / f"workload-{_VERSION}-{form}-{seed}-{versions}.pickle"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".part")
        # One thread: more of them change last bits from machine to machine, and wait here.
        with threadpool_limits(1):
            fitted = _Fitting(FORMS[form], seed).workload()
        with temporary.open("wb") as file:
            pickle.dump(fitted, file, protocol=5)
        temporary.rename(path)
    with path.open("rb") as file:
        workload: Workload = pickle.load(file)
    return workload, path


def _models() -> Iterator[tuple[str, Any]]:
    """One model of each kind and setting that a sweep tries, unfitted."""
    from sklearn.cross_decomposition import PLSRegression
    from sklearn.decomposition import PCA
    from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.linear_model import Ridge
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.svm import SVR

    for count in (2, 3, 4, 5, 6, 8, 10, 12, 15, 18):
        yield f"pls{count}", PLSRegression(n_components=count, scale=False)
    for alpha in (0.1, 1.0, 10.0):
        yield f"ridge{alpha}", Ridge(alpha=alpha)
    for c in (0.3, 3.0, 30.0):
        yield f"svr{c}", SVR(C=c, epsilon=0.5)
    for neighbours in (2, 3, 5):
        yield f"knn{neighbours}", KNeighborsRegressor(n_neighbors=neighbours, algorithm="kd_tree")
    for trees in (15, 30):
        yield (
            f"forest{trees}",
            RandomForestRegressor(n_estimators=trees, max_features=0.05, random_state=7),
        )
    yield (
        "boosting",
        GradientBoostingRegressor(n_estimators=25, max_features=0.05, random_state=7),
    )
    yield "gaussian", GaussianProcessRegressor(optimizer=None, alpha=1e-3, random_state=7)
    for count in (5, 20):
        yield f"pca{count}", PCA(n_components=count, svd_solver="randomized", random_state=7)


def _scalers() -> tuple[Any, ...]:
    from sklearn.preprocessing import (
        MaxAbsScaler,
        MinMaxScaler,
        QuantileTransformer,
        RobustScaler,
        StandardScaler,
    )

    return (
        StandardScaler(),
        MinMaxScaler(),
        RobustScaler(),
        MaxAbsScaler(),
        StandardScaler(with_std=False),
        QuantileTransformer(n_quantiles=20),
    )


class _Fitting:
    """Fits and names everything of one form."""

    def __init__(self, form: Form, seed: int) -> None:
        self.form = form
        self.seed = seed
        self.objects: list[Any] = []
        self.fingerprints: list[bytes] = []
        self.places: dict[tuple[object, ...], int] = {}

    def spectra(self, edition: int, samples: int = _SAMPLES) -> tuple[Any, Any]:
        """Augmented spectra and glucose: scatter, baseline, slope and noise, all seeded."""
        real = load_fermentation()
        rng = np.random.default_rng((self.seed, edition, samples))
        rows = rng.integers(0, len(real.X), samples)
        axis = np.linspace(-1, 1, real.X.shape[1])
        scatter = rng.normal(1, 0.02, (samples, 1))
        base = rng.normal(0, 0.01, (samples, 1)) + rng.normal(0, 0.01, (samples, 1)) * axis
        noise = rng.normal(0, 1e-4, (samples, len(axis)))
        X = real.X[rows] * scatter + base + noise
        return X, real.glucose[rows] + rng.normal(0, 0.1, samples)

    def add(self, obj: Any) -> int:
        """The place of an object that has not been added."""
        copy = pickle.loads(pickle.dumps(obj, 5))
        mark = fingerprint(obj)
        if fingerprint(copy) != mark:
            raise AssertionError(f"{type(obj).__name__} is not the same after one pickle")
        self.objects.append(obj)
        self.fingerprints.append(mark)
        return len(self.objects) - 1

    def fitted(self, *key: Any) -> int:
        """The place of a scaler or a model of (branch, edition, name, fold), fitted once."""
        place = self.places.get(key)
        if place is None:
            place = self.places[key] = self.add(self._fit(*key))
        return place

    def _rows(self, fold: int | None) -> Any:
        every = np.arange(_SAMPLES)
        return every if fold is None else every[every % self.form.folds != fold]

    def _fit(self, branch: int, edition: int, name: str, fold: int | None) -> Any:
        X, y = self.spectra(edition)
        rows = self._rows(fold)
        if name == "scaler":
            return _scalers()[branch].fit(X[rows])
        if name == "target":
            return _scalers()[0].fit(y[rows].reshape(-1, 1))
        scaler = self.objects[self.fitted(branch, edition, "scaler", fold)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return dict(_models())[name].fit(scaler.transform(X[rows]), y[rows])

    def pipeline(self, serial: int, branch: int, edition: int, name: str) -> Pipeline:
        """One model over all folds, with its scalers, as a runner registers it."""
        pipeline_id = f"{serial:04d}_{name.replace('.', '-')}"
        found = []
        for fold in (*range(self.form.folds), None):
            at = "all" if fold is None else str(fold)
            scaler = f"{pipeline_id}:{branch}:0:{at}"
            model = f"{pipeline_id}:{branch}:2:{at}"
            kind = "transformer" if name.startswith("pca") else "model"
            first = self.fitted(branch, edition, "scaler", fold)
            found.append(Registration(scaler, "transformer", first))
            second = self.fitted(branch, edition, name, fold)
            found.append(Registration(model, kind, second, (scaler,)))
        target = self.fitted(branch, edition, "target", None)
        found.append(Registration(f"{pipeline_id}:{branch}:1:all", "transformer", target))
        return Pipeline(pipeline_id, tuple(found))

    def run(self, serial: int, editions: list[int]) -> list[Pipeline]:
        """One training of all branches and models."""
        made: list[Pipeline] = []
        for branch, edition in enumerate(editions):
            for name, _ in _models():
                made.append(self.pipeline(serial + len(made), branch, edition, name))
        return made

    def tables(self) -> Pipeline:
        """Plain arrays of 0.4 to 3 MB."""
        found = []
        for number in range(_TABLES):
            array, _ = self.spectra(100 + number, 50 + 20 * number)
            name = f"tables:{number}:all"
            found.append(Registration(name, "transformer", self.add(array)))
        return Pipeline("tables", tuple(found))

    def workload(self) -> Workload:
        """All runs: one, the same again, and one for each edit."""
        editions = [0] * self.form.branches
        pipelines = self.run(0, editions)
        repeats = len(pipelines)
        pipelines += self.run(len(pipelines), editions)
        for edition, branch in enumerate(self.form.edits, 1):
            editions[branch] = edition
            pipelines += self.run(len(pipelines), editions)
        repeated = self.run(len(pipelines), [0] * self.form.branches)
        assert len(repeated) == repeats
        return Workload(
            self.form.name,
            self.seed,
            tables=self.tables(),
            objects=tuple(self.objects),
            fingerprints=tuple(self.fingerprints),
            pipelines=tuple(pipelines),
            repeated=tuple(repeated),
        )

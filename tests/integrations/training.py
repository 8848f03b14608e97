"""Real pipelines of the real nirs4all on real spectra, and what two trainings have in common."""

import json
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from n4a_store.demo.spectra import load_coffee, load_fermentation

Table = np.ndarray[Any, Any]


def glucose() -> tuple[Table, Table]:
    """Spectra of a fermentation, every fourth channel, thrice with the noise of a detector."""
    spectra = load_fermentation()
    noise = np.random.default_rng(7).normal(scale=2e-4, size=(3, *spectra.X[:, ::4].shape))
    return (
        np.concatenate(list(spectra.X[:, ::4] + noise)),
        np.concatenate([spectra.glucose] * 3),
    )


@dataclass(frozen=True)
class Case:
    """One pipeline: its steps (made anew for each training), its data and its options."""

    name: str
    steps: Callable[[], list[Any]]
    data: Callable[[], Any] = field(default=glucose)
    options: dict[str, Any] = field(default_factory=dict)


def countries() -> tuple[Table, Table]:
    """Coffee and where it comes from, as numbers."""
    coffee = load_coffee()
    labels = np.unique(coffee.country, return_inverse=True)[1]
    return coffee.X[:, ::4].copy(), labels


def two_sources() -> Any:
    """The two halves of each spectrum as two sources."""
    from nirs4all.data.dataset import SpectroDataset

    X, y = glucose()
    half = X.shape[1] // 2
    dataset = SpectroDataset(name="halves")
    dataset.add_samples([X[:, :half], X[:, half:]], indexes={"partition": "train"})
    dataset.add_targets(y)
    return dataset


def generators() -> list[Any]:
    from sklearn.cross_decomposition import PLSRegression
    from sklearn.model_selection import KFold
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    return [
        {"_or_": [MinMaxScaler(), StandardScaler()]},
        KFold(3),
        {"model": {"_or_": [PLSRegression(2), PLSRegression(4)]}},
    ]


def nested_branches() -> list[Any]:
    from nirs4all.operators.transforms import StandardNormalVariate
    from sklearn.cross_decomposition import PLSRegression
    from sklearn.decomposition import PCA
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import KFold
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    return [
        MinMaxScaler(),
        KFold(3),
        {
            "branch": [
                [StandardNormalVariate(), {"branch": [[PCA(5)], [StandardScaler()]]}],
                [PCA(8)],
            ]
        },
        {"model": PLSRegression(3)},
        {"model": Ridge(1e-3)},
    ]


def stacking() -> list[Any]:
    from nirs4all.operators.models import MetaModel
    from sklearn.cross_decomposition import PLSRegression
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import KFold
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.preprocessing import StandardScaler

    return [
        StandardScaler(),
        KFold(3),
        {"model": PLSRegression(3)},
        {"model": KNeighborsRegressor(3)},
        {"model": MetaModel(model=Ridge(), source_models="all")},
    ]


def y_processing() -> list[Any]:
    from nirs4all.operators.transforms import FirstDerivative
    from sklearn.cross_decomposition import PLSRegression
    from sklearn.model_selection import KFold
    from sklearn.preprocessing import MinMaxScaler

    return [
        FirstDerivative(),
        {"y_processing": MinMaxScaler()},
        KFold(3),
        {"model": PLSRegression(4)},
    ]


def classification() -> list[Any]:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import StratifiedKFold
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import StandardScaler

    return [
        StandardScaler(),
        StratifiedKFold(3),
        {"model": RandomForestClassifier(12, random_state=0)},
        {"model": KNeighborsClassifier(3)},
    ]


def multi_source() -> list[Any]:
    from sklearn.cross_decomposition import PLSRegression
    from sklearn.decomposition import PCA
    from sklearn.model_selection import KFold
    from sklearn.preprocessing import StandardScaler

    return [StandardScaler(), PCA(5), KFold(3), {"model": PLSRegression(2)}]


def refit() -> list[Any]:
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import ShuffleSplit
    from sklearn.preprocessing import MinMaxScaler

    forest = RandomForestRegressor(10, random_state=1)
    return [MinMaxScaler(), ShuffleSplit(3, random_state=0), {"model": forest}]


def failure() -> list[Any]:
    from sklearn.cross_decomposition import PLSRegression
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import KFold
    from sklearn.preprocessing import StandardScaler

    return [
        StandardScaler(),
        KFold(3),
        {"model": PLSRegression(2)},
        {"model": Ridge(alpha=-1.0)},
    ]


def no_folds() -> list[Any]:
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    return [StandardScaler(), {"model": Ridge()}]


CASES = (
    Case("generators", generators),
    Case("nested branches", nested_branches),
    Case("stacking", stacking),
    Case("y processing", y_processing),
    Case("classification", classification, countries),
    Case("multi-source", multi_source, two_sources),
    Case("refit of three", refit, options={"refit": {"top_k": 3, "ranking": "rmsecv"}}),
    Case("no folds", no_folds),
    Case("two workers", generators, options={"n_jobs": 2}),
)


def train(case: Case, workspace: Path, engine: str = "legacy") -> Any:
    """Train; the result of nirs4all."""
    import nirs4all

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nirs4all.run(
            case.steps(),
            case.data(),
            engine=engine,
            workspace_path=str(workspace),
            **{
                "random_state": 0,
                "verbose": 0,
                "save_charts": False,
                "plots_visible": False,
                **({"log_file": False} if engine == "legacy" else {}),
                **case.options,
            },
        )


def predict(workspace: Path, X: Table, **what: Any) -> Table:
    """What nirs4all's own door predicts, from a chain or a bundle."""
    import nirs4all

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = nirs4all.predict(data=X, workspace_path=workspace, **what)
    return np.asarray(found.y_pred)


def export(workspace: Path, chain: str, path: Path, form: str = "n4a") -> Path:
    """A bundle of a chain, written by nirs4all."""
    from nirs4all.pipeline.storage.workspace_store import WorkspaceStore

    with WorkspaceStore(workspace) as store:
        return Path(store.export_chain(chain, path, format=form))


def catalog(workspace: Path, query: str) -> list[tuple[Any, ...]]:
    """Rows of the workspace's catalog."""
    connection = sqlite3.connect(f"file:{workspace}/store.sqlite?mode=ro", uri=True)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def scores(workspace: Path) -> list[tuple[Any, ...]]:
    """Every score of a workspace, without the ids that differ between two runs."""
    return sorted(
        catalog(
            workspace,
            "SELECT l.name, p.model_name, p.fold_id, p.partition, ifnull(p.branch_id, -1),"
            " p.preprocessings, ifnull(p.refit_context, ''), p.val_score, p.test_score,"
            " p.train_score FROM predictions p JOIN pipelines l USING (pipeline_id)",
        ),
        key=repr,
    )


def chains(workspace: Path) -> list[tuple[str, str]]:
    """Chains as ``(what identifies one between two runs, chain id)``, sorted."""
    rows = catalog(
        workspace,
        "SELECT l.name, c.model_class, c.model_step_idx, ifnull(c.branch_path, ''),"
        " c.fold_artifacts, c.chain_id, c.rowid FROM chains c JOIN pipelines l USING (pipeline_id)",
    )
    named = [(repr((*row[:4], sorted(json.loads(row[4] or "{}")))), row[6], row[5]) for row in rows]
    return [(name, chain) for name, _, chain in sorted(named)]


def replays(workspace: Path, X: Table) -> Iterator[tuple[str, Table | str]]:
    """What each chain predicts, or the type of the error with which it does not replay."""
    from nirs4all.pipeline.storage.workspace_store import WorkspaceStore

    with WorkspaceStore(workspace) as store:
        for name, chain in chains(workspace):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    yield name, store.replay_chain(chain, X)
            except Exception as error:  # noqa: BLE001 - upstream raises all kinds
                yield name, f"{type(error).__name__}: {error}"


def files(workspace: Path) -> list[str]:
    """The artifact files that nirs4all itself keeps."""
    folder = workspace / "artifacts"
    return sorted(path.name for path in folder.rglob("*") if path.is_file())

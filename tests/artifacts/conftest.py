"""Workspaces and fitted models for the artifact layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from n4a_store import (
    ArtifactLoader,
    ArtifactRegistry,
    ArtifactType,
    Durability,
    Settings,
    Workspace,
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    # What a power cut may take is tested elsewhere; fsync only makes these slower.
    return Workspace(tmp_path / "workspace", settings=Settings(durability=Durability.NONE))


def _registry(workspace: Workspace) -> Iterator[ArtifactRegistry]:
    registry = ArtifactRegistry(workspace, "corn")
    yield registry
    registry.close()


registry = pytest.fixture(_registry, name="registry")
other = pytest.fixture(_registry, name="other")
"""A second registry of the same dataset, as another process would have it."""


@pytest.fixture
def loader(workspace: Workspace) -> Iterator[ArtifactLoader]:
    with ArtifactLoader(workspace, "corn") as loader:
        yield loader


@pytest.fixture(scope="session")
def fitted() -> dict[str, object]:
    """A scaler, three different PLS fold models and a ridge over their predictions."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(30, 120))
    y = x[:, :2].sum(axis=1)
    scaler = StandardScaler().fit(x)
    folds = [PLSRegression(2).fit(x[i::3], y[i::3]) for i in range(3)]
    columns = np.column_stack([model.predict(x).ravel() for model in folds])
    return {
        "x": x,
        "scaler": scaler,
        "folds": folds,
        "meta": Ridge().fit(columns, y),
    }


@pytest.fixture
def train(fitted: dict) -> Callable[..., str]:
    """Trains one pipeline in a run: a scaler, fold models in branch 0, a meta-model over them."""

    def run_once(registry: ArtifactRegistry, pipeline_id: str = "0001_pls") -> str:
        with registry.run() as run:
            scaler = registry.generate_id(pipeline_id, [], 0)
            registry.register(fitted["scaler"], scaler, ArtifactType.TRANSFORMER)
            sources = []
            for fold, model in enumerate(fitted["folds"]):
                sources.append(registry.generate_id(pipeline_id, [0], 1, fold))
                registry.register(model, sources[-1], ArtifactType.MODEL, depends_on=[scaler])
            meta = registry.generate_id(pipeline_id, [0], 2)
            registry.register_meta_model(fitted["meta"], meta, sources, ["a", "b", "c"])
        return run.id

    return run_once

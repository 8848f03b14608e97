"""A small workspace of real fitted models, made through the library as a runner would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from n4a_store.artifacts.registry import ArtifactRegistry
from n4a_store.artifacts.types import ArtifactType

DATASETS = ("corn", "fermentation")
PIPELINE, STACK = "0001_pls", "0002_stack"


def train(workspace: Path, dataset: str, X: Any, y: Any, message: str, components: int = 2) -> str:
    """One run of two pipelines: a PLS on each of two folds, and a stack over both; its id."""
    registry = ArtifactRegistry(workspace, dataset)
    with registry.run(message=message) as run:
        scaler = StandardScaler().fit(X)
        scaler_id = registry.generate_id(PIPELINE, [], 0)
        registry.register(scaler, scaler_id, ArtifactType.TRANSFORMER)
        models = []
        for fold, (rows, _) in enumerate(KFold(2).split(X)):
            model = PLSRegression(n_components=components).fit(scaler.transform(X)[rows], y[rows])
            name = registry.generate_id(PIPELINE, [], 1, fold)
            registry.register(
                model, name, ArtifactType.MODEL, depends_on=[scaler_id],
                params={"n_components": components},
            )  # fmt: skip
            models.append((name, model))
        registry.complete_pipeline(PIPELINE)
        columns = [model.predict(scaler.transform(X)).ravel() for _, model in models]
        meta = Ridge().fit(list(zip(*columns, strict=True)), y)
        registry.register_meta_model(
            meta, registry.generate_id(STACK, [], 0), [name for name, _ in models],
            feature_columns=["pls fold 0", "pls fold 1"],
        )  # fmt: skip
        registry.complete_pipeline(STACK)
    registry.close()
    return run.id

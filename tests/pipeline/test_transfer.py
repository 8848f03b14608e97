"""Taking a model and its chain from one dataset into another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chemotools.scatter import StandardNormalVariate
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from n4a_store.artifacts.registry import ArtifactRegistry
from n4a_store.errors import ArtifactNotFoundError
from n4a_store.pipeline.predictor import Predictor
from n4a_store.pipeline.transfer import transfer_model
from tests.pipeline.training import DATASET

STEPS = [
    KFold(3),
    {"branch": {"snv": [StandardNormalVariate()], "scaled": [StandardScaler()]}},
    {"y_processing": MinMaxScaler()},
    {"model": PLSRegression(2), "name": "small"},
    {"model": PLSRegression(4), "name": "large"},
    {"stack": Ridge(), "name": "meta"},
]


@pytest.mark.parametrize(("model", "artifacts"), [("meta", 3 + 3 + 6 + 1), ("small", 3 * 3)])
def test_a_transferred_model_predicts_the_same_bits(
    train: Any, workspace: Any, fermentation: Any, model: str, artifacts: int
) -> None:
    run = train(STEPS, fermentation)
    X = fermentation.X
    with Predictor(workspace, DATASET) as predictor:
        expected = predictor.predict(run.id, X, branch="snv", model=model)
    name = transfer_model(
        workspace, DATASET, run.id, "other", pipeline_id="0001_taken", branch=["snv"], model=model
    )
    assert name == "0001_taken"
    with Predictor(workspace, "other") as predictor:
        assert np.array_equal(predictor.predict(name, X), expected)
        assert np.array_equal(predictor.predict(None, X), expected)
    # Only what predicts has gone over: nothing of the other branch, no stored predictions.
    records = ArtifactRegistry(workspace, "other").get_all_records()
    assert len(records) == artifacts
    assert {tuple(record.branch_path) for record in records} <= {(), (0,)}
    before = {r.content_hash for r in ArtifactRegistry(workspace, DATASET).get_all_records()}
    assert {record.content_hash for record in records} <= before


def test_a_model_that_is_not_there(train: Any, workspace: Any, fermentation: Any) -> None:
    train(STEPS, fermentation)
    with pytest.raises(ArtifactNotFoundError, match="svm"):
        transfer_model(workspace, DATASET, None, "other", model="svm")
    assert workspace.datasets() == [DATASET]

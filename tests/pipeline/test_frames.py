"""Real frames of pandas and polars in a training and a prediction, and as artifacts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from n4a_store.artifacts.loader import ArtifactLoader
from n4a_store.artifacts.registry import ArtifactRegistry
from n4a_store.errors import InvalidInputError
from n4a_store.pipeline.predictor import Predictor
from n4a_store.pipeline.runner import PipelineRunner
from tests.pipeline.training import DATASET

STEPS = [StandardScaler(), KFold(3), Ridge()]


@pytest.fixture
def spectra(fermentation: Any) -> pd.DataFrame:
    """The spectra with a wavelength for each column."""
    names = [f"{1000 + 2 * at} nm" for at in range(fermentation.X.shape[1])]
    return pd.DataFrame(fermentation.X, columns=names)


def test_frames_train_and_predict_as_arrays_do(
    workspace: Any, spectra: pd.DataFrame, fermentation: Any
) -> None:
    y = pd.Series(fermentation.y, name="glucose")
    PipelineRunner(workspace).run(STEPS, fermentation.X, fermentation.y, "arrays")
    with Predictor(workspace, "arrays") as predictor:
        expected = predictor.predict(None, fermentation.X)
    PipelineRunner(workspace).run(STEPS, spectra, y, DATASET)
    others = {
        "pandas": spectra,
        "polars": pl.from_pandas(spectra),
        "nullable": spectra.convert_dtypes(),
        "arrow": spectra.convert_dtypes(dtype_backend="pyarrow"),
        "array": fermentation.X,
        "numbered": pd.DataFrame(fermentation.X),
    }
    with Predictor(workspace, DATASET) as predictor:
        for kind, frame in others.items():
            # The last bit depends on the order in memory, which a frame has its own of.
            assert np.allclose(predictor.predict(None, frame), expected, rtol=1e-12), kind
        for frame in (spectra[spectra.columns[::-1]], pl.from_pandas(spectra)[:, ::-1]):
            with pytest.raises(InvalidInputError, match=r"from '1000 nm' to '[0-9]* nm', and was"):
                predictor.predict(None, frame)


def test_nullable_numbers_are_numbers(workspace: Any, spectra: pd.DataFrame) -> None:
    """numpy makes objects of them, which were refused."""
    y = pd.Series(np.arange(len(spectra)), dtype="Int64")
    run = PipelineRunner(workspace).run(STEPS, spectra.convert_dtypes(), y, DATASET)
    assert not run.failures
    gap = spectra.convert_dtypes()
    gap.iloc[3, 4] = pd.NA
    with (
        Predictor(workspace, DATASET) as predictor,
        pytest.raises(InvalidInputError, match=r"X holds nan in row 3, column 4"),
    ):
        predictor.predict(None, gap)


def test_the_column_that_holds_no_numbers_is_named(workspace: Any, spectra: pd.DataFrame) -> None:
    runner = PipelineRunner(workspace)
    text = spectra.assign(site="Montpellier")
    for frame, said in (
        (text, "column 'site' is (str|object)"),
        (text.assign(site=pd.Categorical(["a"] * len(text))), "column 'site' is category"),
        (pl.from_pandas(text), "column 'site' is String"),
        (spectra.astype(object), "column '1000 nm' is object"),
    ):
        with pytest.raises(InvalidInputError, match=f"X holds .*, not numbers: {said}"):
            runner.run(STEPS, frame, range(len(text)), DATASET)
    with pytest.raises(InvalidInputError, match=r"X holds objects, not numbers$"):
        runner.run(STEPS, spectra.to_numpy(dtype=object), range(len(text)), DATASET)


def test_frames_as_artifacts_come_back_and_are_the_same_again(
    workspace: Any, spectra: pd.DataFrame
) -> None:
    mixed = pd.DataFrame(
        {
            "site": pd.Categorical(["a", "b", "a"]),
            "n": pd.array([1, None, 3], dtype="Int64"),
            "at": pd.date_range("2020", periods=3, tz="UTC"),
        }
    )
    kept: list[Any] = [spectra, mixed, spectra["1000 nm"], spectra.columns]
    with ArtifactRegistry(workspace, DATASET) as registry, registry.run():
        first = [registry.register(o, f"p:{at}:all", "encoder") for at, o in enumerate(kept)]
    with ArtifactLoader(workspace, DATASET) as loader:
        loaded = [loader.load_by_id(f"p:{at}:all") for at in range(len(kept))]
    pd.testing.assert_frame_equal(loaded[0], spectra)
    pd.testing.assert_frame_equal(loaded[1], mixed)
    pd.testing.assert_series_equal(loaded[2], kept[2])
    pd.testing.assert_index_equal(loaded[3], kept[3])
    with ArtifactRegistry(workspace, DATASET) as registry, registry.run():
        again = [registry.register(o, f"q:{at}:all", "encoder") for at, o in enumerate(loaded)]
    assert [r.content_hash for r in again] == [r.content_hash for r in first]
    loaded[0].iloc[0, 0] = 5.0  # a frame that was loaded can be written to
    assert loaded[0].iloc[0, 0] == 5.0

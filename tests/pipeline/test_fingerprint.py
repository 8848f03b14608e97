"""Identity of data and definitions: equal only when it is certain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from n4a_store.pipeline.fingerprint import Describer, Uncertain, data_id, digest, library_version

X = np.arange(12.0).reshape(3, 4)


def test_equal_arrays_have_one_id_and_every_difference_shows() -> None:
    variants = [
        X,
        X.astype(np.float32),
        X.reshape(4, 3),
        np.asfortranarray(X),  # sums over it may differ in the last bit
        X + np.finfo(float).eps * 16,
        X.astype(object),
        X.astype(str),
    ]
    assert data_id(X) == data_id(X.copy())
    assert len({data_id(variant) for variant in variants}) == len(variants)
    assert data_id(np.asfortranarray(X)) != data_id(np.asfortranarray(X).T)


def test_a_view_has_the_id_of_its_copy() -> None:
    assert data_id(X[:, ::2]) == data_id(X[:, ::2].copy())


@pytest.mark.parametrize("array", [[1, 2], np.array([object()])])
def test_what_is_no_plain_array_has_no_id(array: Any) -> None:
    with pytest.raises(Uncertain):
        data_id(array)


@pytest.mark.parametrize(
    "pair",
    [
        (Ridge(alpha=1), Ridge(alpha=1.0)),
        (Ridge(), Ridge(alpha=2)),
        (StandardScaler(), Ridge()),
        (KFold(3), KFold(4)),
        (make_pipeline(Ridge()), make_pipeline(Ridge(alpha=2))),
        (FunctionTransformer(np.log), FunctionTransformer(np.exp)),
        (Ridge(alpha=np.float32(1)), Ridge(alpha=np.float64(1))),
        (Ridge(alpha=(1, 2)), Ridge(alpha=[1, 2])),
        (Ridge(alpha=True), Ridge(alpha=1)),
        (Ridge(alpha="1"), Ridge(alpha=1)),
        (Ridge(alpha=X), Ridge(alpha=X + 1)),
    ],
)
def test_definitions_differ_when_a_parameter_does(pair: tuple[Any, Any]) -> None:
    first, second = (digest(Describer().estimator(one)) for one in pair)
    assert first != second
    assert first == digest(Describer().estimator(pair[0]))


class Local(Ridge):
    pass


def test_what_may_mean_something_else_tomorrow_is_uncertain() -> None:
    class Inner(Ridge):
        pass

    for doubtful in (
        Inner(),
        FunctionTransformer(lambda x: x),
        PCA(random_state=np.random.RandomState(0)),
        Ridge(alpha=object()),
        Local(),  # a test module declares no version
    ):
        with pytest.raises(Uncertain):
            Describer().estimator(doubtful)
        loose = Describer(strict=False, versions=False)
        assert digest(loose.estimator(doubtful)) == digest(loose.estimator(doubtful))


def test_the_version_of_a_library_is_part_of_a_definition() -> None:
    assert Describer().estimator(Ridge())["library"] == library_version("sklearn.linear_model")
    assert "library" not in Describer(versions=False).estimator(Ridge())

"""Where the module of an object is missing, the hint says what to install, in which version."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn
from sklearn.linear_model import Ridge

from n4a_store import ArtifactLoader, ArtifactRegistry, SerializationError
from n4a_store.artifacts.serializers.libraries import how_to_get

NAME = "p:0:all"
Load = Callable[[ArtifactRegistry, ArtifactLoader], Any]
ways = pytest.mark.parametrize(
    "load",
    [
        lambda registry, loader: loader.load_by_id(NAME),
        lambda registry, loader: registry.load_artifact(registry.resolve(NAME)),
    ],
    ids=["loader", "registry"],
)


@ways
def test_a_library_is_named_in_the_version_that_wrote(
    registry: ArtifactRegistry, loader: ArtifactLoader, monkeypatch: pytest.MonkeyPatch, load: Load
) -> None:
    registry.register(Ridge().fit(np.eye(3), [1, 2, 3]), NAME, "model")
    monkeypatch.setitem(sys.modules, "sklearn.linear_model._ridge", None)
    with pytest.raises(SerializationError, match=f"artifact {NAME} cannot be unpickled") as caught:
        load(registry, loader)
    assert caught.value.hint == f"pip install scikit-learn=={sklearn.__version__}"


@ways
def test_a_module_of_ones_own_is_not_called_a_library(
    registry: ArtifactRegistry, loader: ArtifactLoader, tmp_path: Path, load: Load
) -> None:
    (tmp_path / "my_steps.py").write_text("class Step:\n    pass\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        from my_steps import Step  # type: ignore[import-not-found]

        registry.register(Step(), NAME, "transformer")
    del sys.modules["my_steps"]
    with pytest.raises(SerializationError, match="module 'my_steps' is not installed") as caught:
        load(registry, loader)
    assert str(caught.value.hint).startswith("put its folder on PYTHONPATH")


@pytest.mark.parametrize(
    ("module", "library", "hint"),
    [
        ("sklearn.linear_model", "scikit-learn==1.9.1", "pip install scikit-learn==1.9.1"),
        ("xgboost", "xgboost-cpu==3.2.0", "pip install xgboost-cpu==3.2.0"),
        ("xgboost", "scikit-learn==1.9.1", ""),
        ("cloudpickle", "python==3.12.1", ""),
        ("py", "python==3.12.1", ""),
        ("anything", "", ""),
    ],
)
def test_only_what_is_known_is_said(module: str, library: str, hint: str) -> None:
    assert how_to_get(module, library) == hint

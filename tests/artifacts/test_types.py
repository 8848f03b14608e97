"""Types and records as values."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest

from n4a_store import (
    ArtifactRecord,
    ArtifactRegistry,
    ArtifactType,
    InvalidInputError,
    MetaModelConfig,
    SourceModelRef,
    register_artifact_type,
)
from n4a_store.artifacts.types import artifact_types, as_artifact_type

FULL = ArtifactRecord(
    artifact_id="0001_pls:0:2:3.1:0",
    content_hash="blake3:" + "ab" * 32,
    path="model_PLSRegression_abababab.pkl",
    pipeline_id="0001_pls",
    branch_path=[0, 2],  # type: ignore[arg-type]
    step_index=3,
    sub_index=1,
    fold_id=0,
    artifact_type="model",  # type: ignore[arg-type]
    class_name="PLSRegression",
    depends_on=["0001_pls:0:all"],  # type: ignore[arg-type]
    format="pickle5",
    format_version="scikit-learn==1.9.1",
    producer_version="n4a_store==0.1.0",
    size_bytes=10,
    created_at="2026-11-23T08:00:00.000+00:00",
    params={"n_components": 3},
    meta_config=MetaModelConfig((SourceModelRef("p:0:all", 1),), ("a",), {"note": 1}),
    version=2,
)


def test_the_built_in_types() -> None:
    assert [str(kind) for kind in ArtifactType] == [
        "model",
        "transformer",
        "splitter",
        "encoder",
        "meta_model",
    ]
    assert ArtifactType("model") is ArtifactType.MODEL
    assert ArtifactType.MODEL == "model"
    assert isinstance(ArtifactType.MODEL, str)
    assert f"{ArtifactType.META_MODEL}" == "meta_model"


def test_a_type_can_be_added(registry: ArtifactRegistry) -> None:
    kind = register_artifact_type("calibration")
    assert register_artifact_type("calibration") is kind
    assert ArtifactType("calibration") is kind
    assert isinstance(kind, ArtifactType)
    assert (kind.name, kind.value, str(kind)) == ("CALIBRATION", "calibration", "calibration")
    assert pickle.loads(pickle.dumps(kind)) is kind
    assert kind in artifact_types()
    assert kind not in list(ArtifactType)
    assert register_artifact_type("model") is ArtifactType.MODEL
    record = registry.register([1], "p:0:all", kind)
    assert record.artifact_type is kind
    assert registry.resolve("p:0:all").artifact_type is kind  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["", "Model", "a b", "1a", "a" * 41, "é", None, 3, "a-b"])
def test_names_of_types_are_checked(name: Any) -> None:
    with pytest.raises(InvalidInputError, match="cannot name an artifact type"):
        register_artifact_type(name)


def test_an_unknown_type_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(InvalidInputError, match="unknown artifact type 'modle'") as caught:
        as_artifact_type("modle")
    assert "transformer" in str(caught.value.hint)


def test_a_record_is_frozen_and_knows_what_it_is() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        FULL.version = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        FULL.params["n_components"] = 4  # type: ignore[index]
    assert FULL.is_branch_specific
    assert FULL.is_fold_specific
    assert not FULL.is_meta_model
    assert FULL.short_hash == "abababab"
    assert FULL.branch_path == [0, 2] == list(FULL.branch_path)
    assert FULL.depends_on == ["0001_pls:0:all"]
    assert FULL.depends_on != ["other"]
    assert hash(FULL) == hash(dataclasses.replace(FULL))


def test_a_record_survives_dict_and_pickle() -> None:
    data = FULL.to_dict()
    assert data["branch_path"] == [0, 2]
    assert data["artifact_type"] == "model"
    assert type(data["artifact_type"]) is str
    assert ArtifactRecord.from_dict(data) == FULL
    assert pickle.loads(pickle.dumps(FULL)) == FULL
    assert ArtifactRecord.from_dict(
        {
            name: data[name]
            for name in ("artifact_id", "content_hash", "artifact_type", "class_name")
        }
    ).branch_path == [0, 2]


@pytest.mark.parametrize(
    "changes",
    [
        {"pipeline_id": "other"},
        {"step_index": 4},
        {"fold_id": None},
        {"branch_path": [0]},
        {"sub_index": None},
    ],
)
def test_the_parts_of_a_record_are_those_of_its_id(changes: dict) -> None:
    with pytest.raises(InvalidInputError, match="another id"):
        dataclasses.replace(FULL, **changes)
    with pytest.raises(InvalidInputError, match="another id"):
        ArtifactRecord.from_dict({**FULL.to_dict(), **changes})


def test_a_configuration_reads_by_key_and_by_name() -> None:
    config = FULL.meta_config
    assert config is not None
    assert config["source_models"] == config.source_models
    assert config["feature_columns"] == ["a"]
    assert config.get("nothing", 7) == 7
    assert "feature_columns" in config
    assert list(config) == ["source_models", "feature_columns", "extra"]
    with pytest.raises(KeyError):
        config["nothing"]
    assert MetaModelConfig.from_dict(config.to_dict()) == config
    assert pickle.loads(pickle.dumps(config)) == config
    assert config.source_ids == ["p:0:all"]
    assert dict(config.source_models[0]) == {"artifact_id": "p:0:all", "feature_index": 1}


@pytest.mark.parametrize(
    "data",
    [
        None,
        [1],
        {"source_models": "p:0:all"},
        {"source_models": [3]},
        {"source_models": [{"artifact_id": "p:0"}]},
        {"source_models": [{"artifact_id": "p:0:all", "feature_index": -1}]},
        {"source_models": [{"artifact_id": "p:0:all", "feature_index": True}]},
        {"feature_columns": "ab"},
        {"feature_columns": [1]},
    ],
)
def test_a_malformed_configuration_is_refused(data: Any) -> None:
    with pytest.raises(InvalidInputError):
        MetaModelConfig.from_dict(data)


def test_a_meta_model_config_is_in_the_order_of_its_columns() -> None:
    """However it was spelled: what stands beside a column's name is the source that fills it."""
    refs = [
        SourceModelRef("p:1:all", 2),
        SourceModelRef("p:2:all", 0),
        SourceModelRef("p:3:all", 1),
    ]
    config = MetaModelConfig(refs, ["two", "three", "one"])
    assert config.source_ids == ["p:2:all", "p:3:all", "p:1:all"]
    assert config == MetaModelConfig([ref.to_dict() for ref in refs], ("two", "three", "one"))
    assert MetaModelConfig.from_dict(config.to_dict()) == config
    assert MetaModelConfig(["p:4:all", "p:3:all"]).source_ids == ["p:4:all", "p:3:all"]


@pytest.mark.parametrize(
    "parts",
    [
        {"source_models": "p:1:all"},
        {"source_models": [None]},
        {"source_models": ["p"]},
        {"source_models": [SourceModelRef("p:1:all", -1)]},
        {"feature_columns": "ab"},
        {"feature_columns": [1]},
        {"extra": ["a"]},
        {"extra": {"source_models": ["p:1:all"]}},
        {"extra": {"source_model_ids": ["p:1:all"]}},
    ],
)
def test_a_meta_model_config_is_valid_once_constructed(parts: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=r"meta_config|malformed artifact id"):
        MetaModelConfig(**parts)

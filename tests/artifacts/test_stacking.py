"""Meta-models and dependencies: order, structure, branches, cycles."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from n4a_store import (
    AmbiguousNameError,
    ArtifactLoader,
    ArtifactNotFoundError,
    ArtifactRegistry,
    ArtifactType,
    DependencyNotFoundError,
    InvalidInputError,
)
from n4a_store.artifacts.graph import MAX_DEPTH

MODEL = ArtifactType.MODEL
META = "0001_pls:0:2:all"
Trainer = Callable[..., str]


def test_sources_come_in_the_order_of_their_columns(
    registry: ArtifactRegistry, loader: ArtifactLoader, train: Trainer, fitted: dict
) -> None:
    """Three sources of one class stay three."""
    train(registry)
    meta, sources, columns = loader.load_meta_model_with_sources(META)
    assert [name for name, _ in sources] == [f"0001_pls:0:1:{fold}" for fold in range(3)]
    assert columns == ["a", "b", "c"]
    x = fitted["x"]
    features = np.column_stack([model.predict(x).ravel() for _, model in sources])
    expected = np.column_stack([model.predict(x).ravel() for model in fitted["folds"]])
    assert np.array_equal(features, expected)
    assert np.array_equal(meta.predict(features), fitted["meta"].predict(expected))


def test_the_record_knows_its_sources(registry: ArtifactRegistry, train: Trainer) -> None:
    train(registry)
    record = registry.resolve(META)
    assert record is not None
    assert record.is_meta_model
    assert record.meta_config is not None
    assert record.depends_on == [f"0001_pls:0:1:{fold}" for fold in range(3)]
    assert record.meta_config.source_ids == record.depends_on
    assert record.meta_config["feature_columns"] == ["a", "b", "c"]
    assert [s["feature_index"] for s in record.meta_config.to_dict()["source_models"]] == [0, 1, 2]


def test_feature_order_is_the_index_and_not_the_listing(
    registry: ArtifactRegistry, loader: ArtifactLoader
) -> None:
    for place in range(3):
        registry.register(place, f"p:0:{place}", MODEL)
    config = {
        "source_models": [
            {"artifact_id": "p:0:2", "feature_index": 0},
            {"artifact_id": "p:0:0", "feature_index": 2},
            {"artifact_id": "p:0:1", "feature_index": 1},
        ],
        "feature_columns": ["x", "y", "z"],
        "note": "kept",
    }
    record = registry.register("meta", "p:1:all", ArtifactType.META_MODEL, meta_config=config)
    assert record.depends_on == ["p:0:2", "p:0:1", "p:0:0"]
    assert record.meta_config is not None
    assert record.meta_config.source_ids == record.depends_on
    assert record.meta_config.extra == {"note": "kept"}
    _, sources, _ = loader.load_meta_model_with_sources("p:1:all")
    assert sources == [("p:0:2", 2), ("p:0:1", 1), ("p:0:0", 0)]


def test_a_missing_source_is_an_error_for_every_type(registry: ArtifactRegistry) -> None:
    registry.register(1, "p:0:all", MODEL)
    with pytest.raises(DependencyNotFoundError, match="p:9:all, which does not exist") as caught:
        registry.register_meta_model(2, "p:1:all", ["p:0:all", "p:9:all"])
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, KeyError)
    for kind in ArtifactType:
        with pytest.raises(ArtifactNotFoundError):
            registry.register(2, "p:1:all", kind, depends_on=["q:0:all"])
    assert registry.resolve("p:1:all") is None


def test_a_dependency_of_an_aborted_run_does_not_exist(registry: ArtifactRegistry) -> None:
    registry.start_run()
    registry.register(1, "p:0:all", MODEL)
    registry.cleanup_failed_run()
    with registry.run(), pytest.raises(DependencyNotFoundError):
        registry.register(2, "q:0:all", MODEL, depends_on=["p:0:all"])


@pytest.mark.parametrize(
    ("sources", "columns", "message"),
    [
        ([], None, "without source models"),
        (None, None, "without source models"),
        ("p:0:all", None, "list of artifact ids"),
        (["p:0:all", "p:0:all"], None, "twice"),
        (["p:0"], None, "malformed"),
        (["p:0:all"], [1], "a column's name is text"),
        (["p:0:all"], "x", "is a list"),
        (["p:1:all"], None, "cycle"),
    ],
)
def test_a_meta_model_is_checked(
    registry: ArtifactRegistry, sources: list, columns: list, message: str
) -> None:
    registry.register(1, "p:0:all", MODEL)
    with pytest.raises(InvalidInputError, match=message):
        registry.register_meta_model(2, "p:1:all", sources, columns)


def test_only_meta_models_have_sources(
    registry: ArtifactRegistry, loader: ArtifactLoader, train: Trainer
) -> None:
    train(registry)
    with pytest.raises(InvalidInputError, match="is a transformer, not a meta-model"):
        loader.load_meta_model_with_sources("0001_pls:0:all")


def test_a_meta_model_outlives_the_pipeline_of_its_sources(
    registry: ArtifactRegistry, loader: ArtifactLoader
) -> None:
    with registry.run():
        registry.register("scaler", "base:0:all", "transformer")
        registry.register("model", "base:1:all", MODEL, depends_on=["base:0:all"])
    with registry.run():
        registry.register_meta_model("meta", "stack:0:all", ["base:1:all"], ["m"])
    with registry.store.transaction() as txn:
        for ref in registry.store.refs():
            if ref.name != "refs/pipelines/stack":
                txn.delete_ref(ref.name)
    assert registry.resolve("base:1:all") is None
    meta, sources, columns = loader.load_meta_model_with_sources("stack:0:all")
    assert (meta, sources, columns) == ("meta", [("base:1:all", "model")], ["m"])
    assert loader.load_with_dependencies("stack:0:all") == {
        "base:0:all": "scaler",
        "base:1:all": "model",
        "stack:0:all": "meta",
    }
    names = [record.artifact_id for record in registry.resolve_dependencies("stack:0:all")]
    assert names == ["base:0:all", "base:1:all"]


def test_a_source_from_an_unfinished_pipeline_is_copied_in(
    registry: ArtifactRegistry, loader: ArtifactLoader
) -> None:
    """It holds although the other pipeline is dropped."""
    with pytest.raises(RuntimeError), registry.run():  # noqa: PT012 - a run that fails
        registry.register(np.arange(2000.0), "base:0:all", MODEL)
        registry.register("model", "base:1:all", MODEL, depends_on=["base:0:all"])
        registry.register_meta_model("meta", "stack:0:all", ["base:1:all"])
        registry.complete_pipeline("stack")
        raise RuntimeError
    assert registry.resolve("base:1:all") is None
    loaded = loader.load_with_dependencies("stack:0:all")
    assert list(loaded) == ["base:0:all", "base:1:all", "stack:0:all"]
    assert loaded["base:0:all"][1999] == 1999.0


def test_a_dependency_registered_again_is_the_one_that_was_used(
    registry: ArtifactRegistry, loader: ArtifactLoader
) -> None:
    with registry.run():
        registry.register("old", "p:0:all", "transformer")
        registry.register("model", "p:1:all", MODEL, depends_on=["p:0:all"])
        registry.register("meta", "p:2:all", MODEL, depends_on=["p:1:all"])
        registry.register("new", "p:0:all", "transformer")
    assert loader.load_by_id("p:0:all") == "new"
    assert loader.load_with_dependencies("p:2:all")["p:0:all"] == "old"


@pytest.mark.parametrize(
    ("meta", "source", "allowed"),
    [
        ("p:0:5:all", "p:0:1:all", True),
        ("p:0:5:all", "p:1:all", True),
        ("p:0:1:5:all", "p:0:1:all", True),
        ("p:5:all", "p:0:1:all", True),
        ("p:1:5:all", "p:0:1:all", False),
        ("p:0:1:5:all", "p:0:2:1:all", False),
        ("p:1:5:all", "q:0:1:all", True),
    ],
)
def test_a_source_of_a_sibling_branch_is_refused(
    registry: ArtifactRegistry, loader: ArtifactLoader, meta: str, source: str, allowed: bool
) -> None:
    registry.register("source", source, MODEL)
    registry.register_meta_model("meta", meta, [source])
    if allowed:
        assert loader.load_meta_model_for_prediction(meta)[1] == [(source, "source")]
    else:
        with pytest.raises(InvalidInputError, match="is in branch"):
            loader.load_meta_model_for_prediction(meta)
    assert loader.load_meta_model_with_sources(meta, validate_branch=False)[0] == "meta"


def test_prediction_checks_the_features(
    registry: ArtifactRegistry, loader: ArtifactLoader, fitted: dict
) -> None:
    registry.register(fitted["folds"][0], "p:0:all", MODEL)
    registry.register_meta_model(fitted["meta"], "p:1:all", ["p:0:all"], ["a"])
    x = fitted["x"]
    assert loader.load_meta_model_for_prediction("p:1:all", x)[2] == ["a"]
    with pytest.raises(InvalidInputError, match="fitted on 120 features, X has 7"):
        loader.load_meta_model_for_prediction("p:1:all", x[:, :7])
    with pytest.raises(InvalidInputError, match="shape"):
        loader.load_meta_model_for_prediction("p:1:all", x[0])


def test_dependents_and_dependencies(registry: ArtifactRegistry, train: Trainer) -> None:
    train(registry)
    folds = [f"0001_pls:0:1:{fold}" for fold in range(3)]
    assert registry.get_dependents("0001_pls:0:all") == folds
    assert registry.get_dependents(folds[1]) == [META]
    assert registry.get_dependencies(META) == folds
    assert registry.get_dependencies("0001_pls:0:all") == []
    resolved = registry.resolve_dependencies(META)
    assert [record.artifact_id for record in resolved] == ["0001_pls:0:all", *folds]
    with pytest.raises(ArtifactNotFoundError):
        registry.get_dependencies("0001_pls:9:all")


def test_add_dependency_rebuilds_what_depends_on_it(
    registry: ArtifactRegistry, loader: ArtifactLoader
) -> None:
    registry.register("elsewhere", "other:0:all", MODEL)
    with registry.run():
        for place in range(4):
            deps = [f"p:{place - 1}:all"] if place in (2, 3) else []
            registry.register(place, f"p:{place}:all", MODEL, depends_on=deps)
        record = registry.add_dependency("p:1:all", "p:0:all")
        assert record.depends_on == ["p:0:all"]
        registry.add_dependency("p:1:all", "p:0:all")
        registry.add_dependency("p:1:all", "other:0:all")
        for depends_on in ("p:1:all", "p:2:all", "p:3:all"):
            with pytest.raises(InvalidInputError, match="cycle"):
                registry.add_dependency("p:1:all", depends_on)
        with pytest.raises(DependencyNotFoundError):
            registry.add_dependency("p:1:all", "p:9:all")
        with pytest.raises(ArtifactNotFoundError):
            registry.add_dependency("p:9:all", "p:1:all")
        with pytest.raises(ArtifactNotFoundError, match="not in an open pipeline"):
            registry.add_dependency("other:0:all", "p:1:all")
    assert list(loader.load_with_dependencies("p:3:all")) == [
        "p:0:all",
        "other:0:all",
        "p:1:all",
        "p:2:all",
        "p:3:all",
    ]
    assert registry.get_dependencies("p:1:all") == ["p:0:all", "other:0:all"]
    with pytest.raises(InvalidInputError, match="no run is open"):
        registry.add_dependency("p:1:all", "p:0:all")


def test_a_chain_may_be_long_and_not_endless(
    registry: ArtifactRegistry, loader: ArtifactLoader
) -> None:
    with registry.run():
        registry.register(0, "p:0:all", MODEL)
        for place in range(1, MAX_DEPTH + 1):
            registry.register(place, f"p:{place}:all", MODEL, depends_on=[f"p:{place - 1}:all"])
        with pytest.raises(InvalidInputError, match="more than 1000 dependencies"):
            registry.register(1, f"p:{MAX_DEPTH + 1}:all", MODEL, depends_on=[f"p:{MAX_DEPTH}:all"])
    loader.set_cache_size(0)
    loaded = loader.load_with_dependencies(f"p:{MAX_DEPTH}:all")
    assert list(loaded.values()) == list(range(MAX_DEPTH + 1))


def test_registering_again_over_ones_own_dependent_is_a_cycle(
    registry: ArtifactRegistry, loader: ArtifactLoader
) -> None:
    """Two versions of one id below one artifact could not both be loaded by that id."""
    with registry.run():
        registry.register("a", "p:0:all", "model")
        registry.register("b", "p:1:all", "model", depends_on=["p:0:all"])
        registry.register("c", "p:2:all", "model", depends_on=["p:1:all"])
        for dependent in ("p:1:all", "p:2:all"):
            with pytest.raises(InvalidInputError, match="cycle"):
                registry.register("again", "p:0:all", "model", depends_on=[dependent])
        assert registry.register("again", "p:1:all", "model", depends_on=["p:0:all"]).version == 2
    assert loader.load_with_dependencies("p:1:all") == {"p:0:all": "a", "p:1:all": "again"}


def test_two_versions_of_one_dependency_are_never_taken_for_one(
    registry: ArtifactRegistry, loader: ArtifactLoader
) -> None:
    """The model was fitted behind the old scaler, the meta-model behind the new one."""
    registry.register("old", "p:0:all", "transformer")
    registry.register("model", "m:1:all", MODEL, depends_on=["p:0:all"])
    registry.register("new", "p:0:all", "transformer")
    for place, deps in enumerate((["m:1:all", "p:0:all"], ["p:0:all", "m:1:all"])):
        name = f"q:{place}:all"
        registry.register("top", name, MODEL, depends_on=deps)
        with pytest.raises(AmbiguousNameError, match="two versions of p:0:all") as caught:
            loader.load_with_dependencies(name)
        assert len(set(caught.value.candidates)) == 2
        held = [(r.artifact_id, r.version) for r in registry.resolve_dependencies(name)]
        assert sorted(held) == [("m:1:all", 1), ("p:0:all", 1), ("p:0:all", 2)]
    loaded = [registry.load_artifact(record) for record in registry.resolve_dependencies("q:0:all")]
    assert loaded == ["old", "model", "new"]
    assert loader.load_with_dependencies("m:1:all") == {"p:0:all": "old", "m:1:all": "model"}


def test_the_sources_of_a_meta_model_are_told_when_its_pipeline_is_gone(
    registry: ArtifactRegistry,
) -> None:
    """Also when they are neither its first dependencies nor in the order of these."""
    for step in range(3):
        registry.register(f"model {step}", f"p:{step}:all", MODEL)
    config = {"source_models": ["p:2:all", "p:1:all"], "feature_columns": ["two", "one"]}
    deps = ["p:0:all", "p:1:all"]
    inner = registry.register("in", "in:3:all", ArtifactType.META_MODEL, deps, meta_config=config)
    assert inner.depends_on == ["p:2:all", "p:1:all", "p:0:all"]
    registry.register_meta_model("out", "out:4:all", ["in:3:all"])
    registry.delete_pipeline_artifacts("in")
    assert registry.resolve("in:3:all") is None
    kept = next(r for r in registry.resolve_dependencies("out:4:all") if r.is_meta_model)
    assert kept.meta_config == inner.meta_config
    assert registry.load_artifact(kept) == "in"

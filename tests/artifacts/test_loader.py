"""Loading: by id, by place, with dependencies; and what a loader refuses."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from n4a_store import (
    AmbiguousNameError,
    ArtifactLoader,
    ArtifactNotFoundError,
    ArtifactRegistry,
    ArtifactType,
    InvalidInputError,
    RefNotFoundError,
    StoreNotFoundError,
    Workspace,
)
from n4a_store.artifacts.manifest_tree import PipelineManifest
from n4a_store.artifacts.removal import remove
from n4a_store.objects.oid import BytesLike, ObjectId
from n4a_store.packs.reader import PackReader
from n4a_store.repo.gc import collect
from n4a_store.repo.session import drop_idle_sessions

MODEL = ArtifactType.MODEL
Trainer = Callable[..., str]


def test_what_is_loaded_predicts_like_what_was_fitted(
    registry: ArtifactRegistry, loader: ArtifactLoader, train: Trainer, fitted: dict
) -> None:
    train(registry)
    loaded = loader.load_by_id("0001_pls:0:1:2")
    x = fitted["x"]
    assert np.array_equal(loaded.predict(x), fitted["folds"][2].predict(x))
    scaler = loader.load_by_id("0001_pls:0:all")
    scaler.partial_fit(x)
    assert scaler.n_samples_seen_ == 60


def test_a_new_process_predicts_bit_for_bit(
    registry: ArtifactRegistry, workspace: Workspace, train: Trainer, fitted: dict
) -> None:
    train(registry)
    registry.register(fitted["x"], "data:0:all", "transformer")
    code = (
        "import sys\n"
        "from n4a_store import ArtifactLoader\n"
        "loader = ArtifactLoader(sys.argv[1], 'corn')\n"
        "x = loader.load_by_id('data:0:all')\n"
        "print(loader.load_by_id('0001_pls:0:1:0').predict(x).tobytes().hex())\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(workspace.path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.strip() == fitted["folds"][0].predict(fitted["x"]).tobytes().hex()


def test_unknown_names_are_errors_of_their_kind(
    registry: ArtifactRegistry, loader: ArtifactLoader, workspace: Workspace, train: Trainer
) -> None:
    train(registry)
    with pytest.raises(ArtifactNotFoundError, match="no artifact 0001_pls:9:all") as caught:
        loader.load_by_id("0001_pls:9:all")
    assert isinstance(caught.value, KeyError)
    with pytest.raises(InvalidInputError, match="malformed"):
        loader.load_by_id("0001_pls")
    with pytest.raises(ArtifactNotFoundError, match="no pipeline 'nope'"):
        loader.load_for_step(0, pipeline_id="nope")
    with pytest.raises(StoreNotFoundError, match="no dataset 'wheat'"):
        ArtifactLoader(workspace, "wheat").load_by_id("p:0:all")
    with pytest.raises(RefNotFoundError, match="no run"):
        ArtifactLoader(workspace, "corn", run="20200101_000000").load_by_id("p:0:all")


@pytest.fixture
def branched(registry: ArtifactRegistry) -> ArtifactRegistry:
    """Step 1 in the trunk, in branches 0, 1 and 0/1, with folds; the value says where."""
    with registry.run():
        for key in ("1:all", "0:1:all", "0:1:0", "0:1:1", "1:1:0", "1:1:1", "0:1:1:0", "0:2:all"):
            registry.register(f"at {key}", f"p:{key}", MODEL)
    return registry


@pytest.mark.parametrize(
    ("branch_path", "fold_id", "keys"),
    [
        ([], None, ["1:all"]),
        ([0], None, ["1:all", "0:1:all", "0:1:0", "0:1:1"]),
        ([1], None, ["1:all", "1:1:0", "1:1:1"]),
        ([0, 1], None, ["1:all", "0:1:all", "0:1:0", "0:1:1", "0:1:1:0"]),
        ([0, 2], None, ["1:all", "0:1:all", "0:1:0", "0:1:1"]),
        ([0], 1, ["1:all", "0:1:all", "0:1:1"]),
        ([0], 7, ["1:all", "0:1:all"]),
        (None, 0, ["1:all", "0:1:all", "0:1:0", "0:1:1:0", "1:1:0"]),
    ],
)
def test_a_branch_sees_itself_and_its_ancestors(
    branched: ArtifactRegistry,
    loader: ArtifactLoader,
    branch_path: list | None,
    fold_id: int | None,
    keys: list,
) -> None:
    loaded = loader.load_for_step(1, branch_path=branch_path, fold_id=fold_id)
    assert loaded == [(f"p:{key}", f"at {key}") for key in keys]


def test_fold_models_of_two_branches_never_come_back_mixed(
    branched: ArtifactRegistry, loader: ArtifactLoader
) -> None:
    assert loader.load_fold_models(1, [0]) == [(0, "at 0:1:0"), (1, "at 0:1:1")]
    assert loader.load_fold_models(1, [1]) == [(0, "at 1:1:0"), (1, "at 1:1:1")]
    assert loader.load_fold_models(1, [0, 1]) == [(0, "at 0:1:1:0")]
    assert loader.load_fold_models(1, []) == []
    with pytest.raises(AmbiguousNameError, match="several places") as caught:
        loader.load_fold_models(1)
    assert caught.value.candidates == ("p:0", "p:0:1", "p:1")


def test_fold_models_of_two_sub_steps_never_come_back_mixed(
    registry: ArtifactRegistry, loader: ArtifactLoader
) -> None:
    for sub_index in (0, 1):
        for fold in (1, 0):
            name = registry.generate_id("p", [], 3, fold, sub_index=sub_index)
            registry.register(f"{sub_index} of {fold}", name, MODEL)
    with pytest.raises(AmbiguousNameError) as caught:
        loader.load_fold_models(3)
    assert caught.value.candidates == ("p:3.0", "p:3.1")
    assert loader.load_fold_models(3, sub_index=1) == [(0, "1 of 0"), (1, "1 of 1")]
    found = registry.get_fold_models("p", 3, sub_index=0)
    assert [record.artifact_id for record in found] == ["p:3.0:0", "p:3.0:1"]
    assert loader.load_fold_models(3, sub_index=2) == []
    with pytest.raises(InvalidInputError, match="sub-step"):
        loader.load_fold_models(3, sub_index=True)


def test_models_of_two_pipelines_never_come_back_mixed(
    registry: ArtifactRegistry, loader: ArtifactLoader
) -> None:
    for name in ("p", "q"):
        for fold in (1, 0):
            registry.register(f"{name}{fold}", f"{name}:3:{fold}", MODEL)
    assert loader.load_fold_models(3, pipeline_id="q") == [(0, "q0"), (1, "q1")]
    for ask in (loader.load_fold_models, loader.load_for_step):
        with pytest.raises(AmbiguousNameError) as caught:
            ask(3)
        assert caught.value.candidates == ("p", "q")
    registry.register("s", "p:4:all", MODEL)
    assert loader.load_for_step(4) == [("p:4:all", "s")]
    assert loader.load_for_step(5) == []


def test_only_models_are_fold_models(registry: ArtifactRegistry, loader: ArtifactLoader) -> None:
    registry.register(StandardScaler(), "p:1:0", "transformer")
    registry.register(Ridge(), "p:1.1:0", MODEL)
    assert [(fold, type(m).__name__) for fold, m in loader.load_fold_models(1)] == [(0, "Ridge")]


def test_folds_are_sorted_as_numbers(registry: ArtifactRegistry, loader: ArtifactLoader) -> None:
    with registry.run():
        for fold in (10, 2, 0, 1):
            registry.register(fold, f"p:1:{fold}", MODEL)
    assert loader.load_fold_models(1) == [(0, 0), (1, 1), (2, 2), (10, 10)]


def test_dependencies_come_first(
    registry: ArtifactRegistry, loader: ArtifactLoader, train: Trainer
) -> None:
    train(registry)
    loaded = loader.load_with_dependencies("0001_pls:0:2:all")
    assert list(loaded) == [
        "0001_pls:0:all",
        "0001_pls:0:1:0",
        "0001_pls:0:1:1",
        "0001_pls:0:1:2",
        "0001_pls:0:2:all",
    ]
    assert [type(obj).__name__ for obj in loaded.values()][::4] == ["StandardScaler", "Ridge"]


def test_opening_reads_no_payload(
    registry: ArtifactRegistry, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything can be listed and asked about; a payload is read when it is loaded."""
    record = registry.register(np.random.default_rng(0).random(2000), "p:0:all", MODEL)
    registry.register(Ridge(), "p:1:0", MODEL, depends_on=["p:0:all"])
    content = registry.store.get_tree(registry.store.resolve(record.content_hash))
    payload = {content["skeleton"].oid, content["0" * 8].oid}
    seen: list[ObjectId] = []
    real = PackReader.fetch

    def note(
        reader: PackReader, oid: bytes, position: int, *, own: bool
    ) -> tuple[int, BytesLike] | None:
        seen.append(ObjectId(oid))
        return real(reader, oid, position, own=own)

    monkeypatch.setattr(PackReader, "fetch", note)
    loader = ArtifactLoader(workspace, "corn")
    assert [at.artifact_id for at in loader.get_all_records()] == ["p:0:all", "p:1:0"]
    assert loader.load_fold_models(1)[0][0] == 0
    assert seen
    assert not payload & set(seen)
    loader.load_by_id("p:0:all")
    assert payload <= set(seen)


def test_an_id_registered_again_is_loaded_anew(
    registry: ArtifactRegistry, loader: ArtifactLoader, workspace: Workspace
) -> None:
    with registry.run() as run:
        registry.register("old", "p:0:all", MODEL)
    assert loader.load_by_id("p:0:all") == "old"
    with registry.run():
        registry.register("new", "p:0:all", MODEL)
    assert loader.load_by_id("p:0:all") == "new"
    assert ArtifactLoader(workspace, "corn", run=run.id).load_by_id("p:0:all") == "old"


def test_the_cache_keeps_what_was_used_last(
    registry: ArtifactRegistry, workspace: Workspace
) -> None:
    for place, obj in enumerate([None, 0, "", [], False, 7]):
        registry.register(obj, f"p:{place}:all", MODEL)
    loader = ArtifactLoader(workspace, "corn", cache_size=2)
    for place in (0, 1, 0, 2, 0):
        loader.load_by_id(f"p:{place}:all")
    info = loader.get_cache_info()
    assert (info["size"], info["max_size"], info["hits"], info["misses"]) == (2, 2, 2, 3)
    assert info.hit_rate == info["hit_rate"] == 0.4
    assert info.evictions == 1
    loader.load_by_id("p:1:all")
    assert loader.get_cache_info().misses == 4
    loader.clear_cache()
    assert loader.get_cache_info().size == loader.get_cache_info().hits == 0
    assert loader.preload_artifacts() == 6
    assert loader.get_cache_info().size == 2
    loader.set_cache_size(10)
    assert loader.preload_artifacts(ids=["p:0:all", "p:5:all", "p:5:all"]) == 1
    assert loader.preload_artifacts(types=["transformer"]) == 0
    assert loader.preload_artifacts(types=[MODEL]) == 3
    loader.set_cache_size(1)
    assert loader.get_cache_info().size == 1
    for size in (-1, True, 1.5, None):
        with pytest.raises(InvalidInputError, match="cache size"):
            loader.set_cache_size(size)  # type: ignore[arg-type]


def test_without_a_cache_every_load_is_fresh(
    registry: ArtifactRegistry, workspace: Workspace
) -> None:
    registry.register([1], "p:0:all", MODEL)
    loader = ArtifactLoader(workspace, "corn", cache_size=0)
    loader.load_by_id("p:0:all").append(2)
    assert loader.load_by_id("p:0:all") == [1]


def test_the_cache_is_bounded_by_bytes(registry: ArtifactRegistry, workspace: Workspace) -> None:
    for place in range(3):
        registry.register(np.full(1000, place), f"p:{place}:all", MODEL)
    small = Workspace(workspace.path, settings=type(workspace.settings)(cache_bytes=17_000))
    loader = ArtifactLoader(small, "corn")
    loader.preload_artifacts()
    assert loader.get_cache_info().size == 2
    assert loader.get_cache_info().bytes <= 17_000


def test_mmap_gives_read_only_arrays(registry: ArtifactRegistry, workspace: Workspace) -> None:
    registry.register(np.arange(1000.0), "p:0:all", MODEL)
    array = ArtifactLoader(workspace, "corn", mmap=True).load_by_id("p:0:all")
    assert not array.flags.writeable
    assert ArtifactLoader(workspace, "corn").load_by_id("p:0:all").flags.writeable


def test_preloading_stops_at_what_is_unknown(
    registry: ArtifactRegistry, loader: ArtifactLoader
) -> None:
    registry.register(1, "p:0:all", MODEL)
    with pytest.raises(ArtifactNotFoundError):
        loader.preload_artifacts(ids=["p:0:all", "p:1:all"])
    with pytest.raises(InvalidInputError, match="list of artifact ids"):
        loader.preload_artifacts(ids="p:0:all")
    with pytest.raises(InvalidInputError, match="unknown artifact type"):
        loader.preload_artifacts(types=["modle"])


def test_a_record_that_is_changed_changes_no_other(
    registry: ArtifactRegistry, loader: ArtifactLoader
) -> None:
    """Records are remembered by content; what a reader gets is its own."""
    registry.register(np.arange(3), "p:0:all", MODEL, params={"grid": [1, {"deep": [2]}]})
    for _ in range(2):
        record = loader.get_record("p:0:all")
        assert record is not None
        assert record.params["grid"] == [1, {"deep": [2]}]
        record.params["grid"][1]["deep"].append(3)


def test_two_ids_never_give_one_object(registry: ArtifactRegistry, workspace: Workspace) -> None:
    """Folds that were fitted alike are stored once; whoever changes one changes no other."""
    names = [f"p:0:{fold}" for fold in range(3)]
    for name in names:
        registry.register({"weights": [1.0]}, name, "model")
    loader = ArtifactLoader(workspace, "corn", cache_size=np.int64(5))
    assert loader.preload_artifacts() == 3
    assert (loader.get_cache_info().size, loader.get_cache_info().max_size) == (3, 5)
    first = loader.load_by_id(names[0])
    first["weights"].append(2.0)
    assert loader.load_by_id(names[0]) is first
    assert [model for _, model in loader.load_fold_models(0)][1:] == [{"weights": [1.0]}] * 2


def test_what_depends_on_its_own_earlier_version_comes_last(
    registry: ArtifactRegistry, loader: ArtifactLoader
) -> None:
    registry.register(0, "a:0:all", "model")
    registry.register(1, "a:1:all", "model", depends_on=["a:0:all"])
    registry.register(5, "a:0:all", "model", depends_on=["a:1:all"])
    assert list(loader.load_with_dependencies("a:0:all").items()) == [
        ("a:1:all", 1),
        ("a:0:all", 5),
    ]


def test_a_loader_that_is_told_of_a_run_later_gives_what_that_run_held(
    registry: ArtifactRegistry, loader: ArtifactLoader
) -> None:
    with registry.run() as old:
        registry.register("old", "p:0:all", "model")
    with registry.run():
        registry.register("new", "p:0:all", "model")
    assert loader.load_by_id("p:0:all") == "new"
    loader.run = old.id
    assert loader.load_by_id("p:0:all") == "old"


def test_a_loader_goes_to_another_process(
    registry: ArtifactRegistry, workspace: Workspace, train: Trainer
) -> None:
    run = train(registry)
    loader = ArtifactLoader(workspace, "corn", 7, run=run, mmap=True)
    loader.load_by_id("0001_pls:0:all")
    other = pickle.loads(pickle.dumps(loader))
    assert (other.run, other.mmap, other.trust) == (run, True, False)
    assert (other.get_cache_info().size, other.get_cache_info().max_size) == (0, 7)
    path = next((workspace.path / "runs").rglob("manifest.yaml"))
    named = pickle.loads(pickle.dumps(ArtifactLoader.from_manifest(path)))
    train(registry, "another")
    for one in (other, named):
        assert [name for name, _ in one.load_for_step(0)] == ["0001_pls:0:all"]
        one.close()


@pytest.mark.parametrize("in_run", [False, True])
def test_a_pipeline_that_is_replaced_between_its_ref_and_its_manifest_is_read(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, in_run: bool
) -> None:
    """gc took the manifest that the ref had led to a moment before: it was called damaged."""
    with ArtifactRegistry(workspace, "corn") as registry:
        with registry.run() as run:
            registry.register([1], "p:0:all", "model")
        loader = ArtifactLoader(workspace, "corn", run=run.id if in_run else None)
        real = PipelineManifest.read.__func__  # type: ignore[attr-defined]

        def read(cls: type[PipelineManifest], *args: Any) -> PipelineManifest:
            monkeypatch.undo()
            remove(registry.store, [f"refs/runs/{run.id}", "refs/pipelines/p"], dry_run=False)
            registry.register([2], "p:0:all", "model")
            drop_idle_sessions()
            collect(registry.store, expire_now=True, thorough=True)
            return real(cls, *args)

        monkeypatch.setattr(PipelineManifest, "read", classmethod(read))
        assert loader.load_by_id("p:0:all") in ([1], [2])
        loader.close()

"""What somebody calls first who has only read the names."""

from __future__ import annotations

import dataclasses
import json
import pickle
import types
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from n4a_store import (
    ArtifactLoader,
    ArtifactRecord,
    ArtifactRegistry,
    ArtifactType,
    CommitEach,
    InvalidInputError,
    InvalidNameError,
    NotFoundError,
    RunStatus,
    Settings,
    Store,
    WorkerRegistry,
    Workspace,
)
from n4a_store.artifacts.contents import contents_of
from n4a_store.artifacts.manifest_tree import StoredArtifact
from n4a_store.artifacts.subject import PipelineSubject, identify

MODEL = ArtifactType.MODEL


# --- settings -----------------------------------------------------------------------------------


def test_the_store_s_own_settings_hold_before_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ArtifactRegistry(tmp_path, "corn").register({"a": 1}, "p:0:all", MODEL)
    config = tmp_path / "binaries" / "corn" / "config"
    config.write_text('cache_bytes = 2000000\ncommit_each = "run"\n')
    assert ArtifactLoader(tmp_path, "corn").get_cache_info().max_bytes == 2_000_000
    registry = ArtifactRegistry(tmp_path, "corn")
    with registry.run():
        registry.register({"a": 2}, "q:0:all", MODEL)
        registry.complete_pipeline("q")
        assert ArtifactRegistry(tmp_path, "corn").resolve("q:0:all") is None
    assert ArtifactRegistry(tmp_path, "corn").resolve("q:0:all") is not None
    monkeypatch.setenv("N4A_STORE_CACHE_BYTES", "3000000")
    assert ArtifactLoader(tmp_path, "corn").get_cache_info().max_bytes == 3_000_000
    assert ArtifactLoader(tmp_path, "new").get_cache_info().max_bytes == 3_000_000
    given = Workspace(tmp_path, settings=Settings(cache_bytes=4_000_000))
    assert ArtifactLoader(given, "corn").get_cache_info().max_bytes == 4_000_000
    assert given.settings_of("corn").commit_each is CommitEach.PIPELINE
    assert not (tmp_path / "binaries" / "new").exists()


# --- runs ---------------------------------------------------------------------------------------


def test_a_run_may_be_named_by_its_handle_or_its_ref(registry: ArtifactRegistry) -> None:
    with registry.run() as first:
        registry.register(Ridge(1.0), "p:0:all", MODEL)
    with registry.run():
        registry.register(Ridge(2.0), "p:0:all", MODEL)
    for name in (first, first.id, f"refs/runs/{first.id}"):
        record = registry.resolve("p:0:all", run=name)
        assert record is not None
        assert record.params["alpha"] == 1.0
        loader = ArtifactLoader(registry.workspace, "corn", run=name)
        assert loader.load_by_id("p:0:all").alpha == 1.0
        assert len(registry.get_all_records(run=name)) == 1
        assert registry.export_to_manifest(run=name)["run_id"] == first.id
    assert registry.store.resolve(f"runs/{first.id}") == registry.store.resolve(first.id)
    with pytest.raises(InvalidNameError, match="run id"):
        registry.resolve("p:0:all", run=5)  # type: ignore[arg-type]


def test_a_started_run_is_a_block_too(registry: ArtifactRegistry) -> None:
    with registry.start_run() as run:
        registry.register(1, "p:0:all", MODEL)
    assert not run.is_open
    assert registry.resolve("p:0:all") is not None
    failed = registry.start_run()

    def fail() -> None:
        with failed:
            registry.register(2, "q:0:all", MODEL)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert registry.resolve("q:0:all") is None
    assert registry.store.get_run(registry.store.resolve(failed.id)).status is RunStatus.FAILED


def test_a_registry_goes_to_another_process_without_its_run(registry: ArtifactRegistry) -> None:
    registry.register(1, "p:0:all", MODEL)
    other = pickle.loads(pickle.dumps(registry))
    assert other.resolve("p:0:all") == registry.resolve("p:0:all")
    with registry.run() as run:
        registry.register(2, "q:0:all", MODEL)
        for held in (registry, run):
            with pytest.raises(InvalidInputError, match=f"run {run.id} is open") as caught:
                pickle.dumps(held)
            assert "worker_ticket" in str(caught.value.hint)


def test_a_worker_hands_over_and_the_run_adopts(registry: ArtifactRegistry) -> None:
    with registry.run() as run:
        ticket = pickle.loads(pickle.dumps(run.worker_ticket()))
        with WorkerRegistry(ticket) as worker:
            worker.register(np.arange(9.0), "w:0:all", MODEL)
            made = pickle.loads(pickle.dumps(worker.hand_over()))
        assert registry.resolve("w:0:all") is None
        run.adopt(made)
        assert registry.resolve("w:0:all") is not None
        run.adopt([])
    assert run.completed == ["w"]


# --- records ------------------------------------------------------------------------------------


def test_a_record_goes_into_json_and_into_a_dict(registry: ArtifactRegistry) -> None:
    record = registry.register(Ridge(0.5), "p:0:all", MODEL)
    assert json.loads(json.dumps(record.params))["alpha"] == 0.5
    assert dataclasses.asdict(record)["params"]["alpha"] == 0.5
    with pytest.raises(TypeError):
        record.params["alpha"] = 1.0  # type: ignore[index]


@pytest.mark.parametrize("name", ["A/b", "\x1b[31m", "a\nb", "x y", "..", ".hidden", "\u202eevil"])
def test_a_class_of_any_name_has_a_safe_file_name(registry: ArtifactRegistry, name: str) -> None:
    cls = types.new_class(name)
    record = registry.register(cls(), "p:3:all", MODEL)
    assert record.class_name == name.rpartition(".")[2]
    assert ArtifactRecord.from_dict(record.to_dict()) == record
    stem = record.path.removeprefix("model_").removesuffix(f"_{record.short_hash}.pkl")
    assert stem.isprintable()
    assert not set(stem) & set("/\\ :\u202e")
    manifest = registry.export_to_manifest("p")
    loader = ArtifactLoader.from_manifest(manifest, registry.workspace.path)
    assert loader.get_cache_info().size == 0


def test_a_meta_model_may_name_its_sources_as_the_call_does(registry: ArtifactRegistry) -> None:
    with registry.run():
        registry.register(Ridge(), "p:0:all", MODEL)
        config = {"source_model_ids": ["p:0:all"]}
        record = registry.register(Ridge(), "p:1:all", "meta_model", meta_config=config)
        both = {"source_model_ids": ["p:0:all"], "source_models": ["p:0:all"]}
        with pytest.raises(InvalidInputError, match="one"):
            registry.register(Ridge(), "p:2:all", "meta_model", meta_config=both)
    assert record.meta_config is not None
    assert record.meta_config.source_ids == ["p:0:all"]
    assert record.depends_on == ["p:0:all"]


def test_branches_bear_the_names_that_people_write(registry: ArtifactRegistry) -> None:
    names = ["first derivative", "SNV + PLS", "größe (2nd)", "a.b"]
    with registry.run():
        for at, name in enumerate(names):
            registry.register(at, f"p:{at}:0:all", "transformer")
            registry.name_branch("p", [at], name)
        for bad in ("", "  ", " a", "a/b", "a:b", "a\nb", "\u202eevil", "x" * 201):
            with pytest.raises(InvalidNameError, match="branch name"):
                registry.name_branch("p", [0], bad)
    assert list(registry.export_to_manifest("p")["branches"].values()) == names


# --- cleaning up --------------------------------------------------------------------------------


def test_now_gives_up_what_an_earlier_purge_left_to_undo(registry: ArtifactRegistry) -> None:
    registry.register(np.random.default_rng(0).normal(size=5000), "a:0:all", MODEL)
    assert registry.purge_dataset_artifacts(confirm=True)[0] == 1
    assert registry.find_orphaned_artifacts() != []
    artifacts, size = registry.purge_dataset_artifacts(confirm=True, expire="now")
    assert artifacts == 0
    assert size > 30_000
    assert registry.find_orphaned_artifacts() == []
    assert registry.purge_dataset_artifacts(confirm=True) == (0, 0)


def test_a_pipeline_can_be_deleted_for_good(registry: ArtifactRegistry) -> None:
    registry.register(np.random.default_rng(0).normal(size=5000), "a:0:all", MODEL)
    registry.register(np.ones(5000), "b:0:all", MODEL)
    with pytest.raises(InvalidInputError, match="expire"):
        registry.delete_pipeline_artifacts("a", expire="later")
    assert registry.delete_pipeline_artifacts("a", expire="now") == 1
    assert registry.find_orphaned_artifacts() == []
    assert registry.resolve("b:0:all") is not None


# --- looking inside -----------------------------------------------------------------------------


def test_what_cloudpickle_wrote_can_be_looked_into(registry: ArtifactRegistry) -> None:
    namespace: dict[str, type] = {}
    code = "class Scaler:\n    def __init__(self, mean):\n        self.mean = mean\n"
    exec(code, {"__name__": "__main__"}, namespace)
    made = types.new_class("Made")()
    made.coef = np.arange(3.0)
    objects = {
        0: namespace["Scaler"](np.arange(4.0)),
        1: lambda x: x + 1,
        2: FunctionTransformer(lambda x: x),
        3: made,
    }
    seen = {}
    for step, obj in objects.items():
        registry.register(obj, f"p:{step}:all", MODEL)
        tree = registry.store.resolve(f"p:{step}:all")
        stored = StoredArtifact.read(registry.store, tree, "it")
        assert stored.blob.pickler == "cloudpickle"
        seen[step] = contents_of(registry.store, stored)
    assert seen[0]["mean"].tolist() == [0, 1, 2, 3]
    assert seen[3]["coef"].tolist() == [0, 1, 2]


def test_a_pipeline_that_was_removed_keeps_its_name_in_the_reflog(
    registry: ArtifactRegistry,
) -> None:
    registry.register(StandardScaler(), "p:0:all", "transformer")
    store = registry.store
    oid = store.resolve("p")
    with store.transaction("keep") as txn:
        txn.set_ref("refs/tags/kept", oid)
    registry.delete_pipeline_artifacts("p")

    def name_of(text: str) -> str:
        subject = identify(store, store.resolve_entry(text), text)
        assert isinstance(subject, PipelineSubject)
        subject.manifest.record(store, "0:all")
        return subject.manifest.pipeline_id

    assert name_of("p@{1}") == name_of("kept") == "p"
    registry.delete_orphaned_artifacts(dry_run=False, expire="now")
    assert name_of("kept") == f"unnamed-{oid.short()}"
    with pytest.raises(NotFoundError):
        store.resolve("p@{1}")


def test_a_path_in_a_tree_is_one_text_however_it_is_typed(tmp_path: Path) -> None:
    with Store.init(tmp_path / "store") as store:
        with store.transaction() as txn:
            blob = txn.put_blob(b"x")
            txn.set_ref("refs/tags/t", txn.put_tree({"e\u0301": blob}))
        assert store.resolve("t:e\u0301") == store.resolve("t:\u00e9") == blob


def test_a_notebook_shows_runs_and_counts(registry: ArtifactRegistry) -> None:
    with registry.run(message="<b>") as run:
        registry.register(1, "p:0:all", MODEL)
        registry.complete_pipeline("p")
        assert "<td>p</td>" in run._repr_html_()
    stored = registry.store.get_run(registry.store.resolve(run.id))
    assert "&lt;b&gt;" in stored._repr_html_()
    assert "<th>model</th><td>1</td>" in registry.get_stats()._repr_html_()

"""Cleaning up: refs change, gc collects, and nothing that is shared is lost."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from n4a_store import (
    ArtifactLoader,
    ArtifactNotFoundError,
    ArtifactRegistry,
    CorruptionError,
    InvalidInputError,
    InvalidNameError,
    LockedError,
    ObjectId,
    Workspace,
)
from n4a_store.artifacts.removal import remove
from n4a_store.objects import trees
from n4a_store.repo.fsck import fsck
from n4a_store.repo.store import Store
from n4a_store.storage.locks import FileLock
from tests.repo.objects import spoil

Trainer = Callable[..., str]


def test_deleting_a_pipeline_keeps_what_another_shares(
    registry: ArtifactRegistry, loader: ArtifactLoader, train: Trainer
) -> None:
    train(registry, "a")
    train(registry, "b")
    assert registry.delete_pipeline_artifacts("a") == 5
    assert registry.resolve("a:0:all") is None
    registry.delete_orphaned_artifacts(dry_run=False, expire="now")
    assert len(loader.load_with_dependencies("b:0:2:all")) == 5
    with pytest.raises(ArtifactNotFoundError, match="no pipeline 'a'"):
        registry.delete_pipeline_artifacts("a")


def test_a_deleted_pipeline_is_gone_from_its_runs_too(
    registry: ArtifactRegistry, workspace: Workspace, train: Trainer
) -> None:
    run = train(registry, "a")
    assert registry.resolve("a:0:all", run=run) is not None
    registry.delete_pipeline_artifacts("a")
    assert registry.resolve("a:0:all", run=run) is None
    assert not list((workspace.path / "runs").rglob("manifest.yaml"))


@pytest.mark.parametrize("fanout", [4, 1024])
def test_a_pipeline_goes_from_every_run_that_holds_it_and_no_other_goes(
    registry: ArtifactRegistry, monkeypatch: pytest.MonkeyPatch, fanout: int
) -> None:
    monkeypatch.setattr(trees, "FANOUT_LIMIT", fanout)
    names = [f"p{number}" for number in range(9)]
    runs = []
    for held in (names, names[3:], names[:3]):
        with registry.run() as run:
            for name in held:
                registry.register(np.arange(3), f"{name}:0:all", "model")
                registry.complete_pipeline(name)
        runs.append(run.id)
    planned = remove(registry.store, ["refs/pipelines/p8"], dry_run=True)
    changed = [f"refs/runs/{run_id}" for run_id in runs[:2]]
    assert sorted(move.ref for move in planned.moves) == ["refs/pipelines/p8", *sorted(changed)]
    for number, gone in enumerate(names[4:], start=5):
        assert registry.delete_pipeline_artifacts(gone) == 1
        left = [name for name in names if name not in names[4:number]]
        assert sorted({record.pipeline_id for record in registry.get_all_records()}) == left
        for run_id, held in zip(runs, (names, names[3:], names[:3]), strict=True):
            kept = [record.pipeline_id for record in registry.get_all_records(run=run_id)]
            assert kept == [name for name in held if name in left]
    report = fsck(registry.store, full=True)
    assert report.ok


def test_deleting_a_pipeline_looks_at_no_more_where_there_is_more(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = [0]

    def counting(method: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object) -> object:
            looks[0] += 1
            return method(*args)

        return counted

    monkeypatch.setattr(trees, "FANOUT_LIMIT", 4)
    costs = []
    for dataset, pipelines in (("few", 8), ("many", 64)):
        with ArtifactRegistry(workspace, dataset) as registry:
            with registry.run():
                for number in range(pipelines):
                    registry.register(np.arange(number), f"p{number}:0:all", "model")
                    registry.complete_pipeline(f"p{number}")
            with monkeypatch.context() as patch:
                for name in ("read", "info", "node"):
                    patch.setattr(Store, name, counting(getattr(Store, name)))
                looks[0] = 0
                registry.delete_pipeline_artifacts("p1")
            costs.append(looks[0])
    assert 0 < costs[1] < costs[0] + 8  # a level more of the run's tree, and no more than that


def test_orphans_are_named_and_kept_for_the_undo_window(
    registry: ArtifactRegistry, train: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    train(registry, "a")
    names = {record.path for record in registry.get_all_records()}
    assert registry.find_orphaned_artifacts() == []
    registry.delete_pipeline_artifacts("a")
    assert set(registry.find_orphaned_artifacts()) == names
    assert {name.undoable for name in registry.find_orphaned_artifacts()} == {True}
    assert registry.delete_orphaned_artifacts() == ([], 0)
    assert registry.delete_orphaned_artifacts(dry_run=False)[0] == []
    assert set(registry.find_orphaned_artifacts()) == names
    planned, size = registry.delete_orphaned_artifacts(expire="now")
    assert set(planned) == names
    assert size > 10_000
    assert set(registry.find_orphaned_artifacts()) == names
    with caplog.at_level(logging.INFO, logger="n4a_store"):
        assert registry.delete_orphaned_artifacts(dry_run=False, expire="now") == (planned, size)
    assert all(any(name in line for line in caplog.messages) for name in names)
    assert registry.find_orphaned_artifacts() == []
    assert sum(1 for _ in registry.store.objects()) <= 4


def test_cleanup_during_training_leaves_the_running_run_alone(
    registry: ArtifactRegistry, workspace: Workspace
) -> None:
    other = ArtifactRegistry(workspace, "corn")
    with registry.run():
        registry.register(np.arange(5000.0), "p:0:all", "model")
        assert other.delete_orphaned_artifacts(dry_run=False, expire="now")[0] == []
        registry.complete_pipeline("p")
        registry.register(np.arange(6000.0), "q:0:all", "model", depends_on=["p:0:all"])
        other.delete_orphaned_artifacts(dry_run=False, expire="now")
    assert registry.load_artifact(registry.get_all_records("q")[0])[5999] == 5999
    other.close()


def test_a_pipeline_that_is_being_trained_is_not_deleted(registry: ArtifactRegistry) -> None:
    with registry.run():
        registry.register(1, "p:0:all", "model")
        with pytest.raises(InvalidInputError, match="is training pipeline p"):
            registry.delete_pipeline_artifacts("p")
        with pytest.raises(InvalidInputError, match="is open"):
            registry.purge_dataset_artifacts(confirm=True)


def test_purging_corn_leaves_wheat(
    registry: ArtifactRegistry, workspace: Workspace, train: Trainer
) -> None:
    wheat = ArtifactRegistry(workspace, "wheat")
    train(registry)
    train(wheat)
    for confirm in (False, None, 1, "yes"):
        with pytest.raises(ValueError, match="takes away all artifacts of dataset 'corn'"):
            registry.purge_dataset_artifacts(confirm=confirm)  # type: ignore[arg-type]
    artifacts, size = registry.purge_dataset_artifacts(confirm=True, expire="now")
    assert artifacts == 5
    assert size > 10_000
    assert registry.get_all_records() == []
    assert sum(1 for _ in registry.store.objects()) == 0
    assert not (workspace.path / "runs" / "corn").exists()
    assert len(list((workspace.path / "runs" / "wheat").rglob("manifest.yaml"))) == 1
    assert len(wheat.get_all_records()) == 5
    assert ArtifactLoader(workspace, "wheat").preload_artifacts() == 5
    assert registry.purge_dataset_artifacts(confirm=True) == (0, 0)
    assert train(registry)


@pytest.mark.parametrize("name", ["../../x", "..", "corn/../wheat", "/etc"])
def test_purging_never_leaves_the_workspace(
    registry: ArtifactRegistry, workspace: Workspace, train: Trainer, name: str
) -> None:
    train(registry)
    outside = workspace.path.parent / "x"
    outside.mkdir()
    (outside / "precious").write_text("mine")
    before = sorted(workspace.path.parent.rglob("*"))
    with pytest.raises(InvalidNameError):
        ArtifactRegistry(workspace, name).purge_dataset_artifacts(confirm=True)
    assert sorted(workspace.path.parent.rglob("*")) == before
    assert (outside / "precious").read_text() == "mine"


def test_a_root_that_cannot_be_read_stops_every_deletion(
    registry: ArtifactRegistry, workspace: Workspace, train: Trainer
) -> None:
    train(registry, "a")
    train(registry, "b")
    registry.delete_pipeline_artifacts("a")
    registry.close()
    packs = sorted((workspace.path / "binaries" / "corn" / "packs").iterdir())
    for pack in packs:
        data = bytearray(pack.read_bytes())
        data[60:200] = bytes(140)
        pack.write_bytes(data)
    before = [pack.read_bytes() for pack in packs]
    for act in (
        registry.find_orphaned_artifacts,
        lambda: registry.delete_orphaned_artifacts(dry_run=False, expire="now"),
    ):
        with pytest.raises(CorruptionError):
            act()
    assert [pack.read_bytes() for pack in packs] == before


def test_expire_is_checked(registry: ArtifactRegistry) -> None:
    registry.register(1, "p:0:all", "model")
    with pytest.raises(InvalidInputError, match="expire="):
        registry.delete_orphaned_artifacts(expire="never")
    with pytest.raises(InvalidInputError, match="expire="):
        registry.purge_dataset_artifacts(confirm=True, expire="soon")


def test_statistics_count_what_sharing_saves(registry: ArtifactRegistry, train: Trainer) -> None:
    train(registry, "a")
    train(registry, "b")
    stats = registry.get_stats()
    assert (stats.artifacts, stats.pipelines, stats.runs) == (10, 2, 2)
    assert (stats["references"], stats["unique_artifacts"]) == (10, 5)
    assert stats.deduplication_ratio == stats["deduplication_ratio"] == 2.0
    assert stats.by_type == {"model": 3, "transformer": 1, "meta_model": 1}
    assert dict(stats)["unique_bytes"] == stats.unique_bytes > 0


def test_a_failed_run_gives_back_what_another_completed_in_the_middle_of_it(
    registry: ArtifactRegistry, other: ArtifactRegistry
) -> None:
    """Not what stood there before both: the other one was told that its pipeline is kept."""
    _complete(registry, "before")
    registry.start_run()
    _complete_in_run(registry, "first")
    _complete(other, "theirs")
    _complete_in_run(registry, "second")
    registry.cleanup_failed_run(completed=True)
    record = other.resolve("a:0:all")
    assert record is not None
    assert other.load_artifact(record) == "theirs"


@pytest.mark.parametrize("by_other", [False, True])
def test_a_failed_run_does_not_bring_back_what_was_deleted_in_the_middle_of_it(
    registry: ArtifactRegistry, other: ArtifactRegistry, by_other: bool
) -> None:
    _complete(registry, "before")
    registry.start_run()
    _complete_in_run(registry, "first")
    (other if by_other else registry).delete_pipeline_artifacts("a")
    _complete_in_run(registry, "second")
    registry.cleanup_failed_run(completed=True)
    assert registry.resolve("a:0:all") is None


def _complete(registry: ArtifactRegistry, what: str) -> None:
    with registry.run():
        _complete_in_run(registry, what)


def _complete_in_run(registry: ArtifactRegistry, what: str) -> None:
    registry.register(what, "a:0:all", "model")
    registry.complete_pipeline("a")


def _damage_run(registry: ArtifactRegistry, run_id: str) -> None:
    _damage(registry, registry.store.ref(f"refs/runs/{run_id}").oid)


def _damage(registry: ArtifactRegistry, oid: ObjectId) -> None:
    spoil(registry.store, oid)
    registry.close()


@pytest.mark.parametrize("expire", [None, "now"])
def test_what_cannot_be_read_stops_every_deletion_before_it_begins(
    registry: ArtifactRegistry, expire: str | None
) -> None:
    """With an error that says that nothing was deleted, all refs were gone."""
    with registry.run() as first:
        registry.register(1, "a:0:all", "model")
    with registry.run():
        registry.register(2, "a:0:all", "model")
        registry.register(3, "b:0:all", "model")
    _damage_run(registry, first.id)
    before = registry.store.refs()
    with pytest.raises(CorruptionError, match="nothing was deleted"):
        registry.purge_dataset_artifacts(confirm=True, expire=expire)
    said = "nothing was" if expire else f"{first.id} cannot be read.*nothing was removed"
    with pytest.raises(CorruptionError, match=said) as caught:
        registry.delete_pipeline_artifacts("a", expire=expire)
    assert registry.store.refs() == before
    if expire is None:
        assert f"artifacts rm refs/runs/{first.id}" in str(caught.value.hint)
    # The way out: what is damaged goes first.
    remove(registry.store, [first.id], dry_run=False)
    registry.delete_pipeline_artifacts("a")
    registry.delete_orphaned_artifacts(dry_run=False, expire="now")
    assert [record.artifact_id for record in registry.get_all_records()] == ["b:0:all"]


def test_a_gc_that_cannot_follow_keeps_what_it_was_to_follow_from_happening(
    registry: ArtifactRegistry,
) -> None:
    with registry.run():
        registry.register(1, "a:0:all", "model")
        registry.register(2, "b:0:all", "model")
    before = registry.store.refs()
    with FileLock(registry.store.layout.gc_lock, note="another gc"):
        for take_away in (
            lambda: registry.delete_pipeline_artifacts("a", expire="now"),
            lambda: registry.purge_dataset_artifacts(confirm=True),
        ):
            with pytest.raises(LockedError):
                take_away()
            assert registry.store.refs() == before
        assert registry.delete_pipeline_artifacts("a") == 1  # undo has it; no gc follows


def test_what_only_another_pipeline_holds_stops_a_deletion_that_frees_at_once(
    registry: ArtifactRegistry,
) -> None:
    with registry.run():
        registry.register(1, "a:0:all", "model")
        registry.register("another", "b:0:all", "model")
    _damage(registry, registry.store.resolve("refs/pipelines/b:artifacts/0:all"))
    before = registry.store.refs()
    with pytest.raises(CorruptionError, match="nothing was deleted"):
        registry.delete_pipeline_artifacts("a", expire="now")
    assert registry.store.refs() == before


def test_nothing_is_taken_away_by_an_older_catalog_where_gc_is_to_follow(
    registry: ArtifactRegistry, tmp_path: Path
) -> None:
    registry.register(1, "a:0:all", "model")
    registry.store.catalog.copy_to(tmp_path / "old.db")
    registry.register(2, "b:0:all", "model")
    catalog = registry.store.layout.catalog
    registry.close()
    shutil.copy(tmp_path / "old.db", catalog)
    before = registry.store.refs()
    for take_away in (
        lambda: registry.delete_pipeline_artifacts("a", expire="now"),
        lambda: registry.purge_dataset_artifacts(confirm=True),
    ):
        with pytest.raises(CorruptionError, match="had come to operation"):
            take_away()
        assert registry.store.refs() == before


@pytest.mark.parametrize("where", ["corn/not\\ours", "corn/{run}/not\\ours"])
def test_a_folder_that_is_named_like_no_run_is_left_alone(
    registry: ArtifactRegistry, workspace: Workspace, where: str
) -> None:
    with registry.run() as run:
        registry.register([1], "p:0:all", "model")
        registry.register([2], "q:0:all", "model")
    runs = workspace.path / "runs"
    stranger = runs / where.format(run=run.id) / "p" / "manifest.yaml"
    stranger.parent.mkdir(parents=True)
    stranger.write_text("not ours")
    assert registry.delete_pipeline_artifacts("p") == 1
    registry.purge_dataset_artifacts(confirm=True)
    assert [path for path in runs.rglob("*") if path.is_file()] == [stranger]

"""Others delete, purge and collect while a run is open or a loader is reading."""

from __future__ import annotations

import multiprocessing
import threading
from pathlib import Path

import numpy as np
import pytest

from n4a_store import (
    ArtifactLoader,
    ArtifactNotFoundError,
    ArtifactRegistry,
    InvalidInputError,
    LockedError,
    Workspace,
)
from n4a_store.repo.gc import collect

# Python 3.12 warns of fork beside threads; the idle reader's thread is ours and safe.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


def collect_again_and_again(path: str, started: str, stop: str) -> None:
    """A gc that deletes at once whatever no ref reaches, over and over."""
    with Workspace(path).store("corn") as store:
        while not Path(stop).exists():
            try:
                collect(store, expire_now=True, thorough=True)
            except LockedError:
                continue
            Path(started).touch()


def test_a_loader_reads_on_while_its_dataset_is_collected(
    registry: ArtifactRegistry, loader: ArtifactLoader, workspace: Workspace, tmp_path: Path
) -> None:
    """Each round replaces what the loader has just read, so that every gc has work to do."""
    for step in range(4):
        registry.register(np.full(3000, step), f"p:{step}:all", "model")
    loader.set_cache_size(0)
    started, stop = tmp_path / "started", tmp_path / "stop"
    process = multiprocessing.get_context("fork").Process(
        target=collect_again_and_again, args=(str(workspace.path), str(started), str(stop))
    )
    process.start()
    try:
        expected = dict(enumerate(range(4)))
        rounds = 0
        while rounds < 12 or not started.exists():
            rounds += 1
            for step, value in expected.items():
                assert loader.load_by_id(f"p:{step}:all").tolist() == [value] * 3000
            with registry.run():  # the runs before it are deleted, so this makes garbage
                expected = {step: 100 * rounds + step for step in expected}
                for step, value in expected.items():
                    registry.register(np.full(3000, value), f"p:{step}:all", "model")
            for ref in registry.store.refs("refs/runs/")[:-1]:
                with registry.store.transaction() as txn:
                    txn.delete_ref(ref.name)
            assert len(loader.load_for_step(2, pipeline_id="p")) == 1
    finally:
        stop.touch()
        process.join(60)
    assert process.exitcode == 0


def test_arrays_over_the_stores_memory_outlive_a_purge(
    registry: ArtifactRegistry, workspace: Workspace
) -> None:
    registry.register(np.arange(5000.0), "p:0:all", "model")
    registry.register("b", "p:1:all", "model")
    loader = ArtifactLoader(workspace, "corn", mmap=True)
    array = loader.load_by_id("p:0:all")
    registry.purge_dataset_artifacts(confirm=True, expire="now")
    assert array.sum() == 5000 * 4999 / 2
    for name in ("p:0:all", "p:1:all"):
        with pytest.raises(ArtifactNotFoundError, match="no artifact"):
            loader.load_by_id(name)
    assert registry.register("c", "p:0:all", "model").version == 1
    assert loader.load_by_id("p:0:all") == "c"
    loader.close()


def test_a_dependency_that_is_deleted_and_collected_during_the_run_holds(
    registry: ArtifactRegistry, other: ArtifactRegistry, loader: ArtifactLoader
) -> None:
    registry.register(np.arange(1000.0), "src:0:all", "transformer")
    with registry.run():
        registry.register("mine", "p:0:all", "model", depends_on=["src:0:all"])
        other.delete_pipeline_artifacts("src")
        other.delete_orphaned_artifacts(dry_run=False, expire="now")
    assert len(loader.load_with_dependencies("p:0:all")["src:0:all"]) == 1000


def test_what_another_deletes_of_an_open_run_is_gone_for_it_too(
    registry: ArtifactRegistry, other: ArtifactRegistry
) -> None:
    with registry.run() as run:
        for name in ("p", "q"):
            registry.register(name, f"{name}:0:all", "model")
            registry.complete_pipeline(name)
        other.delete_pipeline_artifacts("p")
        other.delete_orphaned_artifacts(dry_run=False, expire="now")
        assert registry.resolve("p:0:all") is None
        assert [record.artifact_id for record in registry.get_all_records()] == ["q:0:all"]
        with pytest.raises(ArtifactNotFoundError, match="does not exist"):
            registry.register("x", "r:0:all", "model", depends_on=["p:0:all"])
        other.delete_pipeline_artifacts("q")
        other.register("theirs", "q:0:all", "model")
        other.delete_orphaned_artifacts(dry_run=False, expire="now")
        theirs = registry.resolve("q:0:all")
        assert theirs is not None
        assert registry.load_artifact(theirs) == "theirs"
        registry.register("again", "p:0:all", "model")
    assert [record.artifact_id for record in registry.get_all_records(run=run.id)] == ["p:0:all"]


def test_a_purge_during_a_run_costs_what_was_complete(
    registry: ArtifactRegistry, other: ArtifactRegistry
) -> None:
    with registry.run():
        registry.register(np.arange(3000.0), "p:0:all", "model")
        registry.complete_pipeline("p")
        registry.register(np.arange(3000.0) + 1, "q:0:all", "model")
        with pytest.raises(InvalidInputError, match="is open"):
            registry.purge_dataset_artifacts(confirm=True)
        other.purge_dataset_artifacts(confirm=True, expire="now")
        assert registry.resolve("p:0:all") is None
    (kept,) = registry.get_all_records()
    assert registry.load_artifact(kept)[0] == 1


def test_threads_register_while_another_completes(registry: ArtifactRegistry) -> None:
    errors: list[BaseException] = []
    done = threading.Event()

    def register(thread: int) -> None:
        try:
            for fold in range(9):
                registry.register([thread, fold], f"p{fold % 3}:{thread}:{fold}", "model")
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    def complete() -> None:
        while not done.is_set():
            for name in ("p0", "p1", "p2"):
                try:
                    registry.complete_pipeline(name)
                except InvalidInputError as error:
                    if "nothing has been registered" not in str(error):
                        errors.append(error)

    with registry.run():
        threads = [threading.Thread(target=register, args=(number,)) for number in range(3)]
        completing = threading.Thread(target=complete)
        for thread in (*threads, completing):
            thread.start()
        for thread in threads:
            thread.join()
        done.set()
        completing.join()
    assert not errors
    records = registry.get_all_records()
    assert len(records) == 27
    assert {record.version for record in records} == {1}
    for record in records:
        assert registry.load_artifact(record) == [record.step_index, record.fold_id]

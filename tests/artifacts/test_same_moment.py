"""Two runs complete one pipeline in the same moment: versions count on, and nothing is undone."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from n4a_store import ArtifactLoader, ArtifactRegistry, Workspace
from n4a_store.artifacts.manifest import read_manifest_file
from n4a_store.artifacts.manifest_tree import PIPELINES, RUNS, PipelineManifest
from n4a_store.artifacts.registry import DependencyNotFoundError
from n4a_store.artifacts.stored_runs import current_manifest
from n4a_store.artifacts.workers import WorkerRegistry, adopt_handovers, worker_ticket
from n4a_store.errors import ConflictError, LockedError
from n4a_store.objects.model import RunStatus
from n4a_store.repo.fsck import fsck
from n4a_store.repo.transaction import Transaction
from n4a_store.storage.system import observe

# Python 3.12 warns of fork beside threads; the idle reader's thread is ours and safe.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")

Meanwhile = Callable[[Callable[[], object]], None]


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Does something when the next commit has planned its refs and has not yet begun."""

    def arrange(action: Callable[[], object]) -> None:
        waiting = [action]
        commit = Transaction.commit

        def late(txn: Transaction, again: Callable[[], None] | None = None) -> object:
            while waiting:
                waiting.pop()()
            return commit(txn, again)

        monkeypatch.setattr(Transaction, "commit", late)

    return arrange


def versions(registry: ArtifactRegistry, key: str = "0:all") -> list[int]:
    """The versions that the values of ``p:<key>`` had, the oldest first."""
    store, found = registry.store, []
    for entry in reversed(store.reflog(PIPELINES + "p")):
        manifest = PipelineManifest.read(store, "p", entry.new.oid)
        if key in manifest.artifacts:
            found.append(manifest.version(key))
    return found


def test_the_later_of_two_counts_on_from_the_earlier(
    registry: ArtifactRegistry, other: ArtifactRegistry, meanwhile: Meanwhile, workspace: Workspace
) -> None:
    with registry.run() as mine, other.run() as theirs:
        registry.register("mine", "p:0:all", "model")
        other.register("theirs", "p:0:all", "model")
        other.register("more", "p:1:all", "model")
        meanwhile(lambda: other.complete_pipeline("p"))
        registry.complete_pipeline("p")
    assert versions(registry) == [1, 2]
    manifest = current_manifest(registry.store, "p")
    assert (manifest.serial, manifest.links.retired) == (2, {"1:all": 1})
    assert registry.resolve("p:0:all").version == 2
    assert registry.resolve("p:0:all", run=theirs.id).version == 1
    with ArtifactLoader(workspace, "corn", run=theirs.id) as loader:
        assert loader.load_by_id("p:1:all") == "more"
    # What people read says the same.
    (file,) = Path(workspace.path).glob(f"runs/corn/{mine.id}/*/manifest.yaml")
    assert [record.version for record in read_manifest_file(file).records] == [2]
    with other.run():
        assert other.register("again", "p:1:all", "model").version == 2


@pytest.mark.parametrize("commit_each", ["pipeline", "run", "artifact"])
def test_processes_that_complete_one_pipeline_number_it_once_each(
    workspace: Workspace, commit_each: str
) -> None:
    rounds, processes = 8, 3
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(processes)
    workers = [
        context.Process(
            target=complete_often, args=(str(workspace.path), who, rounds, commit_each, barrier)
        )
        for who in range(processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * processes
    with ArtifactRegistry(workspace, "corn") as registry:
        assert versions(registry) == list(range(1, rounds * processes + 1))
        serials = [
            PipelineManifest.read(registry.store, "p", entry.new.oid).serial
            for entry in registry.store.reflog(PIPELINES + "p")
        ]
        assert serials == list(range(rounds * processes, 0, -1))
        assert fsck(registry.store, full=True).ok


def complete_often(path: str, who: int, rounds: int, commit_each: str, barrier: Barrier) -> None:
    with ArtifactRegistry(path, "corn") as registry:
        barrier.wait()
        for at in range(rounds):
            with registry.run(commit_each=commit_each):
                registry.register({"who": who, "at": at}, "p:0:all", "model")


def test_what_is_deleted_of_a_run_while_it_commits_stays_deleted(
    registry: ArtifactRegistry, other: ArtifactRegistry, meanwhile: Meanwhile
) -> None:
    with registry.run() as run:
        registry.register("old", "q:0:all", "model")
        registry.complete_pipeline("q")
        registry.register("new", "p:0:all", "model")
        meanwhile(lambda: other.delete_pipeline_artifacts("q"))
    stored = registry.store.get_run(registry.store.ref(f"refs/runs/{run.id}").oid)
    assert list(registry.store.get_tree(stored.pipelines)) == ["p"]
    assert stored.status is RunStatus.COMPLETE


def test_the_end_of_a_run_does_not_bring_back_what_is_deleted_beside_it(
    registry: ArtifactRegistry, other: ArtifactRegistry, meanwhile: Meanwhile
) -> None:
    registry.start_run()
    registry.register("old", "q:0:all", "model")
    registry.complete_pipeline("q")
    run = registry.open_run.id
    meanwhile(lambda: other.delete_pipeline_artifacts("q"))
    registry.end_run()
    stored = registry.store.get_run(registry.store.ref(f"refs/runs/{run}").oid)
    assert (len(registry.store.get_tree(stored.pipelines)), stored.status) == (0, "complete")


def test_a_pipeline_that_is_deleted_in_the_moment_begins_anew(
    registry: ArtifactRegistry, other: ArtifactRegistry, meanwhile: Meanwhile
) -> None:
    registry.register("first", "p:0:all", "model")
    with registry.run():
        assert registry.register("second", "p:0:all", "model").version == 2
        meanwhile(lambda: other.delete_pipeline_artifacts("p"))
        registry.complete_pipeline("p")
        assert registry.resolve("p:0:all").version == 1


def test_what_a_run_keeps_of_a_pipeline_that_another_replaced_is_a_new_version(
    registry: ArtifactRegistry, other: ArtifactRegistry
) -> None:
    with registry.run():
        registry.register("mine", "p:0:all", "model")
        registry.complete_pipeline("p")
        with other.run():
            other.register("theirs", "p:0:all", "model")
        registry.register("more", "p:1:all", "model")
    record = registry.resolve("p:0:all")
    assert (record.version, registry.load_artifact(record)) == (3, "mine")
    assert versions(registry) == [1, 2, 3]


def test_a_workers_pipeline_counts_on_from_what_there_is_when_it_is_adopted(
    registry: ArtifactRegistry, other: ArtifactRegistry, meanwhile: Meanwhile
) -> None:
    registry.register("first", "p:0:all", "model")
    with registry.run() as run:
        with WorkerRegistry(worker_ticket(registry)) as worker:
            for value in ("a", "b"):  # two versions of one key in one pipeline
                worker.register(value, "p:0:all", "model")
            worker.register("c", "p:1:all", "model", depends_on=["p:0:all"])
            handed = worker.hand_over()
        other.register("theirs", "p:0:all", "model")
        meanwhile(lambda: other.register("theirs too", "p:0:all", "model"))
        adopt_handovers(registry, handed)
        record = registry.resolve("p:0:all", run=run.id)
        assert (record.version, registry.load_artifact(record)) == (5, "b")
        assert registry.resolve("p:1:all").version == 1
    assert versions(registry) == [1, 2, 3, 5]


def test_a_failed_run_gives_back_what_its_workers_replaced(registry: ArtifactRegistry) -> None:
    registry.register("first", "p:0:all", "model")
    registry.start_run()
    with WorkerRegistry(worker_ticket(registry)) as worker:
        worker.register("of the worker", "p:0:all", "model")
        adopt_handovers(registry, worker.hand_over())
    registry.cleanup_failed_run(completed=True)
    assert registry.load_artifact(registry.resolve("p:0:all")) == "first"


def test_a_registration_outside_of_runs_keeps_what_came_in_between(
    registry: ArtifactRegistry, other: ArtifactRegistry, meanwhile: Meanwhile
) -> None:
    meanwhile(lambda: other.register("theirs", "p:0:all", "model"))
    registry.register("mine", "p:1:all", "model")
    assert {record.artifact_id for record in registry.get_all_records()} == {"p:0:all", "p:1:all"}


def test_somebody_who_always_comes_first_ends_in_a_conflict(
    registry: ArtifactRegistry, other: ArtifactRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, counts = Transaction.put_tree, []

    with registry.run():
        registry.register("mine", "p:0:all", "model")
        mine = registry._run.drafts["p"].txn

        def put_tree(txn: Transaction, *args: object, **kwargs: object) -> object:
            if txn is mine:
                counts.append(1)
                other.register(len(counts), "p:1:all", "model")
            return finish(txn, *args, **kwargs)

        monkeypatch.setattr(Transaction, "put_tree", put_tree)
        with pytest.raises(ConflictError, match="expected"):
            registry.complete_pipeline("p")
        monkeypatch.undo()
        assert registry.resolve("p:0:all") is None
    assert fsck(registry.store, full=True).ok
    with registry.store.catalog.read() as reader:
        packs = {row.id for row in reader.packs()}
    assert packs == {path.stem for path in registry.store.layout.packs.glob("*.n4p")}


def test_what_another_run_added_to_a_pipeline_can_be_depended_on(
    registry: ArtifactRegistry, other: ArtifactRegistry
) -> None:
    """The open run has completed that pipeline as well, without the artifact."""
    registry.start_run()
    registry.register("ours", "a:0:all", "model")
    registry.complete_pipeline("a")
    with other.run():
        other.register("theirs", "a:0:all", "model")
        other.register("more", "a:1:all", "model")
    record = registry.register("built", "b:0:all", "model", depends_on=["a:1:all"])
    assert record.depends_on == ("a:1:all",)
    registry.end_run()
    with ArtifactLoader(registry.workspace, "corn") as loader:
        assert loader.load_with_dependencies("b:0:all") == {"a:1:all": "more", "b:0:all": "built"}


def test_what_others_delete_from_a_run_stays_deleted(
    registry: ArtifactRegistry, other: ArtifactRegistry
) -> None:
    with registry.run() as run:
        for name in "pq":
            registry.register(name, f"{name}:0:all", "model")
            registry.complete_pipeline(name)
        registry.register("r", "r:0:all", "model")  # has seen both
        other.delete_pipeline_artifacts("p")
        registry.complete_pipeline("r")
    held = registry.store.get_run(registry.store.ref(RUNS + run.id).oid).pipelines
    assert sorted(registry.store.get_tree(held)) == ["q", "r"]
    assert fsck(registry.store, full=True).ok


def test_pipelines_of_one_run_that_grow_beside_each_other_commit_at_once(
    registry: ArtifactRegistry,
) -> None:
    tried: list[str] = []
    with registry.run() as run:
        registry.register("o", "o:0:all", "model")
        registry.complete_pipeline("o")
        for name in "pqr":
            registry.register(name, f"{name}:0:all", "model")
        before = observe(lambda step, _: tried.append(step))
        try:
            for name in "rpq":
                registry.complete_pipeline(name)
        finally:
            observe(before)
    assert tried.count("catalog-begin") == tried.count("catalog-commit") == 3
    held = registry.store.get_run(registry.store.ref(RUNS + run.id).oid).pipelines
    assert sorted(registry.store.get_tree(held)) == ["o", "p", "q", "r"]


def test_a_dependency_that_is_deleted_while_it_is_adopted_is_missing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, other = (ArtifactRegistry(workspace, "d") for _ in range(2))
    registry.register([1], "p:0:all", "transformer")
    look = ArtifactRegistry._dependency

    def late(self: ArtifactRegistry, artifact_id: str, dep: str) -> object:
        found = look(self, artifact_id, dep)
        other.delete_pipeline_artifacts("p")
        return found

    monkeypatch.setattr(ArtifactRegistry, "_dependency", late)
    with pytest.raises(DependencyNotFoundError, match="p:0:all was deleted"):
        registry.register([2], "q:0:all", "model", depends_on=["p:0:all"])
    registry.close()
    other.close()


def test_what_is_completed_while_its_pipeline_is_deleted_stays(
    registry: ArtifactRegistry, other: ArtifactRegistry, meanwhile: Meanwhile
) -> None:
    registry.register("old", "p:0:all", "model")
    meanwhile(lambda: other.register("new", "p:0:all", "model"))
    with pytest.raises(ConflictError):
        registry.delete_pipeline_artifacts("p")
    assert registry.load_artifact(registry.resolve("p:0:all")) == "new"


def test_what_a_run_completes_while_another_pipeline_is_taken_out_of_it_stays(
    registry: ArtifactRegistry, other: ArtifactRegistry, meanwhile: Meanwhile
) -> None:
    with other.run() as run:
        other.register("p", "p:0:all", "model")
        other.complete_pipeline("p")
        other.register("q", "q:0:all", "model")
        meanwhile(lambda: other.complete_pipeline("q"))
        with pytest.raises(ConflictError):
            registry.delete_pipeline_artifacts("p")
    store = registry.store
    assert set(store.get_tree(store.get_run(store.ref(f"refs/runs/{run.id}").oid).pipelines)) == {
        "p",
        "q",
    }


def test_a_failed_run_leaves_what_another_has_completed_since(
    registry: ArtifactRegistry, other: ArtifactRegistry
) -> None:
    registry.start_run()
    for pipeline in ("p", "q"):
        registry.register("mine", f"{pipeline}:0:all", "model")
        registry.complete_pipeline(pipeline)
    other.register("theirs", "p:0:all", "model")
    registry.cleanup_failed_run(completed=True)
    assert other.load_artifact(other.resolve("p:0:all")) == "theirs"
    assert other.resolve("q:0:all") is None


def test_a_catalog_that_stays_busy_is_waited_for_once(registry: ArtifactRegistry) -> None:
    """Each attempt waits half a minute for SQLite, and nobody else can commit meanwhile."""
    registry.register([0], "p:0:all", "model")
    tried: list[str] = []

    def busy(step: str, path: str) -> None:
        if step == "catalog-commit":
            tried.append(path)
            raise LockedError("the catalog is busy")

    before = observe(busy)
    try:
        with pytest.raises(LockedError):
            registry.register([1], "p:1:all", "model")
    finally:
        observe(before)
    assert len(tried) == 1
    registry.register([1], "p:1:all", "model")

"""Worker processes register for a run; the run adopts what they hand over, or nobody does."""

import os
import pickle
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n4a_store import (
    ArtifactLoader,
    ArtifactRegistry,
    DependencyNotFoundError,
    InvalidInputError,
    TransactionClosedError,
)
from n4a_store.artifacts.manifest_tree import PipelineManifest
from n4a_store.artifacts.workers import (
    Handover,
    WorkerRegistry,
    WorkerTicket,
    adopt_handovers,
    worker_ticket,
)
from n4a_store.objects.oid import ObjectId
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect

_WORKER = """
import sys
from itertools import chain
import numpy as np
from n4a_store.artifacts.workers import WorkerRegistry, WorkerTicket
registry = WorkerRegistry(WorkerTicket(*sys.argv[1:5]))
pipeline = sys.argv[5]
model = registry.register(np.arange(2000.0) + len(pipeline), f"{pipeline}:1:0", "model")
registry.register(np.ones(3), f"{pipeline}:2:all", "meta_model", depends_on=[model.artifact_id])
for handover in registry.hand_over():
    print(handover.pipeline_id, handover.manifest)
"""


def work(ticket: WorkerTicket, pipeline: str) -> list[Handover]:
    """Register two artifacts in a process of its own."""
    parts = [ticket.workspace, ticket.dataset, ticket.run_id, ticket.lock, pipeline]
    command = [sys.executable, "-c", _WORKER, *parts]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [
        Handover(name, ObjectId.from_hex(manifest))
        for name, manifest in (line.split() for line in said.splitlines())
    ]


def test_a_run_adopts_what_its_workers_made(tmp_path: Path) -> None:
    registry = ArtifactRegistry(tmp_path, "corn")
    with registry.run() as run:
        ticket = worker_ticket(registry)
        handovers = work(ticket, "p1") + work(ticket, "pp2")
        assert registry.resolve("p1:1:0") is None
        adopt_handovers(registry, handovers)
        assert run.completed == ["p1", "pp2"]
    loader = ArtifactLoader(tmp_path, "corn", run=run.id)
    assert np.array_equal(loader.load_by_id("pp2:1:0"), np.arange(2000.0) + 3)
    assert list(loader.load_with_dependencies("p1:2:all")) == ["p1:1:0", "p1:2:all"]


def test_what_nobody_adopts_is_garbage(tmp_path: Path) -> None:
    registry = ArtifactRegistry(tmp_path, "corn")
    registry.start_run()
    (handover,) = work(worker_ticket(registry), "p1")
    registry.cleanup_failed_run()
    assert registry.store.has(handover.manifest)
    collect(registry.store)
    assert not registry.store.has(handover.manifest)
    assert registry.resolve("p1:1:0") is None


def test_a_worker_reads_what_it_wrote_and_ends_no_run(tmp_path: Path) -> None:
    registry = ArtifactRegistry(tmp_path, "corn")
    registry.start_run()
    worker = WorkerRegistry(worker_ticket(registry))
    record = worker.register(np.arange(5000.0), "p1:1:all", "model")
    assert np.array_equal(worker.load_artifact(record), np.arange(5000.0))
    (handover,) = worker.hand_over()
    assert np.array_equal(worker.load_artifact(record), np.arange(5000.0))
    with pytest.raises(InvalidInputError, match="hands over"):
        worker.end_run()
    adopt_handovers(registry, [handover])
    registry.end_run()
    assert registry.resolve("p1:1:all") == record


@pytest.mark.parametrize("leaving", ["raise", "end", "close"])
def test_a_child_that_was_forked_in_a_run_says_nothing_about_it(
    tmp_path: Path, leaving: str
) -> None:
    """It marked the run of its parent, which was complete by then, as failed."""
    registry = ArtifactRegistry(tmp_path, "corn")
    with registry.run() as run:
        registry.register(1, "a:0:all", "model")
        registry.complete_pipeline("a")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with run:
                    if leaving == "raise":
                        raise KeyError
                    if leaving == "close":
                        registry.close()
                    else:
                        registry.end_run()
                code = int(leaving != "close")
            except (KeyError, TransactionClosedError) as error:
                expected = {"raise": KeyError, "end": TransactionClosedError}
                code = int(type(error) is not expected.get(leaving))
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        registry.register(2, "b:0:all", "model")
    kept = registry.store.get_run(registry.store.ref(f"refs/runs/{run.id}").oid)
    assert kept.status == "complete"
    assert [at.artifact_id for at in registry.get_all_records()] == ["a:0:all", "b:0:all"]
    registry.close()


def fold(ticket: WorkerTicket, number: int, *deps: str) -> list[Handover]:
    """What a worker hands over that makes one fold of a pipeline."""
    with WorkerRegistry(ticket) as worker:
        worker.register([number], f"p:1:{number}", "model", depends_on=deps)
        worker.name_branch("p", [number], f"branch {number}")
        return worker.hand_over()


@pytest.mark.parametrize("commit_each", ["artifact", "pipeline", "run"])
@pytest.mark.parametrize("at_once", [False, True])
def test_folds_of_several_workers_come_together(
    tmp_path: Path, commit_each: str, at_once: bool
) -> None:
    """The last one took the place of the others, and of what the run had of the pipeline."""
    registry = ArtifactRegistry(tmp_path, "corn")
    with registry.run(commit_each=commit_each) as run:
        registry.register("scaler", "p:0:all", "transformer")
        registry.complete_pipeline("p")
        registry.checkpoint()
        registry.register("unfinished", "p:2:all", "encoder")  # while the folds are adopted
        ticket = run.worker_ticket()
        made = [fold(ticket, number, "p:0:all") for number in range(3)]
        for handed in [list(chain(*made))] if at_once else made:
            run.adopt(handed)
        seen = ArtifactLoader(tmp_path, "corn").get_all_records()
        expected = ["p:0:all", "p:1:0", "p:1:1", "p:1:2"]
        assert [at.artifact_id for at in seen if at.step_index < 2] == expected
        registry.register("late", "p:3:all", "model", depends_on=["p:1:2"])
    records = registry.get_all_records("p")
    assert [at.artifact_id for at in records] == [*expected, "p:2:all", "p:3:all"]
    assert {at.version for at in records} == {1}
    held = registry.export_to_manifest("p", run=run.id)
    assert held == registry.export_to_manifest("p")
    loader = ArtifactLoader(tmp_path, "corn")
    assert loader.load_with_dependencies("p:3:all") == {
        "p:0:all": "scaler",
        "p:1:2": [2],
        "p:3:all": "late",
    }
    manifest = PipelineManifest.read(
        registry.store, "p", registry.store.ref("refs/pipelines/p").oid
    )
    assert manifest.links.branches == {str(number): f"branch {number}" for number in range(3)}
    collect(registry.store, expire_now=True)
    assert not fsck(registry.store, full=True).problems
    assert ArtifactLoader(tmp_path, "corn").load_by_id("p:1:0") == [0]
    registry.close()


def test_a_worker_that_makes_a_fold_again_replaces_it(tmp_path: Path) -> None:
    registry = ArtifactRegistry(tmp_path, "corn")
    with registry.run() as run:
        ticket = run.worker_ticket()
        first = fold(ticket, 0)
        run.adopt(first)
        run.adopt(fold(ticket, 1, "p:1:0"))
        op = registry.store.reflog()[0].op
        run.adopt(first)  # once more: nothing new
        assert registry.store.reflog()[0].op == op
        with WorkerRegistry(ticket) as worker:
            worker.register("twice", "p:1:0", "model")
            worker.register("again", "p:1:0", "model")
            run.adopt(worker.hand_over())
    assert [(at.artifact_id, at.version) for at in registry.get_all_records()] == [
        ("p:1:0", 3),
        ("p:1:1", 1),
    ]
    loader = ArtifactLoader(tmp_path, "corn")
    assert loader.load_by_id("p:1:0") == "again"
    # What depends on a fold keeps the one it was made from.
    assert list(loader.load_with_dependencies("p:1:1").values()) == [[0], [1]]
    registry.close()


def test_only_what_its_own_workers_made_is_adopted(tmp_path: Path) -> None:
    registry, other = (ArtifactRegistry(tmp_path, "corn") for _ in range(2))
    with registry.run() as run, other.run() as second:
        made = fold(run.worker_ticket(), 0)
        with pytest.raises(InvalidInputError, match="of run"):
            second.adopt(made)
        run.adopt(made)
        with pytest.raises(InvalidInputError, match="of run"):
            second.adopt(made)
        assert second.completed == []
    registry.close()
    other.close()


@pytest.mark.parametrize("wrong", [None, 3, "text", [None], [[]]])
def test_what_is_no_handover_is_refused(tmp_path: Path, wrong: Any) -> None:
    with ArtifactRegistry(tmp_path, "corn") as registry, registry.run() as run:
        with pytest.raises(InvalidInputError, match="handover"):
            run.adopt(wrong)
        with pytest.raises(InvalidInputError, match="ticket"):
            WorkerRegistry(wrong)


def test_a_worker_is_told_what_it_can_depend_on(tmp_path: Path) -> None:
    with ArtifactRegistry(tmp_path, "corn") as registry, registry.run() as run:
        registry.register("scaler", "p:0:all", "transformer")
        with WorkerRegistry(run.worker_ticket()) as worker:
            with pytest.raises(DependencyNotFoundError) as told:
                worker.register(1, "p:1:0", "model", depends_on=["p:0:all"])
            assert "complete_pipeline()" in str(told.value.hint)
            registry.complete_pipeline("p")
            worker.register(1, "p:1:0", "model", depends_on=["p:0:all"])


def test_the_registry_of_a_worker_stays_where_it_is(tmp_path: Path) -> None:
    with ArtifactRegistry(tmp_path, "corn") as registry, registry.run() as run:
        worker = WorkerRegistry(run.worker_ticket())
        for _ in ("open", "closed"):
            with pytest.raises(InvalidInputError, match="of a worker cannot be sent") as caught:
                pickle.dumps(worker)
            assert "hand_over()" in (caught.value.hint or "")
            worker.close()

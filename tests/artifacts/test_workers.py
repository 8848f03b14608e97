"""Worker processes register for a run; the run adopts what they hand over, or nobody does."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from n4a_store import (
    ArtifactLoader,
    ArtifactRegistry,
    InvalidInputError,
    TransactionClosedError,
)
from n4a_store.artifacts.workers import (
    Handover,
    WorkerRegistry,
    WorkerTicket,
    adopt_handovers,
    worker_ticket,
)
from n4a_store.objects.oid import ObjectId
from n4a_store.repo.gc import collect

_WORKER = """
import sys
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

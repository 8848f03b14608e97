"""Several processes register at once: nothing is lost, and the dead cost only their own."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.context import SpawnContext
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.linear_model import Ridge

from n4a_store import ArtifactLoader, ArtifactRegistry, Workspace
from n4a_store.artifacts.workers import WorkerRegistry, WorkerTicket, adopt_handovers, worker_ticket
from n4a_store.repo.gc import collect

# Python 3.12 warns of fork beside threads; the idle reader's thread is ours and safe.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


def fit(alpha: float) -> Ridge:
    x = np.arange(40.0).reshape(20, 2) + alpha
    return Ridge(alpha=alpha).fit(x, x.sum(axis=1))


def register_alone(path: str, worker: int) -> list[str]:
    """A worker without a run: each registration is a transaction of one."""
    registry = ArtifactRegistry(path, "corn")
    ids = [f"shared:{worker}:{step}:all" for step in range(4)]
    for step, artifact_id in enumerate(ids):
        registry.register(fit(worker + step), artifact_id, "model")
    registry.close()
    return ids


def register_for_run(ticket: WorkerTicket, worker: int) -> list:
    """A worker of a run: hands over what it has finished."""
    registry = WorkerRegistry(ticket)
    registry.register(np.full(2000, worker), f"p{worker}:0:all", "transformer")
    registry.register(fit(worker), f"p{worker}:1:all", "model", depends_on=[f"p{worker}:0:all"])
    handed = registry.hand_over()
    registry.close()
    return handed


def fork() -> multiprocessing.context.ForkContext | SpawnContext:
    return multiprocessing.get_context("fork")


def test_processes_extend_one_pipeline_at_once(workspace: Workspace) -> None:
    with fork().Pool(3) as pool:
        ids = pool.starmap(register_alone, [(str(workspace.path), worker) for worker in range(3)])
    registry = ArtifactRegistry(workspace, "corn")
    expected = sorted(name for some in ids for name in some)
    assert sorted(record.artifact_id for record in registry.get_all_records()) == expected
    loader = ArtifactLoader(workspace, "corn")
    assert loader.load_by_id("shared:2:3:all").alpha == 5
    assert loader.preload_artifacts() > 0


@pytest.mark.parametrize("kind", ["loky", "fork"])
def test_workers_of_a_run_are_adopted_by_it(
    registry: ArtifactRegistry, workspace: Workspace, kind: str
) -> None:
    with registry.run() as run:
        ticket = worker_ticket(registry)
        if kind == "loky":
            jobs = (joblib.delayed(register_for_run)(ticket, worker) for worker in range(3))
            handed = joblib.Parallel(n_jobs=2)(jobs)
        else:
            with fork().Pool(2) as pool:
                handed = pool.starmap(register_for_run, [(ticket, worker) for worker in range(3)])
        other = ArtifactRegistry(workspace, "corn")
        assert other.get_all_records() == []
        collect(other.store, expire_now=True, thorough=True)
        adopt_handovers(registry, [one for some in handed for one in some])
        assert len(other.get_all_records()) == 6
        other.close()
        registry.register("mine", "own:0:all", "model", depends_on=["p1:1:all"])
    assert len(registry.get_all_records(run=run.id)) == 7
    loaded = ArtifactLoader(workspace, "corn").load_with_dependencies("own:0:all")
    assert list(loaded) == ["p1:0:all", "p1:1:all", "own:0:all"]


def die_in_mid_write(path: str, started: str) -> None:
    """Registers into a run, then is killed: what it completed stays."""
    registry = ArtifactRegistry(path, "corn")
    registry.start_run()
    registry.register("complete", "a:0:all", "model")
    registry.complete_pipeline("a")
    registry.register(np.arange(20_000.0), "b:0:all", "model")
    Path(started).touch()
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_crash_in_mid_write_costs_only_what_was_unfinished(
    registry: ArtifactRegistry, workspace: Workspace, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    child = fork().Process(target=die_in_mid_write, args=(str(workspace.path), str(started)))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert started.exists()
    assert registry.resolve("b:0:all") is None
    assert registry.load_artifact(registry.get_all_records()[0]) == "complete"
    assert list((registry.store.path / "txn").iterdir())
    collect(registry.store, expire_now=True, thorough=True)
    assert not list((registry.store.path / "txn").iterdir())
    registry.register(np.arange(20_000.0), "b:0:all", "model")
    assert len(ArtifactLoader(workspace, "corn").load_by_id("b:0:all")) == 20_000
    assert not list((registry.store.path / "txn").iterdir())


def hold_and_die(ticket: WorkerTicket) -> None:
    registry = WorkerRegistry(ticket)
    registry.register(np.arange(5000.0), "dead:0:all", "model")
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_costs_only_its_own(registry: ArtifactRegistry) -> None:
    with registry.run():
        ticket = worker_ticket(registry)
        registry.register("mine", "own:0:all", "model")
        child = fork().Process(target=hold_and_die, args=(ticket,))
        child.start()
        child.join(60)
        with fork().Pool(1) as pool:
            handed = pool.starmap(register_for_run, [(ticket, 7)])
        adopt_handovers(registry, handed[0])
    names = [record.artifact_id for record in registry.get_all_records()]
    assert names == ["own:0:all", "p7:0:all", "p7:1:all"]


def read_while_written(path: str, rounds: int) -> int:
    """Loads whatever is visible, over and over; the number of loads."""
    count = 0
    for _ in range(rounds):
        loader = ArtifactLoader(path, "corn", cache_size=0)
        for record in loader.get_all_records():
            assert len(loader.load_by_id(record.artifact_id)) == 3000
            count += 1
        loader.close()
    return count


def test_a_reader_never_sees_half_an_artifact(
    registry: ArtifactRegistry, workspace: Workspace
) -> None:
    registry.register(np.zeros(3000), "p:0:all", "model")
    with fork().Pool(1) as pool:
        reading: Callable = pool.apply_async(read_while_written, (str(workspace.path), 15)).get
        for step in range(1, 15):
            registry.register(np.full(3000, step), f"p:{step % 5}:all", "model")
            if step % 5 == 0:
                collect(registry.store, expire_now=True)
        assert reading(60) > 10

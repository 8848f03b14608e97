"""Which run came before: the youngest, found without reading all of a busy day. And its status."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from n4a_store import ArtifactRegistry, ObjectId, Store
from n4a_store.artifacts.stored_runs import LOCK, newest_run, shown_status
from n4a_store.objects.model import RunStatus
from n4a_store.storage.catalog_access import CatalogReader
from n4a_store.storage.leases import LeaseRole, list_leases
from tests.repo.objects import spoil


def run_of(store: Store, run_id: str) -> ObjectId:
    return store.ref(f"refs/runs/{run_id}").oid


def parents(store: Store, run_id: str) -> tuple[ObjectId, ...]:
    return store.get_run(run_of(store, run_id)).parents


def test_the_run_before_is_the_youngest_not_the_one_that_was_written_last(
    registry: ArtifactRegistry, other: ArtifactRegistry
) -> None:
    with registry.run():
        registry.register([1], "a:0:all", "model")
        with other.run() as younger:
            other.register([2], "b:0:all", "model")
    with registry.run() as run:
        registry.register([3], "c:0:all", "model")
    assert parents(registry.store, run.id) == (run_of(registry.store, younger.id),)


def test_a_run_that_begins_reads_a_few_of_those_before_it(
    registry: ArtifactRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        registry.register([number], "p:0:all", "model")  # each is a run
    read: list[ObjectId] = []
    real = Store.get_run

    def note(store: Store, oid: ObjectId) -> object:
        read.append(oid)
        return real(store, oid)

    monkeypatch.setattr(Store, "get_run", note)
    (found,) = newest_run(registry.store)
    assert real(registry.store, found).created_at == max(
        real(registry.store, ref.oid).created_at for ref in registry.store.refs("refs/runs/")
    )
    assert len(read) < 10


@pytest.mark.parametrize("how", ["damaged", "missing"])
def test_a_run_that_cannot_be_read_stops_no_training(
    registry: ArtifactRegistry, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    with registry.run() as old:
        registry.register([1], "a:0:all", "model")
    with registry.run() as lost:
        registry.register([2], "b:0:all", "model")
    store = registry.store
    if how == "damaged":
        spoil(store, run_of(store, lost.id))
    else:
        store.layout.pack(store.info(run_of(store, lost.id)).pack).unlink()
    registry.close()
    with registry.run() as run:
        registry.register([3], "c:0:all", "model")
    assert f"refs/runs/{lost.id} is not recorded" in caplog.text
    assert parents(registry.store, run.id) == (run_of(registry.store, old.id),)


def test_what_fails_before_a_run_has_its_store_holds_no_lock(
    registry: ArtifactRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with registry.run():
        registry.register([1], "a:0:all", "model")

    def fail(settings: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("n4a_store.artifacts.run_facts.environment", fail)
    run = registry.start_run()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            registry.register([2], "b:0:all", "model")
    roles = [info.role for info in list_leases(registry.store.layout.leases)]
    assert LeaseRole.RUN not in roles
    monkeypatch.undo()
    assert run.is_open
    registry.register([2], "b:0:all", "model")
    registry.end_run()


@pytest.mark.parametrize("lock", ["a" * 300, "a", "٣" * 32, 3])
def test_a_run_whose_lock_is_no_locks_name_was_interrupted(
    registry: ArtifactRegistry, lock: object
) -> None:
    """One that came with a bundle may say anything: for the name of a lock no run was listed."""
    with registry.run() as run:
        registry.register([1], "a:0:all", "model")
    store = registry.store
    odd = store.get_run(run_of(store, run.id))
    odd = replace(odd, status=RunStatus.RUNNING, details={**odd.details, LOCK: lock})
    assert shown_status(store, odd) is RunStatus.INTERRUPTED


def test_a_run_that_begins_reads_few_rows_of_those_before_it(
    registry: ArtifactRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with registry.run() as old:
        registry.register([1], "a:0:all", "model")
    with registry.run() as young:
        registry.register([2], "b:0:all", "model")
    store, day = registry.store, young.id.partition("_")[0]
    with store.transaction() as txn:
        txn.adopt_path(f"refs/runs/{old.id}")
        for number in range(100):
            for name in (f"20200101_{number}", f"{day}_{number}"):
                txn.set_ref(f"refs/runs/{name}", run_of(store, old.id))
        txn.set_ref("refs/runs/z", txn.put_blob(b"no run"))
    with registry.run() as last:
        registry.register([3], "c:0:all", "model")
    checked: list[object] = []
    real = CatalogReader._checked

    def note(self: CatalogReader, kind: Any, record: Any) -> Any:
        checked.append(record)
        return real(self, kind, record)

    monkeypatch.setattr(CatalogReader, "_checked", note)
    assert newest_run(store) == (run_of(store, last.id),)
    assert len(checked) < 20

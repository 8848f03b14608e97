"""The end of a run: it ends whatever fails, and its author sees his own error."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from n4a_store import ArtifactRegistry, BackendError
from n4a_store.artifacts.stored_runs import shown_status
from n4a_store.repo.history import list_runs
from n4a_store.repo.seat import Seat
from n4a_store.storage import system
from n4a_store.storage.leases import LeaseRole, list_leases


class Disk:
    """A disk that has room until it is said to be full."""

    full = False

    def refuse(self, step: str, path: str) -> None:
        if self.full and step == "write" and "/txn/" in path:
            raise OSError(errno.ENOSPC, "No space left on device", path)


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    before = system.observe(disk.refuse)
    yield disk
    system.observe(before)


def writers(registry: ArtifactRegistry) -> list[LeaseRole | None]:
    """The leases that are held, but for those of readers."""
    roles = [info.role for info in list_leases(registry.store.layout.leases)]
    return [role for role in roles if role is not LeaseRole.READER]


def test_a_clean_up_that_fails_ends_the_run_and_holds_nothing(
    registry: ArtifactRegistry, disk: Disk
) -> None:
    run = registry.start_run()
    registry.register([1], "p:0:all", "model")
    registry.complete_pipeline("p")
    registry.register([2], "q:0:all", "model")
    disk.full = True
    with pytest.raises(BackendError, match="No space"):
        registry.cleanup_failed_run(completed=True)
    disk.full = False
    assert (registry.open_run, run.is_open) == (None, False)
    assert writers(registry) == []
    assert registry.cleanup_failed_run() == 0
    (entry,) = list_runs(registry.store)
    assert shown_status(registry.store, entry.run) == "interrupted"
    assert [record.artifact_id for record in registry.get_all_records()] == ["p:0:all"]
    with registry.run():
        registry.register([3], "p:0:all", "model")


@pytest.mark.parametrize("error", [KeyError("mine"), KeyboardInterrupt()])
@pytest.mark.parametrize("how", ["run", "start_run"])
def test_who_fails_on_a_full_disk_sees_his_own_error(
    registry: ArtifactRegistry,
    disk: Disk,
    error: BaseException,
    how: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def train() -> None:
        with getattr(registry, how)():
            registry.register([1], "p:0:all", "model")
            registry.complete_pipeline("p")
            registry.register([2], "q:0:all", "model")
            disk.full = True
            raise error

    with pytest.raises(type(error)) as caught:
        train()
    assert caught.value is error
    assert "No space" in error.__notes__[-1]
    assert "No space" in caplog.text
    assert registry.open_run is None
    assert writers(registry) == []


def test_a_pipeline_that_cannot_complete_says_so_although_its_run_cannot_end_either(
    registry: ArtifactRegistry, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = registry.start_run()
    registry.register([1], "p:0:all", "model")
    registry.complete_pipeline("p")
    registry.register([2], "q:0:all", "model")

    def fail(self: object, current: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("n4a_store.artifacts.draft.PipelineDraft.finish", fail)
    disk.full = True
    with pytest.raises(ZeroDivisionError):
        registry.end_run()
    assert not run.is_open
    assert writers(registry) == []


def test_a_seat_that_cannot_be_left_keeps_no_other_and_no_lock(
    registry: ArtifactRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Seat.leave

    def leave(seat: Seat) -> None:
        real(seat)
        raise BackendError("the disk refused")

    registry.start_run()
    registry.register([1], "p:0:all", "model")
    registry.register([2], "q:0:all", "model")
    monkeypatch.setattr(Seat, "leave", leave)
    with pytest.raises(BackendError, match="refused"):
        registry.cleanup_failed_run()
    monkeypatch.undo()
    assert writers(registry) == []


@pytest.mark.parametrize("part", ["", "leases", "txn", "packs", "new"])
def test_a_run_that_cannot_be_kept_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """It was noticed when the first model was registered, hours later."""
    dataset = "corn"
    if part == "new":
        dataset, locked = "wheat", tmp_path / "binaries"
    with ArtifactRegistry(tmp_path, "corn") as registry:
        registry.register(1, "p:0:all", "model")
        if part != "new":
            locked = registry.store.path / part
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != locked and real(path, mode))
    with ArtifactRegistry(tmp_path, dataset) as registry:
        for begin in (registry.start_run, lambda: registry.run().__enter__()):
            with pytest.raises(BackendError, match=f"{locked} may not be written to"):
                begin()
        assert registry.open_run is None
        monkeypatch.undo()
        with registry.run():
            registry.register(2, "p:1:all", "model")

"""Leases: alive as long as their owner, however it ends."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from n4a_store.errors import BackendError
from n4a_store.storage import system
from n4a_store.storage.leases import (
    LEASE_BYTES,
    Lease,
    LeaseRole,
    list_leases,
    probe_lease,
)
from tests.descriptors import open_files

EPOCH = b"epoch678"
OWNER = """
import sys, time
from pathlib import Path
from n4a_store.storage.leases import Lease, LeaseRole
lease = Lease(Path(sys.argv[1]), LeaseRole.WRITER)
lease.publish(7, b"epoch678")
print(lease.lease_id, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def observed() -> Iterator[list[tuple[str, str]]]:
    steps: list[tuple[str, str]] = []
    system.observe(lambda step, path: steps.append((step, Path(path).name)))
    yield steps
    system.observe(None)


def alive(folder: Path) -> dict[str, bool]:
    return {info.lease_id: info.alive for info in list_leases(folder)}


def test_a_lease_says_what_it_pins_and_goes_with_its_release(tmp_path: Path) -> None:
    lease = Lease(tmp_path, LeaseRole.WRITER)
    unpublished = probe_lease(lease.path)
    assert unpublished is not None
    assert (unpublished.alive, unpublished.generation, unpublished.role) == (True, None, None)
    lease.publish(7, EPOCH)
    info = probe_lease(lease.path)
    assert info is not None
    assert (info.lease_id, info.alive, info.generation) == (lease.lease_id, True, 7)
    assert (info.role, info.pid) == (LeaseRole.WRITER, os.getpid())
    assert lease.held
    lease.release()
    lease.release()
    assert not lease.held
    assert probe_lease(lease.path) is None
    assert list_leases(tmp_path) == []


def test_two_processes_see_each_other_and_a_kill_is_seen_at_once(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    assert owner.stdin is not None
    with owner.stdin, owner.stdout:
        lease_id = owner.stdout.readline().strip()
        assert alive(tmp_path) == {lease_id: True}
        # Looking, even to remove the dead, leaves the living alone.
        probe_lease(tmp_path / lease_id, remove_dead=True)
        assert alive(tmp_path) == {lease_id: True}
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    info = probe_lease(tmp_path / lease_id)
    assert info is not None
    assert (info.alive, info.generation, info.pid) == (False, 7, owner.pid)
    probe_lease(tmp_path / lease_id, remove_dead=True)
    assert alive(tmp_path) == {}


def test_a_lease_removed_between_its_creation_and_its_lock_is_taken_anew(tmp_path: Path) -> None:
    removed: list[str] = []

    def gc_was_faster(step: str, path: str) -> None:
        if step == "lock" and len(removed) < 2:
            removed.append(path)
            system.observe(None)
            probe_lease(Path(path), remove_dead=True)
            system.observe(gc_was_faster)

    system.observe(gc_was_faster)
    try:
        lease = Lease(tmp_path, LeaseRole.READER)
    finally:
        system.observe(None)
    assert len(removed) == 2
    assert str(lease.path) not in removed
    assert alive(tmp_path) == {lease.lease_id: True}
    lease.release()


def test_a_folder_whose_leases_always_vanish_is_an_error(tmp_path: Path) -> None:
    def remove(step: str, path: str) -> None:
        if step == "lock":
            Path(path).unlink()

    before = open_files()
    system.observe(remove)
    try:
        with pytest.raises(BackendError, match="disappearing"):
            Lease(tmp_path, LeaseRole.READER)
    finally:
        system.observe(None)
    assert open_files() <= before


def test_the_protocol_of_a_lease(tmp_path: Path, observed: list[tuple[str, str]]) -> None:
    lease = Lease(tmp_path, LeaseRole.WRITER)
    lease.publish(1, EPOCH)
    lease.release()
    assert [step for step, name in observed] == ["create", "lock", "write", "unlink"]
    assert {name for _, name in observed} == {lease.lease_id}


def test_a_release_unlinks_while_the_lock_is_held(tmp_path: Path) -> None:
    lease = Lease(tmp_path, LeaseRole.WRITER)
    seen: list[bool] = []

    def look(step: str, path: str) -> None:
        if step == "unlink":
            system.observe(None)
            info = probe_lease(Path(path))
            assert info is not None
            seen.append(info.alive)

    system.observe(look)
    try:
        lease.release()
    finally:
        system.observe(None)
    assert seen == [True]


def test_a_forked_child_neither_keeps_nor_removes_its_parents_lease(tmp_path: Path) -> None:
    lease = Lease(tmp_path, LeaseRole.WRITER)
    lease.publish(1, EPOCH)
    to_child, go = os.pipe()
    ready, from_child = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go)
        status = 1
        try:
            assert not lease.held
            lease.release()
            lease.__del__()
            assert alive(tmp_path) == {lease.lease_id: True}
            os.write(from_child, b"1")
            os.read(to_child, 1)
            status = 0
        finally:
            os._exit(status)
    os.close(from_child)
    assert os.read(ready, 1) == b"1"
    assert alive(tmp_path) == {lease.lease_id: True}
    lease.release()
    other = Lease(tmp_path, LeaseRole.WRITER)
    path = other.path
    os.close(other._fd)  # as if its owner had died, while the child lives on
    other._fd = -1
    info = probe_lease(path)
    os.close(go)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert info is not None
    assert not info.alive
    for fd in (to_child, ready):
        os.close(fd)


def test_a_child_does_not_keep_the_lease_of_a_dead_parent(tmp_path: Path) -> None:
    end = """
import os
ready, child = os.pipe()
if os.fork() == 0:
    os.close(1)
    os.write(child, b"1")
    sys.stdin.read()
else:
    os.read(ready, 1)
os._exit(0)
"""
    code = OWNER.replace("sys.stdin.read()", end)
    owner = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdin is not None
    assert owner.stdout is not None
    with owner.stdin, owner.stdout:
        lease_id = owner.stdout.readline().strip()
        owner.wait()
        assert alive(tmp_path) == {lease_id: False}


def test_a_lease_that_was_lost_is_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lease = Lease(tmp_path, LeaseRole.WRITER)
    with caplog.at_level(logging.WARNING):
        del lease
    assert list_leases(tmp_path) == []
    assert "never released" in caplog.text


def sound(folder: Path) -> bytes:
    lease = Lease(folder, LeaseRole.WRITER)
    lease.publish(5, EPOCH)
    data = lease.path.read_bytes()
    lease.release()
    assert len(data) == LEASE_BYTES == 48
    return data


def test_every_changed_byte_makes_a_lease_pin_everything(tmp_path: Path) -> None:
    data = sound(tmp_path)
    path = tmp_path / "lease"
    for position in range(LEASE_BYTES):
        damaged = bytearray(data)
        damaged[position] ^= 0x20
        path.write_bytes(damaged)
        info = probe_lease(path)
        assert info is not None
        assert (info.generation, info.role, info.pid, info.created_us) == (None,) * 4
    for size in range(LEASE_BYTES):
        path.write_bytes(data[:size])
        info = probe_lease(path)
        assert info is not None
        assert info.generation is None


@given(st.binary(max_size=60))
def test_arbitrary_content_is_a_lease_that_pins_everything(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("lease") / "x"
    path.write_bytes(data)
    info = probe_lease(path)
    assert info is not None
    assert (info.generation, info.role) == (None, None)


def test_a_lease_of_a_role_that_is_not_known_yet_pins_everything(tmp_path: Path) -> None:
    import zlib

    data = bytearray(sound(tmp_path))
    data[5] = 99
    data[44:] = zlib.crc32(data[:44]).to_bytes(4, "little")
    (tmp_path / "later").write_bytes(data)
    info = probe_lease(tmp_path / "later")
    assert info is not None
    assert (info.generation, info.role) == (None, None)


def test_what_cannot_be_looked_at_is_an_error_and_not_an_empty_answer(tmp_path: Path) -> None:
    with pytest.raises(BackendError):
        list_leases(tmp_path / "missing")
    with pytest.raises(BackendError):
        Lease(tmp_path / "missing", LeaseRole.READER)
    (tmp_path / "folder").mkdir()
    with pytest.raises(BackendError, match="folder"):
        list_leases(tmp_path)


def test_a_sound_lease_of_another_version_or_role_pins_everything(tmp_path: Path) -> None:
    data = sound(tmp_path)
    path = tmp_path / "lease"
    for place, value in ((4, 2), (5, 9)):  # version, role
        later = bytearray(data[:-4])
        later[place] = value
        path.write_bytes(later + zlib.crc32(later).to_bytes(4, "little"))
        info = probe_lease(path)
        assert info is not None
        assert (info.generation, info.role, info.pid, info.created_us) == (None,) * 4


@pytest.mark.parametrize(
    ("name", "content", "goes"),
    [
        ("0" * 32, b"", True),  # before it was published
        ("0" * 32, bytes(LEASE_BYTES), True),  # claimed, or lost in a power cut
        ("0" * 32, b"N4LS\x02 of a later version", True),
        ("0" * 32, b"chapter one", False),
        ("0" * 32, bytes(LEASE_BYTES + 1), False),
        ("thesis.tex", b"", False),
        ("A" * 32, b"", False),
    ],
)
def test_only_what_can_be_a_lease_is_removed_as_one(
    tmp_path: Path, name: str, content: bytes, goes: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    info = probe_lease(path, remove_dead=True)
    assert info is not None
    assert not info.alive
    assert path.exists() is not goes
    assert ("is no lease" in caplog.text) is not goes


def test_a_lease_that_is_a_link_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"")
    (tmp_path / "leases").mkdir()
    (tmp_path / "leases" / ("0" * 32)).symlink_to(tmp_path / "precious")
    with pytest.raises(BackendError, match="is a link"):
        list_leases(tmp_path / "leases")
    with pytest.raises(BackendError, match="is a link"):
        probe_lease(tmp_path / "leases" / ("0" * 32), remove_dead=True)
    assert (tmp_path / "precious").exists()


def test_a_lease_that_a_ctrl_c_met_as_it_was_taken_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was locked, and would have pinned everything until the process ended."""
    real = system.ErrorsAs.__exit__

    def interrupted(block: Any, *raised: Any) -> None:
        monkeypatch.setattr(system.ErrorsAs, "__exit__", real)
        raise KeyboardInterrupt

    before = open_files()
    monkeypatch.setattr(system.ErrorsAs, "__exit__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Lease(tmp_path, LeaseRole.READER)
    assert open_files() <= before
    assert list_leases(tmp_path) == []

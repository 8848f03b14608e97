"""Locks between processes and threads, held by a file that stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from n4a_store.errors import BackendError, LockedError
from n4a_store.storage.locks import FileLock
from tests.descriptors import open_files

HOLDER = """
import sys
from pathlib import Path
from n4a_store.storage.locks import FileLock
with FileLock(Path(sys.argv[1]), note="gc, pid 4711"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_process_holds_it_and_says_who_it_is(tmp_path: Path) -> None:
    path = tmp_path / "gc.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder.stdin, holder.stdout:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match="gc, pid 4711") as caught:
            FileLock(path, wait=False).__enter__()
        assert caught.value.hint
        holder.kill()
        holder.wait()
    with FileLock(path, wait=False):
        pass
    assert path.exists()


def test_threads_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(50):
            with FileLock(path):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    with FileLock(path), pytest.raises(LockedError, match="another thread"):
        FileLock(path, wait=False).__enter__()
    for thread in threads:
        thread.join()
    assert max(most) == 1


def test_a_failed_attempt_leaves_no_descriptor_and_no_lock_behind(tmp_path: Path) -> None:
    before = open_files()
    with pytest.raises(BackendError):
        FileLock(tmp_path / "missing" / "lock").__enter__()
    path = tmp_path / "lock"
    with FileLock(path), pytest.raises(ValueError, match="boom"), FileLock(tmp_path / "other"):
        raise ValueError("boom")
    with FileLock(tmp_path / "other", wait=False), FileLock(path, wait=False):
        pass
    assert open_files() <= before


def test_a_note_is_of_one_length_so_that_a_shorter_one_hides_the_longer(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    for note in ("a long note about something", "7", "x" * 100):
        with FileLock(path, note=note) as lock:
            assert lock.read_note() == note[:64]
    path.write_bytes(b"\xff\xfe not text")
    with FileLock(path) as lock:
        assert "not text" in lock.read_note()


def _cut_short(monkeypatch: pytest.MonkeyPatch, lock_file: str) -> None:
    """Let a Ctrl-C come as the lock on that file is given back, once: nothing of it is done."""
    real = FileLock._close

    def interrupted(lock: FileLock) -> None:
        if lock._path.name == lock_file:
            monkeypatch.setattr(FileLock, "_close", real)
            raise KeyboardInterrupt
        real(lock)

    monkeypatch.setattr(FileLock, "_close", interrupted)


def _take_and_be_cut_short(path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), FileLock(path):
        pass


def test_what_a_ctrl_c_keeps_from_being_given_back_goes_with_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gc.lock"
    before = open_files()
    _cut_short(monkeypatch, path.name)
    _take_and_be_cut_short(path)
    assert open_files() <= before  # or else no other process could ever take it
    with FileLock(path, wait=False):
        pass


def test_a_lock_that_is_given_back_twice_gives_back_nothing_of_the_next_holders(
    tmp_path: Path,
) -> None:
    path = tmp_path / "lock"
    first = FileLock(path)
    with first:
        pass
    with FileLock(path):
        first.give_back()
        with pytest.raises(LockedError):
            FileLock(path, wait=False).__enter__()


def test_who_did_not_get_the_lock_gives_nothing_back_as_he_goes(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with FileLock(path) as lock:
        refused = FileLock(path, wait=False)
        for one in (refused, lock):
            one._wait = False
            with pytest.raises(LockedError, match="another thread"):
                one.__enter__()
        del refused
        with pytest.raises(LockedError, match="another thread"):
            FileLock(path, wait=False).__enter__()


def test_a_turn_that_a_ctrl_c_met_as_it_was_taken_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal is looked at when the call that takes it has returned."""
    path = tmp_path / "lock"

    def take_for_good() -> None:
        lock = FileLock(path)
        lock._turns.extend(map(lock._threads.acquire, (True,)))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take_for_good()
    with FileLock(path, wait=False):
        pass


def test_a_child_waits_for_what_the_thread_that_forked_it_held(tmp_path: Path) -> None:
    """It was told that a signal handler had interrupted it, even when the lock was free again."""
    told, tell = os.pipe()
    with FileLock(tmp_path / "lock"):
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            os.read(told, 1)
            try:
                with FileLock(tmp_path / "lock"):
                    os._exit(0)
            finally:
                os._exit(1)
    os.write(tell, b".")
    os.close(tell)
    os.close(told)
    assert os.waitpid(child, 0)[1] == 0

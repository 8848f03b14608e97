"""Files: whole or absent, in the order that a power cut cannot undo."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from n4a_store.errors import BackendError
from n4a_store.storage import system
from n4a_store.storage.files import (
    AppendFile,
    list_folder,
    make_folder,
    map_file,
    move_file,
    read_text,
    refuse_link,
    remove_file,
    remove_tree,
    replace_file,
    sync_file,
    sync_folder,
)
from n4a_store.storage.locks import FileLock
from tests.descriptors import open_files

Steps = list[tuple[str, str]]
HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def held_elsewhere(path: Path, *, seconds: float) -> Iterator[None]:
    """Another process holds the lock on a file when the block begins, and for so long."""
    asked = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(asked, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        holder.stdout.readline()
        threading.Timer(seconds, holder.stdin.close).start()
        yield


@pytest.fixture
def steps() -> Iterator[Steps]:
    seen: Steps = []
    here = threading.get_ident()

    def note(step: str, path: str) -> None:
        # The thread that ends the idle sessions of an earlier test takes steps as well.
        if threading.get_ident() == here:
            seen.append((step, Path(path).name.partition(".")[0]))

    system.observe(note)
    yield seen
    system.observe(None)


def fail_at(name: str, number: int) -> None:
    def observer(step: str, path: str) -> None:
        if step == name:
            raise OSError(number, os.strerror(number))

    system.observe(observer)


@pytest.fixture(autouse=True)
def _unobserved() -> Iterator[None]:
    yield
    system.observe(None)


def test_a_file_is_replaced_by_write_sync_rename_sync(tmp_path: Path, steps: Steps) -> None:
    replace_file(tmp_path / "f", b"new")
    assert steps == [
        ("create", ""),
        ("write", ""),
        ("fsync", ""),
        ("rename", "f"),
        ("fsync", tmp_path.name),
    ]
    steps.clear()
    replace_file(tmp_path / "f", b"newer", durable=False)
    assert [step for step, _ in steps] == ["create", "write", "rename"]
    assert (tmp_path / "f").read_bytes() == b"newer"


@pytest.mark.parametrize("step", ["create", "write", "fsync", "rename"])
def test_a_replacement_that_fails_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, step: str
) -> None:
    (tmp_path / "f").write_bytes(b"old")
    fail_at(step, errno.ENOSPC)
    with pytest.raises(BackendError, match="No space") as caught:
        replace_file(tmp_path / "f", b"new")
    assert "free some space" in str(caught.value.hint)
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_bytes() == b"old"


def test_an_append_file_is_read_where_it_was_written(tmp_path: Path, steps: Steps) -> None:
    file = AppendFile(tmp_path / "f")
    file.write(b"abc")
    file.write(bytearray(b"def"))
    file.write(memoryview(b"xghix")[1:4])
    assert file.read_at(2, 5) == b"cdefg"
    with pytest.raises(BackendError, match="shorter"):
        file.read_at(5, 10)
    file.sync()
    file.close()
    file.close()
    assert (tmp_path / "f").read_bytes() == b"abcdefghi"
    assert [step for step, _ in steps] == ["create", "write", "write", "write", "fsync"]
    with pytest.raises(BackendError):
        AppendFile(tmp_path / "f")  # never over what is there


def test_a_short_write_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:3]))
    file = AppendFile(tmp_path / "f")
    file.write(b"0123456789")
    monkeypatch.undo()
    assert file.read_at(0, 10) == b"0123456789"
    file.close()


def test_a_lost_append_file_gives_its_descriptor_back(tmp_path: Path) -> None:
    before = open_files()
    for number in range(5):
        AppendFile(tmp_path / str(number)).write(b"x")
    assert open_files() <= before


def test_mapped_files(tmp_path: Path) -> None:
    before = open_files()
    path = tmp_path / "f"
    path.write_bytes(b"content")
    view = map_file(path)
    path.unlink()
    assert bytes(view) == b"content"
    assert view.readonly
    with pytest.raises(FileNotFoundError):  # the caller knows what a missing pack means
        map_file(path)
    path.write_bytes(b"")
    assert len(map_file(path)) == 0
    path.unlink()
    path.mkdir()
    with pytest.raises(BackendError):
        map_file(path)
    del view
    assert open_files() <= before


def test_small_texts(tmp_path: Path) -> None:
    path = tmp_path / "f"
    assert read_text(path) is None
    path.write_text("größe")
    assert read_text(path) == "größe"
    path.write_bytes(b"\xff")
    with pytest.raises(BackendError, match="UTF-8"):
        read_text(path)
    path.write_bytes(bytes(65_537))
    with pytest.raises(BackendError, match="larger"):
        read_text(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(BackendError):
        read_text(path)


def test_folders(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a")
    assert not make_folder(tmp_path / "a")
    assert make_folder(tmp_path / "shared", shared_group=True)
    assert (tmp_path / "shared").stat().st_mode & 0o7777 == 0o2775  # whatever the umask says
    with pytest.raises(BackendError):
        make_folder(tmp_path / "missing" / "b")
    (tmp_path / "a" / "2").write_text("")
    (tmp_path / "a" / "1").write_text("")
    assert list(list_folder(tmp_path / "a")) == ["1", "2"]
    with pytest.raises(BackendError):
        list_folder(tmp_path / "missing")
    for sync in (sync_folder, sync_file):
        with pytest.raises(BackendError):
            sync(tmp_path / "missing")


def test_removing_follows_no_links(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "f").write_text("mine")
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "f").write_text("")
    (folder / "link").symlink_to(tmp_path / "precious")
    remove_tree(folder)
    remove_tree(folder)
    assert not folder.exists()
    assert (tmp_path / "precious" / "f").exists()
    folder.symlink_to(tmp_path / "precious")
    remove_tree(folder)
    assert not folder.is_symlink()
    assert (tmp_path / "precious" / "f").exists()
    assert remove_file(tmp_path / "precious" / "f")
    assert not remove_file(tmp_path / "precious" / "f")


def test_what_takes_the_place_of_a_folder_that_is_being_emptied_stays(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for name in ("precious/one", "precious/other", "folder/one", "folder/other"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "f").write_text("mine")

    def swap(step: str, path: str) -> None:
        if not folder.is_symlink():
            folder.rename(tmp_path / "moved")
            folder.symlink_to(tmp_path / "precious")

    system.observe(swap)
    try:
        with pytest.raises(BackendError, match="remove folder"):
            remove_tree(folder)
    finally:
        system.observe(None)
    assert len(list((tmp_path / "precious").glob("*/f"))) == 2
    assert list((tmp_path / "moved").iterdir()) == []


def test_folders_without_an_end_are_not_removed(tmp_path: Path) -> None:
    (tmp_path / "/".join("a" * 40)).mkdir(parents=True)
    before = open_files()
    with pytest.raises(BackendError, match="too deep"):
        remove_tree(tmp_path / "a")
    assert open_files() <= before


def test_a_file_in_the_place_of_a_folder_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("mine")
    with pytest.raises(BackendError, match="remove folder"):
        remove_tree(tmp_path / "f")
    assert (tmp_path / "f").exists()


def test_a_linked_folder_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "here").symlink_to(tmp_path / "there")
    with pytest.raises(BackendError, match="is a link") as caught:
        list_folder(tmp_path / "here")
    assert "as a whole may be a link" in str(caught.value.hint)
    (tmp_path / "here").unlink()
    (tmp_path / "here").write_text("")
    with pytest.raises(BackendError, match="list"):
        list_folder(tmp_path / "here")
    refuse_link(tmp_path / "missing")


def test_a_file_is_moved(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    move_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "x"
    with pytest.raises(BackendError, match="rename a"):
        move_file(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permissions"),
        (errno.EIO, "health"),
        (errno.EMFILE, "ulimit"),
        (errno.EXDEV, None),
    ],
)
def test_every_refusal_of_the_disk_says_what_was_being_done_and_what_to_do(
    tmp_path: Path, number: int, hint: str | None
) -> None:
    fail_at("rename", number)
    with pytest.raises(BackendError, match=r"write .*f") as caught:
        replace_file(tmp_path / "f", b"")
    assert (hint in str(caught.value.hint)) if hint else caught.value.hint is None
    assert isinstance(caught.value.__cause__, OSError)


def test_a_long_wait_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who is stopped in the middle of a commit holds up all others."""
    monkeypatch.setattr(system, "PATIENCE_SECONDS", 0.05)
    path = tmp_path / "commit.lock"
    with held_elsewhere(path, seconds=0.5), FileLock(path):
        assert caplog.messages == [f"waiting for {path}, which another process holds"]
    caplog.clear()
    with FileLock(path):
        time.sleep(0.1)
    assert caplog.messages == []


def test_who_waits_needs_no_thread_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    path = tmp_path / "commit.lock"
    with held_elsewhere(path, seconds=0.2):
        monkeypatch.setattr(threading.Timer, "start", refuse)
        with FileLock(path):
            pass

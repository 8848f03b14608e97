"""A pipe in the place of a store's file is not waited for; nothing is written behind a link."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest

from n4a_store import BackendError, Store, StoreError
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.storage.files import map_file, read_ends, read_text
from n4a_store.storage.leases import probe_lease
from tests.descriptors import open_files
from tests.repo.objects import tag


@pytest.fixture(autouse=True)
def _impatient() -> Iterator[None]:
    def give_up(*_: object) -> NoReturn:
        pytest.fail("waited for a pipe")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    with Store.init(tmp_path / "store") as store:
        tag(store, "kept")
    return store.path


def put_pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


@pytest.mark.parametrize("read", [read_text, map_file, lambda path: read_ends(path, 4, 4)])
def test_a_pipe_is_no_file(tmp_path: Path, read: object) -> None:
    assert callable(read)
    put_pipe(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "zero").symlink_to("/dev/zero")
    before = open_files()
    for name in ("pipe", "folder", "zero"):
        with pytest.raises(BackendError, match="no regular file"):
            read(tmp_path / name)
    assert open_files() <= before


@pytest.mark.parametrize("name", ["format", "config"])
def test_a_pipe_among_the_files_that_a_store_is_opened_by(place: Path, name: str) -> None:
    put_pipe(place / name)
    with pytest.raises(BackendError, match=f"{name}: it is no regular file"):
        Store.open(place)


def test_a_pipe_in_the_place_of_a_pack(place: Path) -> None:
    (pack,) = (place / "packs").iterdir()
    put_pipe(pack)
    with Store.open(place) as store:
        for act in (collect, fsck):
            with pytest.raises(BackendError, match="no regular file"):
                act(store)


@pytest.mark.parametrize("name", ["commit.lock", "gc.lock", "leases/" + "0" * 32])
def test_a_pipe_in_the_place_of_what_is_locked(place: Path, name: str) -> None:
    put_pipe(place / name)
    with Store.open(place) as store:
        assert store.find_ref("refs/tags/kept") is not None
        assert store.known_ref("refs/tags/kept") is not None
        for act in (fsck, collect, lambda store: tag(store, "another")):
            with suppress(StoreError):
                act(store)


@pytest.mark.parametrize("name", ["commit.lock", "gc.lock"])
def test_nothing_is_written_behind_a_linked_lock(place: Path, tmp_path: Path, name: str) -> None:
    precious = tmp_path / "thesis.tex"
    precious.write_text("years of work")
    (place / name).unlink(missing_ok=True)
    (place / name).symlink_to(precious)
    with Store.open(place) as store, pytest.raises(BackendError, match=f"{name} is a link"):
        collect(store)
    assert precious.read_text() == "years of work"


def test_a_pipe_in_the_place_of_another_users_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_pipe(tmp_path / "pipe")
    open_any = os.open

    def open_to_read(path: str, flags: int) -> int:
        if flags & os.O_RDWR:
            raise PermissionError
        return open_any(path, flags)

    monkeypatch.setattr(os, "open", open_to_read)
    with pytest.raises(BackendError, match="look at lease"):
        probe_lease(tmp_path / "pipe")

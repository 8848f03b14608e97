"""A Ctrl-C as a catalog transaction begins or ends leaves none open: nobody would get in."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from n4a_store.settings import Durability
from n4a_store.storage import catalog as catalog_module
from n4a_store.storage import system
from n4a_store.storage.catalog import Catalog
from n4a_store.storage.locks import FileLock


@pytest.mark.parametrize("name", ["CatalogReader", "CatalogWriter"])
def test_an_interrupt_as_a_transaction_begins_leaves_none_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    Catalog.create(tmp_path / "catalog.db")
    catalog, other = (
        Catalog(tmp_path / "catalog.db", tmp_path / "commit.lock", Durability.FULL)
        for _ in range(2)
    )
    begin = catalog.read if name == "CatalogReader" else catalog.write

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(catalog_module, name, interrupted)
        with pytest.raises(KeyboardInterrupt), begin():
            pass
    for one in (other, catalog):
        with one.write() as writer:
            assert writer.generation() == 0
        one.close()


def _both(folder: Path) -> tuple[Catalog, Catalog]:
    Catalog.create(folder / "catalog.db")
    one, other = (
        Catalog(folder / "catalog.db", folder / "commit.lock", Durability.FULL) for _ in range(2)
    )
    return one, other


def _once(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
    """Let a Ctrl-C come as a method begins, once."""
    real = getattr(owner, name)

    def interrupted(*_: object) -> None:
        monkeypatch.setattr(owner, name, real)
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, name, interrupted)


@contextmanager
def given_up(catalog: Catalog) -> Iterator[object]:
    """A write transaction that fails: nothing of it may be seen."""
    with catalog.write() as writer:
        writer.next_op("commit", "")
        yield None
        raise ValueError("given up")


@pytest.mark.parametrize("where", ["_end", "_roll_back"])
@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_transaction_whose_end_was_cut_short_is_ended_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, kind: str
) -> None:
    """Whether nothing of its end was done, or half of it."""
    catalog, other = _both(tmp_path)
    _once(monkeypatch, Catalog, where)
    # The traceback lives on, as a notebook's last one does.
    block = catalog.read() if kind == "read" else given_up(catalog)
    with pytest.raises(KeyboardInterrupt) as caught, block:
        pass
    with catalog.read() as reader:
        assert reader.sequence() == 0
        with catalog.read() as same:
            assert same is reader
    for one in (catalog, other):
        with one.write() as writer:
            assert writer.next_op("commit", "")
    for one in (catalog, other):
        with one.read() as reader:
            assert reader.sequence() == 2
        one.close()
    assert caught.value is not None


@pytest.mark.parametrize("how", ["snapshot", "copy_to"])
def test_a_copy_does_not_hold_what_a_transaction_left_that_was_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    catalog, _ = _both(tmp_path)
    _once(monkeypatch, Catalog, "_end")
    with pytest.raises(KeyboardInterrupt), given_up(catalog):
        pass
    if how == "snapshot":
        with catalog.snapshot() as reader:
            assert reader.sequence() == 0
        return
    catalog.copy_to(tmp_path / "copy.db")
    copy = Catalog(tmp_path / "copy.db", tmp_path / "copy.lock", Durability.FULL)
    with copy.read() as reader:
        assert reader.sequence() == 0


def test_a_commit_lock_that_a_ctrl_c_left_held_does_not_stop_the_next_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, other = _both(tmp_path)
    _once(monkeypatch, FileLock, "_close")
    with pytest.raises(KeyboardInterrupt) as caught, catalog.write() as writer:
        writer.next_op("commit", "")
    # A traceback still holds the lock: only the catalog itself can know that nobody is inside.
    done = threading.Event()

    def commit() -> None:
        for one in (catalog, other):
            with one.write() as writer:
                writer.next_op("commit", "")
        done.set()

    threading.Thread(target=commit, daemon=True).start()
    assert done.wait(20)
    assert caught.value is not None


def test_others_read_while_one_waits_for_its_turn_to_commit(tmp_path: Path) -> None:
    catalog, _ = _both(tmp_path)
    waiting = threading.Event()

    def note(step: str, path: str) -> None:
        if step == "lock":
            waiting.set()

    def commit() -> None:
        with catalog.write() as writer:
            writer.next_op("commit", "")

    held = os.open(tmp_path / "commit.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    committer = threading.Thread(target=commit, daemon=True)
    read = threading.Event()

    def look() -> None:
        with catalog.read():
            read.set()

    before = system.observe(note)
    try:
        committer.start()
        assert waiting.wait(20)
        threading.Thread(target=look, daemon=True).start()
        assert read.wait(20)
        assert committer.is_alive()
    finally:
        system.observe(before)
        os.close(held)
    committer.join(20)
    assert not committer.is_alive()

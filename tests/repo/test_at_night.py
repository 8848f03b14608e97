"""What an operator meets at night: no room, no files, a commit cut short on a read-only disk."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from n4a_store import BackendError, Store
from n4a_store.repo import store as store_module
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.repack import RepackMode, repack
from n4a_store.storage import clock, system
from tests.repo.objects import files, tag

FEW_FILES = """
import logging, resource, sys
from n4a_store import BackendError, Store
from n4a_store.repo.fsck import fsck
from n4a_store.repo.repack import RepackMode, repack

path, hard = sys.argv[1], int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
with Store.open(path) as store:
    store.refs()
    held = []
    try:
        while True:
            held.append(open("/dev/null"))
    except OSError:
        del held[-1]  # one may still be opened
    try:
        print(fsck(store, full=True).ok, repack(store, RepackMode.ALL).packs_after)
    except BackendError as error:
        print(error, error.hint)
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.init(tmp_path / "store") as store:
        yield store


@contextmanager
def full(*steps: str, below: Path, until: Path | None = None) -> Iterator[None]:
    """No room on the disk, for some steps in a folder, until something has been removed."""

    def refuse(name: str, path: str) -> None:
        if name in steps and path.startswith(str(below)) and (until is None or until.exists()):
            raise OSError(errno.ENOSPC, "No space left on device", path)

    before = system.observe(refuse)
    try:
        yield
    finally:
        system.observe(before)


@pytest.mark.parametrize(("hard", "said"), [(4096, "True 1"), (64, "Too many open files")])
def test_where_no_file_can_be_opened_more_are_allowed(store: Store, hard: int, said: str) -> None:
    """As many as may be; where that is not enough, nothing is called damaged for it."""
    for number in range(80):
        tag(store, f"t{number}", 64)
    store.close()
    asked = [sys.executable, "-c", FEW_FILES, str(store.path), str(hard)]
    done = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60)
    assert said in done.stdout
    assert ("ulimit -n" in done.stdout) == (hard == 64)


def test_a_pack_that_may_not_be_read_is_not_called_damaged(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag(store, "a")

    def refuse(path: object) -> memoryview:
        raise system.as_backend_error(f"read {path}", PermissionError(errno.EACCES, "denied"))

    with Store.open(store.path) as other:
        monkeypatch.setattr("n4a_store.odb.database.map_file", refuse)
        with pytest.raises(BackendError, match="denied") as caught:
            fsck(other)
        assert "permissions" in str(caught.value.hint)


def test_gc_takes_back_the_copies_that_have_no_room(store: Store) -> None:
    rest = a_pack_that_is_partly_garbage(store)
    before = sorted(files(store))
    with full("fsync", below=store.layout.transactions):
        done = collect(store, expire_now=True, thorough=True)
    assert done.without_room == (rest,)
    store.sessions.drop_idle()
    assert sorted(files(store)) == before
    assert fsck(store, full=True).ok
    assert collect(store, expire_now=True, thorough=True).without_room == ()


def a_pack_that_is_partly_garbage(store: Store) -> str:
    with store.transaction() as txn:
        rest = txn.put_tree({"left": txn.put_blob(os.urandom(2000))})
        txn.set_ref("refs/tags/rest", rest)
        txn.put_blob(os.urandom(2000))  # garbage: gc rewrites this pack
    pack = store.info(rest).pack
    store.sessions.drop_idle()
    return pack


@pytest.mark.parametrize("doing", ["repack", "compact"])
def test_what_runs_out_of_room_takes_none_with_it(store: Store, doing: str) -> None:
    for name in "abc":
        tag(store, name, 200_000)
    store.sessions.drop_idle()
    before = sorted(files(store))
    run: Callable[[], object] = {
        "repack": lambda: repack(store, RepackMode.ALL),
        "compact": lambda: repack(store, RepackMode.COMPACT),
    }[doing]
    with full("fsync", below=store.layout.transactions), pytest.raises(BackendError, match="space"):
        run()
    store.sessions.drop_idle()
    assert sorted(files(store)) == before
    assert fsck(store, full=True).ok


def test_gc_makes_itself_room_from_what_the_dead_had_not_published(store: Store) -> None:
    tag(store, "a")
    litter = store.layout.transactions / ("f" * 32)
    litter.mkdir()
    (litter / "half.n4p").write_bytes(bytes(1000))
    with full("write", below=store.layout.leases, until=litter):
        collect(store)
    assert not litter.exists()
    with full("write", below=store.layout.leases), pytest.raises(BackendError, match="space"):
        collect(store)
    store.sessions.drop_idle()
    assert list(store.layout.leases.iterdir()) == []


def cut_short(store: Store, to: Path) -> None:
    """A copy of a store whose writer died when half of a commit stood in the catalog."""
    store.close()
    writer = sqlite3.connect(store.layout.catalog, isolation_level=None)
    writer.execute("PRAGMA journal_mode=TRUNCATE")
    writer.execute("PRAGMA cache_size=1")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE refs SET name = 'refs/tags/ghost'")
    for number in range(200):  # more than fits into SQLite's cache
        writer.execute(
            "INSERT INTO pins (name, kind, oid, op, sum) VALUES (?, 1, ?, 1, ?)",
            (f"{number}", bytes(3000), bytes(16)),
        )
    shutil.copytree(store.path, to)
    writer.execute("ROLLBACK")
    writer.close()
    assert (to / "catalog.db-journal").stat().st_size > 0


def test_a_commit_that_was_cut_short_is_not_read_on_a_read_only_disk(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It stays as it is there; what was before it is read."""
    data = tag(store, "a")
    cut_short(store, tmp_path / "hot")
    before = [path.read_bytes() for path in sorted((tmp_path / "hot").glob("catalog.db*"))]
    monkeypatch.setattr(store_module, "is_read_only", lambda root: True)
    with Store.open(tmp_path / "hot") as reader:
        assert [ref.name for ref in reader.refs()] == ["refs/tags/a"]
        assert reader.get(reader.resolve("a:data")) == data
        assert fsck(reader, full=True).ok
        assert "stands in the middle of a commit" in caplog.text
    after = [path.read_bytes() for path in sorted((tmp_path / "hot").glob("catalog.db*"))]
    assert after == before
    nowhere = str(tmp_path / "none")
    monkeypatch.setattr("tempfile.tempdir", nowhere)
    with pytest.raises(BackendError, match="roll back a commit that was cut short"):
        Store.open(tmp_path / "hot")
    monkeypatch.undo()
    with Store.open(tmp_path / "hot") as writer:
        assert fsck(writer, full=True).ok


def test_a_clock_may_stand_anywhere(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock.time, "time_ns", lambda: -86_400 * 10**9)
    data = tag(store, "a")
    assert store.get(store.resolve("a:data")) == data
    assert [entry.at.year for entry in store.reflog()] == [1970]
    assert collect(store, expire_now=True).reachable == 2


def test_a_path_need_not_be_text(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 50%?#"))
    with Store.init(folder) as store:
        data = tag(store, "a")
    with Store.open(folder) as store:
        assert store.get(store.resolve("a:data")) == data
        assert fsck(store, full=True).ok

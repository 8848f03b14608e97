"""Backups: taken beside writers and gc, whole or absent, and the way back from them."""

from __future__ import annotations

import errno
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from n4a_store import BackendError, CorruptionError, InvalidInputError, Kind, Store
from n4a_store.repo.backup import backup
from n4a_store.repo.fsck import Severity, fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.repack import repack
from n4a_store.repo.repair import adopt_unlisted_packs
from n4a_store.storage import system
from tests.repo.objects import tag, tag_blobs


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.init(tmp_path / "store")


def untag(store: Store, *names: str) -> None:
    with store.transaction("untag") as txn:
        for name in names:
            txn.delete_ref(f"refs/tags/{name}")


def test_a_backup_is_a_whole_store_that_goes_its_own_way(store: Store, tmp_path: Path) -> None:
    kept = {name: tag(store, name) for name in ("a", "b", "gone")}
    untag(store, "gone")
    store.layout.config.write_text("undo_window_days = 9\n")
    made = backup(store, tmp_path / "copy")
    shutil.rmtree(store.path)
    with Store.open(tmp_path / "copy") as copy:
        assert (made.packs, made.path) == (3, copy.path)
        assert copy.settings.undo_window_days == 9
        assert fsck(copy, full=True).problems == ()
        assert copy.get(copy.resolve("a:data")) == kept["a"]
        assert copy.get(copy.resolve("refs/tags/gone@{1}:data")) == kept["gone"]  # undo still works
        tag(copy, "new")
        assert len(collect(copy, expire_now=True).dropped) == 1
        assert fsck(copy, full=True).problems == ()


def test_condemned_and_held_packs_stay_behind(store: Store, tmp_path: Path) -> None:
    other = Store.open(store.path)
    tag(store, "a")
    tag(store, "gone")
    run = store.lock_run()
    with store.transaction(hold_for=run.lease_id) as txn:
        txn.put_blob(b"a worker's")
    with other.session():
        untag(store, "gone")
        assert len(collect(store, expire_now=True).pending) == 1
        assert backup(store, tmp_path / "copy").packs == 1
    run.release()
    with Store.open(tmp_path / "copy") as copy:
        assert fsck(copy, full=True).problems == ()
        assert collect(copy).dropped == ()


def test_a_backup_beside_writers_and_gc_is_consistent(store: Store, tmp_path: Path) -> None:
    stop = threading.Event()
    failures: list[BaseException] = []

    def churn() -> None:
        try:
            with Store.open(store.path) as mine:
                number = 0
                while not stop.is_set():
                    number += 1
                    tag(mine, f"churn{number % 3}")
                    collect(mine, expire_now=True)
        except BaseException as error:
            failures.append(error)
            raise

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for number in range(8):
            backup(store, tmp_path / f"copy{number}")
            with Store.open(tmp_path / f"copy{number}") as copy:
                assert fsck(copy, full=True).problems == ()
    finally:
        stop.set()
        thread.join()
    assert failures == []


def test_a_damaged_pack_is_named_and_nothing_is_left(store: Store, tmp_path: Path) -> None:
    tag(store, "a")
    (pack,) = store.layout.packs.iterdir()
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.write_bytes(data)
    for _ in range(2):
        with pytest.raises(CorruptionError, match=pack.stem):
            backup(store, tmp_path / "copy")
        pack.unlink(missing_ok=True)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_what_stands_at_the_target_is_left_alone(store: Store, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    with pytest.raises(InvalidInputError, match="exists"):
        backup(store, tmp_path / "copy")
    with pytest.raises(InvalidInputError, match="no folder"):
        backup(store, tmp_path / "none" / "copy")


@pytest.mark.parametrize("then", ["nothing", "gc", "repack"])
def test_an_older_catalog_over_newer_packs(store: Store, tmp_path: Path, then: str) -> None:
    tree = tag_blobs(store, "before", {"data": b"before" * 100})
    tag(store, "gone-before")
    untag(store, "gone-before")
    store.catalog.copy_to(tmp_path / "old.db")
    late = tag(store, "after")
    if then == "gc":
        collect(store, expire_now=True, thorough=True)
    elif then == "repack":
        repack(store)
        repack(store)
    store.close()
    shutil.copy(tmp_path / "old.db", store.layout.catalog)
    packs = sorted(store.layout.packs.iterdir())

    with Store.open(store.path) as restored:
        for run in (collect, repack):
            with pytest.raises(CorruptionError, match="operation") as caught:
                run(restored)
            assert "backup.md" in str(caught.value.hint)
        assert sorted(store.layout.packs.iterdir()) == packs
        report = fsck(restored)
        (older,) = [problem for problem in report.problems if problem.code == "catalog-older"]
        assert older.severity is Severity.ERROR
        assert "put back from a backup" in older.message
        assert "backup.md" in str(older.hint)

        entered = adopt_unlisted_packs(restored)
        assert entered
        problems = fsck(restored, full=True).problems
        # What that gc had dropped for good, this catalog's undo cannot bring back any more.
        assert all("gone-before@" in problem.message for problem in problems)
        assert bool(problems) == (then == "gc")
        assert restored.get_tree(tree)
        assert late in {restored.get(oid) for oid, kind in restored.objects() if kind is Kind.BLOB}
        collect(restored, expire_now=True)
        assert fsck(restored, full=True).problems == ()
        assert restored.get(restored.resolve("before:data")) == b"before" * 100


@pytest.mark.parametrize("commits", [1, 12])
def test_commits_on_an_older_catalog_do_not_make_it_the_newest(
    store: Store, tmp_path: Path, commits: int, caplog: pytest.LogCaptureFixture
) -> None:
    """One was enough for the next gc to delete all that had been stored since the backup."""
    tag(store, "before")
    store.catalog.copy_to(tmp_path / "old.db")
    late = [tag(store, f"late{number}") for number in range(5)]
    store.close()
    shutil.copy(tmp_path / "old.db", store.layout.catalog)
    with Store.open(store.path) as restored:
        new = [tag(restored, f"new{number}") for number in range(commits)]
        assert "older than what was committed here" in caplog.text
        packs = sorted(store.layout.packs.iterdir())
        for run in (collect, repack):
            with pytest.raises(CorruptionError, match="nothing was deleted"):
                run(restored)
        assert sorted(store.layout.packs.iterdir()) == packs
        assert [at.code for at in fsck(restored).problems if at.severity is Severity.ERROR] == [
            "catalog-older"
        ]
        adopt_unlisted_packs(restored)
        tag(restored, "settled")
        assert fsck(restored, full=True).ok
        present = {restored.get(oid) for oid, kind in restored.objects() if kind is Kind.BLOB}
        assert present.issuperset(late + new)
        collect(restored)
        assert restored.get(restored.resolve("new0:data")) == new[0]


OVER_AN_OLDER_CATALOG = """
import sys
from n4a_store import Store
from n4a_store.storage import system
from tests.repo.objects import tag

store = Store.open(sys.argv[1])
if sys.argv[2] == "dies":  # right before anything is written to the note
    import os, signal
    system.observe(
        lambda step, path: step == "write" and path.endswith("commit.lock")
        and os.kill(os.getpid(), signal.SIGKILL)
    )
number = 0
while True:
    tag(store, f"new{number}", 10)
    number += 1
    print(flush=True)
"""


@pytest.fixture
def older(store: Store, tmp_path: Path) -> tuple[Store, set[str]]:
    """A store whose catalog was put back, and the packs that it does not list."""
    tag(store, "before")
    store.catalog.copy_to(tmp_path / "old.db")
    listed = {path.name for path in store.layout.packs.iterdir()}
    for number in range(3):
        tag(store, f"late{number}")
    store.close()
    shutil.copy(tmp_path / "old.db", store.layout.catalog)
    return store, {path.name for path in store.layout.packs.iterdir()} - listed


def test_gc_beside_a_writer_on_an_older_catalog(older: tuple[Store, set[str]]) -> None:
    """Between its looks at the note and at the catalog a commit made the two agree."""
    store, late = older
    asked = [sys.executable, "-c", OVER_AN_OLDER_CATALOG, str(store.path), "lives"]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as writer:
        assert writer.stdout is not None
        for _ in range(4):  # the catalog has come to where the note was
            writer.stdout.readline()
        with Store.open(store.path) as mine:
            for _ in range(150):
                with pytest.raises(CorruptionError, match="nothing was deleted"):
                    collect(mine)
        writer.kill()
    assert late <= {path.name for path in store.layout.packs.iterdir()}


@pytest.mark.parametrize("commits", [1, 3, 4, 5])
def test_a_writer_that_dies_leaves_an_older_catalog_older(
    older: tuple[Store, set[str]], commits: int
) -> None:
    store, late = older
    with Store.open(store.path) as mine:
        for number in range(commits - 1):
            tag(mine, f"mine{number}", 10)
    asked = [sys.executable, "-c", OVER_AN_OLDER_CATALOG, str(store.path), "dies"]
    done = subprocess.run(asked, cwd=Path(__file__).parents[2], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    with Store.open(store.path) as mine:
        tag(mine, "after", 10)
        with pytest.raises(CorruptionError, match="nothing was deleted"):
            collect(mine)
    assert late <= {path.name for path in store.layout.packs.iterdir()}


def test_what_cannot_be_noted_on_an_older_catalog_is_not_committed(
    older: tuple[Store, set[str]],
) -> None:
    store, late = older

    def refuse(step: str, path: str) -> None:
        if step in ("write", "fsync") and path.endswith("commit.lock"):
            raise OSError(errno.EIO, "Input/output error", path)

    with Store.open(store.path) as mine:
        before = system.observe(refuse)
        try:
            with pytest.raises(BackendError, match="Input/output"):
                tag(mine, "new")
        finally:
            system.observe(before)
        assert mine.find_ref("refs/tags/new") is None
        with pytest.raises(CorruptionError, match="nothing was deleted"):
            collect(mine)
    assert late <= {path.name for path in store.layout.packs.iterdir()}


def test_a_busy_store_is_not_taken_for_an_older_one(store: Store) -> None:
    tag(store, "before")
    asked = [sys.executable, "-c", OVER_AN_OLDER_CATALOG, str(store.path), "lives"]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        for _ in range(300):
            noted, sequence = store.catalog.age()
            assert noted is not None
            assert noted <= sequence
        writer.kill()


def test_what_a_later_commit_had_brought_back_is_there_again(store: Store, tmp_path: Path) -> None:
    data = tag(store, "a")
    late = store.transaction()  # begun before the pack is condemned: it may rely on it
    untag(store, "a")
    collect(store, expire_now=True)
    store.catalog.copy_to(tmp_path / "old.db")
    late.set_ref("refs/tags/b", late.put_blob(data))
    late.commit()
    assert store.get(store.resolve("b")) == data
    store.close()
    shutil.copy(tmp_path / "old.db", store.layout.catalog)
    with Store.open(store.path) as restored:
        adopt_unlisted_packs(restored)
        assert data in {restored.get(at) for at, kind in restored.objects() if kind is Kind.BLOB}

"""Backups: taken beside writers and gc, whole or absent, and the way back from them."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from n4a_store import CorruptionError, InvalidInputError, Kind, Store
from n4a_store.repo.backup import backup
from n4a_store.repo.fsck import Severity, fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.repack import repack
from n4a_store.repo.repair import adopt_unlisted_packs
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

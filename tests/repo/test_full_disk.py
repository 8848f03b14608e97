"""On a disk without a byte left one can still delete, and nothing else takes the room for that."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from n4a_store import Settings, Store
from n4a_store.artifacts.removal import remove
from n4a_store.repo import rewriting
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.maintenance import PACKS_BEFORE_REPACK, maintain
from n4a_store.repo.repack import RepackMode, repack
from n4a_store.repo.tags import delete_tag
from n4a_store.storage import system
from tests.repo.alike import CHAIN, deltas
from tests.repo.objects import files, tag, tag_blobs

MOUNTED = 'mount -t tmpfs -o size=4m none "$1" && exec "$2" -m tests.repo.full_disk "$1" "$3"'


def on_a_small_disk(folder: Path, ballast_bytes: int) -> list[str]:
    """What ``full_disk.py`` says on a real file system of 4 MiB, that nobody else sees."""
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        subprocess.run(
            [*alone, "mount", "-t", "tmpfs", "none", folder], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    shell = ["sh", "-c", MOUNTED, "sh", str(folder), sys.executable, str(ballast_bytes)]
    done = subprocess.run(
        [*alone, *shell], check=True, stdout=subprocess.PIPE, text=True, timeout=60
    )
    return [line for line in done.stdout.splitlines() if not line.startswith("full")]


def test_a_full_disk_is_emptied(tmp_path: Path) -> None:
    refused, removed, collected = on_a_small_disk(tmp_path, 256 * 1024)
    assert refused == "refused 0"  # what adds does not take the room
    assert removed.startswith("removed ")
    assert int(removed.split()[1]) < 128 * 1024  # and it is put back
    assert int(collected.split()[1]) > 350_000
    assert collected.endswith(" 2")


def test_without_ballast_it_is_not(tmp_path: Path) -> None:
    refused, failed = on_a_small_disk(tmp_path, 0)
    assert refused == "refused 0"
    assert failed.startswith("failed ")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.init(tmp_path / "store") as store:
        yield store


@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """As on a full disk; for how many bytes of room it was asked."""
    asked: list[int] = []

    def has_room(_: str, size: int) -> bool:
        asked.append(size)
        return False

    monkeypatch.setattr(system, "has_room", has_room)
    return asked


def size_of(store: Store) -> int:
    return store.layout.ballast.stat().st_size


def test_it_is_as_large_as_the_settings_say_and_the_catalog(store: Store) -> None:
    assert size_of(store) == 256 * 1024 + store.layout.catalog.stat().st_size
    assert len(set(store.layout.ballast.read_bytes())) == 256  # nothing that could be compressed


def test_it_is_there_again_after_a_deletion(store: Store, no_room: list[int]) -> None:
    tag(store, "a")
    tag(store, "b")
    seen = []

    def look(step: str, path: str) -> None:
        if step == "create":
            seen.append(store.layout.ballast.exists())

    before = system.observe(look)
    try:
        delete_tag(store, "a")
        remove(store, ["b"], dry_run=False)
        collect(store, expire_now=True)
    finally:
        system.observe(before)
    assert seen
    assert not any(seen)
    assert no_room == [256 * 1024 + store.layout.catalog.stat().st_size] * len(no_room)
    assert size_of(store) == no_room[0]


def test_an_error_leaves_it_in_place(store: Store, no_room: list[int]) -> None:
    def fail() -> None:
        with store.ballast.room_to_delete():
            assert not store.layout.ballast.exists()
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fail()
    assert size_of(store) == no_room[0]


def test_it_is_left_alone_where_there_is_room(store: Store) -> None:
    found = store.layout.ballast.stat()
    tag(store, "a")
    delete_tag(store, "a")
    collect(store, expire_now=True)
    assert store.layout.ballast.stat() == found


@pytest.mark.parametrize("size", [0, 1000])
def test_gc_makes_one_that_is_missing_or_too_small(store: Store, size: int) -> None:
    store.layout.ballast.unlink()
    if size:
        store.layout.ballast.write_bytes(bytes(size))
    collect(store)
    assert size_of(store) == 256 * 1024 + store.layout.catalog.stat().st_size


def test_a_missing_one_is_not_made_where_room_is_scarce(store: Store, no_room: list[int]) -> None:
    store.layout.ballast.unlink()
    collect(store)
    assert not store.layout.ballast.exists()
    assert no_room[-1] == 4 * no_room[0]


def test_zero_is_none(tmp_path: Path) -> None:
    with Store.init(tmp_path / "store", settings=Settings(ballast_bytes=0)) as store:
        collect(store)
        assert not store.layout.ballast.exists()


@pytest.mark.parametrize("kind", ["link", "second name", "folder"])
def test_what_stands_in_its_place_is_not_written_to(
    store: Store, tmp_path: Path, kind: str
) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    store.layout.ballast.unlink()
    if kind == "folder":
        store.layout.ballast.mkdir()
    elif kind == "link":
        store.layout.ballast.symlink_to(mine)
    else:
        os.link(mine, store.layout.ballast)
    store.ballast.fill()
    collect(store)
    assert mine.read_bytes() == b"mine"


def test_packs_are_rewritten_as_far_as_there_is_room(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The small ones first: what they free is room for the next."""
    for number, size in enumerate((1_000, 5_000, 60_000)):
        with store.transaction() as txn:
            txn.set_ref(f"refs/tags/kept{number}", txn.put_blob(os.urandom(size)))
            txn.put_blob(os.urandom(400))
    monkeypatch.setattr(rewriting, "_BATCH_BYTES", 3_000)
    reserved = size_of(store)
    monkeypatch.setattr(system, "free_bytes", lambda _: reserved + 10_000)
    report = collect(store)
    assert (len(report.rewritten), len(report.without_room)) == (2, 1)
    monkeypatch.undo()
    again = collect(store)
    assert again.rewritten == report.without_room
    assert again.without_room == ()
    assert fsck(store, full=True).problems == ()


def test_what_copies_take_is_counted_with_their_index(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of tiny objects the index is a third of a pack: gc found out by filling the disk."""
    with store.transaction() as txn:
        blobs = {str(number): txn.put_blob(os.urandom(10)) for number in range(500)}
        txn.set_ref("refs/tags/kept", txn.put_tree(blobs))
        txn.put_blob(os.urandom(400))
    (pack,) = store.layout.packs.iterdir()
    reserved = size_of(store)
    monkeypatch.setattr(system, "free_bytes", lambda _: reserved + pack.stat().st_size - 1_000)
    assert len(collect(store).without_room) == 1
    monkeypatch.setattr(system, "free_bytes", lambda _: reserved + pack.stat().st_size)
    assert collect(store).bytes_written > 60_000


def test_a_delta_is_counted_whole_when_its_base_goes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = CHAIN[:2]
    tag_blobs(store, "first", {"data": first})
    kept = tag_blobs(store, "second", {"data": second})
    repack(store, RepackMode.COMPACT)
    assert len(list(deltas(store))) == 1
    delete_tag(store, "first")
    reserved = size_of(store)
    monkeypatch.setattr(system, "free_bytes", lambda _: reserved + len(second) - 100)
    assert len(collect(store, expire_now=True).without_room) == 1
    monkeypatch.undo()
    assert collect(store, expire_now=True).without_room == ()
    assert bytes(store.get(store.get_tree(kept).entries["data"].oid)) == second


def test_a_pack_that_copies_would_make_no_smaller_stays(store: Store) -> None:
    """Its garbage is a base, of which there are two deltas: whole, they take twice as much."""
    base = CHAIN[0]
    near = [base[:-8] + bytes([number] * 8) for number in range(2)]
    for number, data in enumerate([base + bytes(8), *near]):
        tag_blobs(store, f"t{number}", {"data": data})
    repack(store, RepackMode.COMPACT)
    assert len(list(deltas(store))) == 2
    delete_tag(store, "t0")
    (pack,) = store.layout.packs.iterdir()
    size = pack.stat().st_size
    report = collect(store, expire_now=True)
    assert (report.rewritten, report.without_room) == ((), ())
    assert list(store.layout.packs.iterdir()) == [pack]
    # A purge leaves nothing of what it is told to remove, whatever that takes.
    assert collect(store, expire_now=True, thorough=True).rewritten == (pack.stem,)
    (after,) = store.layout.packs.iterdir()
    assert after.stat().st_size > size
    assert fsck(store, full=True).problems == ()


def test_what_a_quota_refuses_is_left_and_no_error(store: Store) -> None:
    """It says nothing to whoever asks what the disk has free."""
    tag(store, "garbage")
    with store.transaction() as txn:
        txn.set_ref("refs/tags/kept", txn.put_blob(os.urandom(2_000)))
        txn.put_blob(os.urandom(400))
    delete_tag(store, "garbage")
    before = set(files(store))

    def refuse(step: str, path: str) -> None:
        if step == "write" and "/txn/" in path:
            raise OSError(errno.EDQUOT, "no room within the quota", path)

    system.observe(refuse)
    try:
        report = collect(store, expire_now=True)
    finally:
        system.observe(None)
    assert (len(report.dropped), len(report.rewritten), len(report.without_room)) == (1, 0, 1)
    assert set(files(store)) < before
    assert fsck(store, full=True).problems == ()
    assert collect(store).rewritten == report.without_room


def test_the_room_that_is_asked_for_is_really_there(tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    assert system.has_room(str(tmp_path), 100_000)
    assert not system.has_room(str(tmp_path), system.free_bytes(str(tmp_path)) + 2**40)
    assert sorted(tmp_path.iterdir()) == before


def test_a_tag_keeps_its_tree_when_the_ballast_cannot_go(
    store: Store, no_room: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that does not even unlink: the deletion goes its way all the same."""
    tree = tag_blobs(store, "a", {"data": b"kept"})
    tag_blobs(store, "b", {"data": b"kept"})

    def refuse(step: str, path: str) -> None:
        if path == str(store.layout.ballast):
            raise PermissionError(1, "not allowed", path)

    before = system.observe(refuse)
    try:
        delete_tag(store, "b")
    finally:
        system.observe(before)
    assert store.resolve("a") == tree
    assert size_of(store) > 0


@pytest.mark.parametrize(("number", "room"), [(errno.EDQUOT, False), (errno.ENOSYS, True)])
def test_a_quota_counts_as_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, room: bool
) -> None:
    def refuse(fd: int, offset: int, size: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    assert system.has_room(str(tmp_path), 1000) is room


def test_what_runs_by_itself_does_not_fill_the_disk(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(PACKS_BEFORE_REPACK + 1):
        tag(store, f"t{number}", 400)
    copies = sum(path.stat().st_size for path in store.layout.packs.iterdir())
    reserved = 256 * 1024 + store.layout.catalog.stat().st_size
    monkeypatch.setattr(system, "free_bytes", lambda _: reserved + copies - 1000)
    assert maintain(store) is None
    assert "no room" in caplog.text
    monkeypatch.setattr(system, "free_bytes", lambda _: reserved + copies)
    assert maintain(store) is not None

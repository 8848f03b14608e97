"""A store in a folder that this user may not write to is read, while others go on writing."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Container, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from n4a_store import BackendError, CorruptionError, ObjectId, ObjectNotFoundError, Store
from n4a_store.odb.database import PackGoneError
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.reachability import preview
from n4a_store.repo.repack import RepackMode, repack
from n4a_store.storage import system
from tests.repo.objects import tag

READER = """
import logging, os, sys
from n4a_store import BackendError, ObjectNotFoundError, Store
from n4a_store.repo.fsck import fsck
from n4a_store.repo.stats import store_stats
from n4a_store.repo.reachability import preview

logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(message)s")

def look(path, may_write, meanwhile):
    with Store.open(path) as store:
        with store.session():
            first = store.resolve("a:data")
            assert store.sessions.holds_lease == may_write
            meanwhile("has looked")
            # Everything was packed anew, and the old packs went: no lease of ours in the way.
            store.odb.unmap()
            assert store.get(first)
            assert len(list(store.objects())) == 2 * len(store.refs())
        assert fsck(store, full=True).ok
        assert preview(store).living.marked
        assert store_stats(store).refs["tags"] == len(store.refs())
        for change in (store.transaction, store.lock_run):
            try:
                change()
            except BackendError as error:
                assert error.hint and not may_write, error
            else:
                assert may_write
        meanwhile("has read")
        store.odb.unmap()
        try:
            store.get(first)
        except ObjectNotFoundError as error:
            assert "has no lease" in error.hint
            print("not found", [ref.name for ref in store.refs()])

# As root, who may write: so that all modules are loaded before they are out of reach.
look(sys.argv[1], True, lambda done: None)
logging.warning("now as nobody")
os.setgroups([])
os.setgid(65534)
os.setuid(65534)

def meanwhile(done):
    print(done, flush=True)
    sys.stdin.readline()

look(sys.argv[2], False, meanwhile)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can reach; pytest's own is for one user alone."""
    path = Path(tempfile.mkdtemp(prefix="n4a-unwritable-"))
    path.chmod(0o755)
    yield path / "store"
    shutil.rmtree(path)


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with Store.init(folder) as store:
        for name in ("a", "b", "c"):
            tag(store, name)
        store.sessions.drop_idle()
        yield store


@pytest.fixture
def refused(store: Store) -> Iterator[Store]:
    """Another open store, of a user who may make no lease."""

    def refuse(name: str, path: str) -> None:
        if name == "create" and "/leases/" in path and refusing:
            raise PermissionError(errno.EACCES, "Permission denied", path)

    refusing = True
    with Store.open(store.path) as reader:
        before = system.observe(refuse)
        # The reader has its only session now; the writer's come later, and are not refused.
        with reader.session():
            refusing = False
            yield reader
        system.observe(before)


def everything(path: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be two users at once")
def test_another_user_reads_beside_a_writer_that_packs_anew(
    folder: Path, store: Store, tmp_path: Path
) -> None:
    """The real thing: a process that has become nobody, on a folder that is the writer's."""
    shutil.copytree(folder, tmp_path / "own")
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(tmp_path / "own"), str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert reader.stdin is not None
    assert reader.stdout is not None
    said = [reader.stdout.readline()]
    tag(store, "later")
    drop(store)
    packs = len(list(store.layout.packs.iterdir()))
    reader.stdin.write("go on\n")
    reader.stdin.flush()
    said.append(reader.stdout.readline())
    with store.transaction() as txn:
        txn.delete_ref("refs/tags/a")
    collect(store, expire_now=True, thorough=True)
    rest, errors = reader.communicate("go on\n", timeout=60)
    assert reader.returncode == 0, errors
    assert (said, packs) == (["has looked\n", "has read\n"], 1)
    # It saw what was committed after it had opened the catalog.
    assert rest == "not found ['refs/tags/b', 'refs/tags/c', 'refs/tags/later']\n"
    # Whatever measures coverage may complain there as well: nobody cannot write its figures.
    said = errors.partition("now as nobody\n")[2].splitlines()
    warnings = [line for line in said if line.startswith("WARNING")]
    assert len(warnings) == 1, errors
    assert "reading without a lease" in warnings[0]


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_its_owner_has_locked(folder: Path, store: Store) -> None:
    store.close()
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        with Store.open(folder) as reader:
            assert reader.get(reader.resolve("a:data"))
            assert fsck(reader, full=True).ok
    finally:
        for path in (folder, *folder.rglob("*")):
            path.chmod(path.stat().st_mode | 0o200)


def test_a_reader_without_a_lease_changes_no_file(folder: Path, store: Store) -> None:
    store.close()
    before = everything(folder)
    system.observe(_deny)
    try:
        with Store.open(folder) as reader:
            assert reader.get(reader.resolve("a:data"))
            assert fsck(reader, full=True).ok
            assert preview(reader).roots
            with pytest.raises(BackendError, match="lease") as caught:
                reader.transaction()
            assert caught.value.hint
    finally:
        system.observe(None)
    assert everything(folder) == before


def _deny(name: str, path: str) -> None:
    if name != "step" and not name.startswith("catalog-"):
        raise OSError(errno.EROFS, "Read-only file system", path)


def test_it_is_said_once(folder: Path, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    system.observe(_deny)
    try:
        with Store.open(folder) as reader, caplog.at_level(logging.WARNING):
            for _ in range(3):
                assert reader.get(reader.resolve("a:data"))
                reader.sessions.drop_idle()
    finally:
        system.observe(None)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(folder) in caplog.text


def test_a_lease_is_taken_again_as_soon_as_it_can_be(folder: Path, store: Store) -> None:
    with Store.open(folder) as reader:
        system.observe(_deny)
        try:
            assert reader.get(reader.resolve("a:data"))
        finally:
            system.observe(None)
        assert not reader.sessions.holds_lease
        reader.sessions.drop_idle()
        assert reader.get(reader.resolve("a:data"))
        assert reader.sessions.holds_lease


@pytest.mark.parametrize("refused", ["create", "write"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_keeps_nobody_from_reading(
    folder: Path, store: Store, refused: str, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Predictions go on; a lease whose name could be made and nothing written pins everything."""

    def full(name: str, path: str) -> None:
        if name == refused:
            raise OSError(number, os.strerror(number), path)

    data = store.get(store.resolve("a:data"))
    with Store.open(folder) as reader, ExitStack() as reading:
        system.observe(full)
        try:
            reading.enter_context(reader.session())
            assert reader.get(reader.resolve("a:data")) == data
        finally:
            system.observe(None)
        (said,) = [record.message for record in caplog.records if "lease" in record.message]
        assert os.strerror(number) in said
        assert reader.sessions.is_blind == (refused == "create")
        with store.transaction() as txn:
            txn.delete_ref("refs/tags/a")
        store.sessions.drop_idle()
        tag(store, "comes")  # and goes: named by a ref that this reader has seen
        seen = reader.ref("refs/tags/comes").oid
        with store.transaction() as txn:
            txn.delete_ref("refs/tags/comes")
        store.sessions.drop_idle()
        held = [held.role for held in collect(store, expire_now=True).held_by]
        assert held == ([] if refused == "create" else ["unknown"])
        if refused == "write":
            assert list(reader.get_tree(seen)) == ["data"]


def drop(store: Store, reader: Store | None = None) -> None:
    """Pack everything anew, and let the old packs go, out of a reader's hands too."""
    repack(store, RepackMode.ALL)
    store.sessions.drop_idle()
    collect(store)
    assert len(list(store.layout.packs.iterdir())) == 1
    if reader is not None:
        reader.odb.unmap()


def test_packs_that_went_are_looked_for_anew(store: Store, refused: Store) -> None:
    assert refused.sessions.is_blind
    oids = [refused.resolve(f"{name}:data") for name in "abc"]
    drop(store, refused)
    for oid in oids:
        assert refused.get(oid) == store.get(oid)


@pytest.mark.parametrize("how", ["info", "objects", "prefix", "preview", "fsck"])
def test_every_way_of_reading_looks_anew(store: Store, refused: Store, how: str) -> None:
    oid = refused.resolve("a:data")
    drop(store, refused)
    if how == "info":
        assert refused.info(oid).oid == oid
    elif how == "objects":
        assert len(list(refused.objects())) == 6
    elif how == "prefix":
        assert [found for found, _ in refused.objects_with_prefix(oid.hex[:20])] == [oid]
    elif how == "preview":
        assert preview(refused).living.marked == 6
    else:
        assert fsck(refused, full=True).ok


@pytest.mark.parametrize("look", [preview, lambda store: fsck(store).ok or pytest.fail("damage")])
def test_what_goes_in_the_middle_of_a_long_look(
    store: Store, refused: Store, look: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the list of packs was read, and before the packs are opened."""
    real = refused.odb.reader

    def late(pack_id: str) -> object:
        monkeypatch.undo()
        drop(store, refused)
        return real(pack_id)

    monkeypatch.setattr(refused.odb, "reader", late)
    assert look(refused)  # type: ignore[operator]


@pytest.mark.parametrize("step", ["header", "verify_indexes"])
def test_what_goes_between_two_steps_of_a_look_up(
    store: Store, refused: Store, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    oid = refused.resolve("a:data")
    real = getattr(refused.odb, step)

    def late(*args: object) -> object:
        monkeypatch.undo()
        drop(store, refused)
        return real(*args)

    monkeypatch.setattr(refused.odb, step, late)
    if step == "verify_indexes":  # where a look-up comes that has found the object nowhere
        monkeypatch.setattr(refused.odb, "find", lambda _: None)
    assert refused.info(oid).oid == oid


def test_a_pack_that_another_thread_has_forgotten_already(
    store: Store, refused: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    oids = [refused.resolve(f"{name}:data") for name in "abc"]
    real, gone = refused.odb.verify_indexes, []

    def verify() -> None:
        try:
            real()
        except PackGoneError as error:
            gone.append(error.pack_id)
            refused.odb.retain(set(refused.odb.pack_ids) - {error.pack_id})  # by the other thread
            raise

    drop(store, refused)
    monkeypatch.setattr(refused.odb, "verify_indexes", verify)
    assert not refused.has(ObjectId(bytes(32)))
    assert len(gone) == 3
    for oid in oids:
        assert refused.get(oid) == store.get(oid)


def test_what_another_thread_learns_while_a_pack_is_forgotten(
    store: Store, refused: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, kept = refused.odb.retain, []

    def late(keep: Container[str]) -> None:
        tag(store, f"new{len(kept)}")
        refused.sessions.refresh()  # by the other thread
        new = store.info(store.resolve(f"new{len(kept)}:data")).pack
        real(keep)
        kept.append(new in refused.odb)

    drop(store, refused)
    monkeypatch.setattr(refused.odb, "retain", late)
    assert not refused.has(ObjectId(bytes(32)))
    assert kept == [True] * 3


def test_a_pack_that_has_gone_and_cannot_be_forgotten_is_damage(
    store: Store, refused: Store
) -> None:
    # As a transaction does, whose lease would keep it.
    refused.odb.hold(store, set(refused.odb.pack_ids))
    drop(store, refused)
    with pytest.raises(CorruptionError, match="missing"):
        refused.has(ObjectId(bytes(32)))
    refused.odb.let_go(store)
    assert not refused.has(ObjectId(bytes(32)))


def test_a_reader_on_a_read_only_disk_keeps_what_it_has_inflated(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.transaction() as txn:
        oids = [txn.put_blob(bytes([number]) * 50_000) for number in range(3)]
        txn.set_ref("refs/tags/zeros", txn.put_tree(dict(zip("abc", oids, strict=True))))
    monkeypatch.setattr("n4a_store.repo.store.is_read_only", lambda path: True)
    with Store.open(store.path) as reader:
        reader.sessions.ends_when_idle = False  # only the reads themselves
        monkeypatch.setattr("n4a_store.repo.session.IDLE_SECONDS", 0.0)
        for oid in oids:
            reader.blob(oid)
        assert len(reader.odb.kept) == 3
        reader.sessions.ends_when_idle = True
        reader.sessions.drop_after(60.0)  # as it is asked when another store has a lease
        assert len(reader.odb.kept) == 3
        reader.sessions.drop_after(0.0)
        assert len(reader.odb.kept) == 0


def test_what_is_gone_for_good_and_what_is_damage(store: Store, refused: Store) -> None:
    gone, lost = refused.resolve("a:data"), refused.resolve("b:data")
    with store.transaction() as txn:
        txn.delete_ref("refs/tags/a")
    collect(store, expire_now=True, thorough=True)
    refused.odb.unmap()
    with pytest.raises(ObjectNotFoundError) as caught:
        refused.get(gone)
    assert "try again" in str(caught.value.hint)
    store.layout.pack(refused.info(lost).pack).unlink()
    refused.odb.unmap()
    with pytest.raises(CorruptionError, match="missing"):
        refused.get(lost)
    with pytest.raises(CorruptionError, match="missing"):
        list(refused.objects())
    with pytest.raises(CorruptionError, match="missing"):
        preview(refused)
    assert not fsck(refused).ok


def test_what_a_transaction_counts_on_and_the_disk_lacks_is_not_looked_for_for_ever(
    store: Store, refused: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease was removed, as by a clean-up of old files, so that gc dropped what it pinned."""
    met: list[str] = []
    real = refused.sessions._forget

    def note(pack_id: str) -> bool:
        met.append(pack_id)
        assert len(met) < 1_000, "it goes on for ever"
        return real(pack_id)

    monkeypatch.setattr(refused.sessions, "_forget", note)
    with refused.transaction():
        for lease in store.layout.leases.iterdir():
            lease.unlink()
        drop(store, refused)
        with pytest.raises(PackGoneError):
            list(refused.objects())
        with pytest.raises(PackGoneError):
            refused.objects_with_prefix("00")
    assert met
    assert list(refused.objects())

"""Opening and reading a store: bad input is a clear error, and nothing is created by it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from n4a_store.errors import (
    BackendError,
    CorruptionError,
    InvalidInputError,
    InvalidNameError,
    ObjectNotFoundError,
    RefNotFoundError,
    StoreError,
    StoreNotFoundError,
    UnsupportedFormatError,
)
from n4a_store.objects.codec import encode_value
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.repo.format import StoreFormat
from n4a_store.repo.store import Store
from n4a_store.settings import Durability, Settings
from n4a_store.storage.rows import PackState
from tests.descriptors import none_left_behind

MISSING = ObjectId(bytes(32))


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Store.init(tmp_path / "store") as store, store.transaction() as txn:
        txn.set_ref("refs/tags/a", txn.put_tree({"blob": txn.put_blob(b"data")}))
    return tmp_path / "store"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store.open(path) as store:
        yield store


def refuse(path: Path, error: type[StoreError]) -> StoreError:
    """Opening must fail with ``error``, say what to do, and change nothing."""
    before = snapshot(path.parent)
    fds = len(os.listdir("/proc/self/fd"))
    with pytest.raises(error) as caught:
        Store.open(path)
    assert caught.value.hint
    assert snapshot(path.parent) == before
    assert none_left_behind(fds)
    return caught.value


@pytest.mark.parametrize("place", ["missing", "deep/er", "file", "file/below", "empty"])
def test_where_there_is_no_store(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    assert place in str(refuse(tmp_path / place, StoreNotFoundError))


def test_every_changed_byte_of_the_format_file(path: Path) -> None:
    sound = (path / "format").read_bytes()
    for position in range(0, len(sound), 5):
        damaged = bytearray(sound)
        damaged[position] ^= 0x84
        (path / "format").write_bytes(damaged)
        refuse(path, CorruptionError)


def test_a_store_of_the_future(path: Path) -> None:
    (path / "format").write_text("n4a_store 2\nanything\n")
    assert "version 2" in str(refuse(path, UnsupportedFormatError))
    (path / "format").write_text(StoreFormat(required_read=("packs-1", "packs-9")).encode())
    assert "packs-9" in str(refuse(path, UnsupportedFormatError))
    (path / "format").write_text(StoreFormat(required_write=("leases-9",)).encode())
    with Store.open(path) as store:
        assert store.resolve("a")
        with pytest.raises(UnsupportedFormatError, match="leases-9"):
            store.transaction()


def test_a_catalog_that_is_missing_cut_or_random(path: Path) -> None:
    catalog = path / "catalog.db"
    sound = catalog.read_bytes()
    catalog.unlink()
    assert "missing" in str(refuse(path, CorruptionError))
    for content in (b"", sound[:5000], random.Random(1).randbytes(9000), b"text\n" * 2000):
        catalog.write_bytes(content)
        refuse(path, CorruptionError)


def test_a_config_that_cannot_be_understood(path: Path) -> None:
    for text in ("durability = 'perhaps'", "durabilty = 'full'", "= ="):
        (path / "config").write_text(text)
        refuse(path, InvalidInputError)
    (path / "config").write_text("durability = 'none'")
    with Store.open(path) as store:
        assert store.settings.durability is Durability.NONE


READ_ONLY = """
import sys
from n4a_store import Store, BackendError
from n4a_store.repo.fsck import fsck
with Store.open(sys.argv[1]) as store:
    assert store.read_only
    assert store.get(store.resolve("a:blob")) == b"data"
    assert fsck(store, full=True).ok
    try:
        store.transaction()
    except BackendError as error:
        assert "read-only" in str(error), error
    else:
        raise SystemExit("a transaction began")
try:
    Store.init(sys.argv[1] + "/new")
except BackendError as error:
    assert error.hint, error
else:
    raise SystemExit("a store was created")
"""


def test_a_read_only_disk_is_read_without_a_lease(path: Path) -> None:
    # In a mount namespace of its own, where even root cannot write.
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh"]
    if (
        shutil.which("unshare") is None
        or subprocess.run(
            ["unshare", "--mount", "--map-root-user", "true"], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("this machine gives no mount namespaces")
    before = snapshot(path)
    result = subprocess.run(
        [*command, str(path), sys.executable, READ_ONLY],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert snapshot(path) == before


def test_ids_and_names_that_lead_nowhere(store: Store) -> None:
    blob = store.resolve("a:blob")
    for read in (store.get, store.view, store.info, store.kind, store.node, store.get_tree,
                 store.get_run, store.get_value):  # fmt: skip
        with pytest.raises(ObjectNotFoundError, match=MISSING.short(12)) as caught:
            read(MISSING)
        assert caught.value.hint
    assert not store.has(MISSING)
    for read in (store.get_tree, store.get_run, store.node):
        with pytest.raises(InvalidInputError, match="is a blob"):
            read(blob)
    with pytest.raises(CorruptionError):
        store.get_value(blob)
    with pytest.raises(RefNotFoundError):
        store.ref("refs/tags/none")
    for bad in ("tags/a", "refs/tags/..", "", "refs/tags/\ud800"):
        with pytest.raises(InvalidNameError):
            store.ref(bad)
    for prefix in ("\ud800", "refs/none/", "\n"):
        assert store.refs(prefix) == []
    for prefix in ("xyz", "AB", " "):
        with pytest.raises(InvalidInputError):
            store.objects_with_prefix(prefix)
    assert len(store.objects_with_prefix("")) == 2


def test_reading(store: Store) -> None:
    tree = store.ref("refs/tags/a").oid
    blob = store.get_tree(tree)["blob"].oid
    assert store.get(blob) == b"data"
    view = store.view(blob)
    assert view.readonly
    info = store.info(blob)
    assert (info.kind, info.size, info.stored_size, info.codec) == (Kind.BLOB, 4, 4, "raw")
    assert {oid for oid, _ in store.objects()} == {tree, blob}
    assert [ref.name for ref in store.refs("refs/tags/")] == ["refs/tags/a"]
    with store.transaction() as txn:
        value = txn.put_blob(encode_value({"n": 1}))
    assert store.get_value(value) == {"n": 1}
    store.close()
    assert view == b"data"


def test_a_closed_store_says_so(store: Store) -> None:
    blob = store.resolve("a:blob")
    store.close()
    store.close()
    for use in (
        lambda: store.get(blob),
        store.refs,
        store.reflog,
        store.transaction,
        lambda: store.has(blob),
        lambda: list(store.objects()),
    ):
        with pytest.raises(InvalidInputError, match="closed"):
            use()


def test_packs_of_others_are_seen_at_once(path: Path, store: Store) -> None:
    with Store.open(path) as other, other.transaction() as txn:
        oid = txn.put_blob(b"of another")
    assert store.get(oid) == b"of another"
    with store.session(), Store.open(path) as other:
        with other.transaction() as txn:
            later = txn.put_blob(b"later")
        assert store.has(later)


def test_a_pack_that_the_catalog_dropped_meanwhile_is_no_damage(path: Path, store: Store) -> None:
    with store.transaction() as txn:
        oid = txn.put_blob(b"garbage")
        result = txn.commit()
    with store.session():
        assert store.has(store.resolve("a"))
        # What gc does in the end, without waiting for our lease: as on a read-only mount.
        with Store.open(path) as other, other.catalog.write() as writer:
            row = writer.pack(result.packs[0])
            assert row is not None
            writer.delete(row)
        store.layout.pack(result.packs[0]).unlink()
        store.odb.unmap()
        assert not store.has(oid)
        with pytest.raises(ObjectNotFoundError):
            store.get(oid)
        assert not store.has(MISSING)


def test_a_sound_copy_stands_in_for_a_damaged_one(
    path: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    oid = store.resolve("a:blob")
    first = store.info(oid).pack
    # Another writer that began before the first one committed has a pack of its own with it.
    with store.catalog.read() as reader:
        row = reader.pack(first)
    assert row is not None
    twin = f"{first}1"
    shutil.copy(store.layout.pack(first), store.layout.pack(twin))
    with store.catalog.write() as writer:
        writer.put(type(row)(twin, PackState.LIVE, *row.record()[2:]))
    data = bytearray(store.layout.pack(first).read_bytes())
    data[data.index(b"data")] ^= 1
    store.layout.pack(first).write_bytes(data)
    with Store.open(path) as again:
        for _ in range(2):
            assert again.get(oid) == b"data"
        assert again.get(oid) == b"data"


def test_threads_share_a_store(store: Store) -> None:
    wrong: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            source = random.Random(seed)
            for number in range(15):
                with store.transaction() as txn:
                    oid = txn.put_blob(source.randbytes(200))
                    txn.set_ref(f"refs/tags/t{seed}-{number}", oid)
                assert len(store.get(oid)) == 200
                assert not store.has(MISSING)
                assert store.get_tree(store.resolve("a"))
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(store.refs()) == 61


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_forked_child_reads_and_writes_by_itself(path: Path, store: Store) -> None:
    blob = store.resolve("a:blob")
    with store.session():
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                assert store.get(blob) == b"data"
                with store.transaction() as txn:
                    txn.set_ref("refs/tags/child", txn.put_blob(b"child"))
                store.close()
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert store.get(store.resolve("child")) == b"child"
    with store.transaction() as txn:
        txn.set_ref("refs/tags/parent", txn.put_blob(b"parent"))
    with Store.open(path) as again:
        assert [ref.name for ref in again.refs()] == [
            "refs/tags/a",
            "refs/tags/child",
            "refs/tags/parent",
        ]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_child_does_not_wait_for_threads_of_its_parent(store: Store) -> None:
    blob = store.resolve("a:blob")
    reached, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with store.sessions._mutex, store.odb._mutex:
            reached.set()
            go_on.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    assert reached.wait(20)
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)  # a child that waits for ever is killed, which the parent sees
        status = 1
        try:
            assert store.get(blob) == b"data"
            status = 0
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    go_on.set()
    holder.join()
    assert status == 0


def test_an_unsafe_file_system_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from n4a_store.storage import filesystem

    table = tmp_path / "mountinfo"
    table.write_text("21 1 0:5 / / rw - cifs //host/share rw\n")
    monkeypatch.setattr(filesystem, "_MOUNTS", table)
    assert "cifs" in str(refuse(path, BackendError))
    with Store.open(path, settings=Settings(allow_network_filesystem=True)) as store:
        assert store.resolve("a")

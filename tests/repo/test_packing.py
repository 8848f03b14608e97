"""Pack ids are never used twice, whatever makes several packs at once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from n4a_store import BackendError, Store
from n4a_store.objects.oid import Kind, raw_hash
from n4a_store.packs import writer
from n4a_store.repo import gc, geometry, repack, rewriting
from n4a_store.repo.fsck import fsck
from n4a_store.repo.packing import PackBuilder
from n4a_store.settings import Settings

FEW = Settings(pack_max_objects=2)


def _six_packs(path: Path) -> Store:
    with Store.init(path) as store:
        for number in range(6):
            with store.transaction() as txn:
                blobs = {str(key): txn.put_blob(os.urandom(400)) for key in range(3)}
                txn.set_ref(f"refs/tags/t{number}", txn.put_tree(blobs))
                txn.put_blob(b"garbage %d" % number)
    return Store.open(path, settings=FEW)


def test_batches_that_make_several_packs_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second batch once began at number 1, over a pack that the first had just published."""
    monkeypatch.setattr(geometry, "BATCH_BYTES", 4096)
    with _six_packs(tmp_path / "store") as store:
        report = repack.repack(store, repack.RepackMode.ALL)
        assert len(report.merged) == 6
        assert fsck(store, full=True).problems == ()


def test_gc_batches_that_make_several_packs_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewriting, "_BATCH_BYTES", 2048)
    with _six_packs(tmp_path / "store") as store:
        report = gc.collect(store)
        assert len(report.rewritten) == 6
        assert fsck(store, full=True).problems == ()


def test_a_pack_is_never_renamed_over_another(tmp_path: Path) -> None:
    with Store.init(tmp_path / "store") as store, store.transaction() as txn:
        txn.set_ref("refs/tags/x", txn.put_blob(b"x" * 100))
        taken = store.layout.pack(f"{txn._packs._owner}-0")
        taken.write_bytes(b"somebody else's")
        assert isinstance(txn._packs, PackBuilder)
        with pytest.raises(BackendError, match="used twice"):
            txn.commit()
        assert taken.read_bytes() == b"somebody else's"


def test_a_forked_child_that_reads_an_open_transaction_leaves_its_pack_alone(
    tmp_path: Path,
) -> None:
    """It once flushed its copy of the buffer into the file that it shares with its parent."""
    with Store.init(tmp_path / "store") as store:
        txn = store.transaction()
        oid = txn.put_blob(b"not flushed yet")
        pid = os.fork()
        if pid == 0:
            os._exit(0 if txn.get(oid) == b"not flushed yet" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        txn.set_ref("refs/tags/a", txn.put_tree({"a": oid, "b": txn.put_blob(b"more")}))
        txn.commit()
        assert fsck(store, full=True).problems == ()


def test_an_object_is_read_back_wherever_the_writer_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the buffer or in the file."""
    monkeypatch.setattr(writer, "_BUFFER_BYTES", 100)
    blobs = [os.urandom(size) for size in range(1, 160)]
    places = set()
    with Store.init(tmp_path / "store") as store, store.transaction() as txn:
        oids = []
        for blob in blobs:
            oids.append(txn.put_blob(blob))
            own = txn._packs._writer
            assert own is not None
            offset, length = own.locate(oids[-1].raw) or (0, 0)
            assert length > 0
            places.add(offset < own.flushed)
            assert [txn.get(oid) for oid in oids] == blobs[: len(oids)]
    assert places == {True, False}


def test_how_an_array_stands_is_known_wherever_the_writer_has_it(tmp_path: Path) -> None:
    """In the pack that grows, in one that has been sealed, or in the store."""
    array = np.arange(1_000, dtype=np.float64)
    with Store.init(tmp_path / "store", settings=FEW) as store:
        for place in ("growing", "sealed", "store"):
            with store.transaction() as txn:
                oid = txn.put_blob((array + len(place)).tobytes(), item_size=8)
                if place == "sealed":
                    txn.put_blob(b"full")
                assert (txn._packs._writer is None) == (place == "sealed")
                assert (txn.item_size(oid), txn.item_size(txn.put_blob(b"text"))) == (8, 1)
                txn.set_ref(f"refs/tags/{place}", oid)
        with store.transaction() as txn:
            assert txn.item_size(store.resolve("sealed")) == 8
            assert txn.put_blob((array + len("sealed")).tobytes()) == store.resolve("sealed")
            assert txn.item_size(store.resolve("sealed")) == 8


def test_what_a_pack_holds_is_not_written_again_with_others(tmp_path: Path) -> None:
    """As when a part of a closure was put before the rest of it turned out to be missing."""
    with Store.init(tmp_path / "store") as store, store.transaction() as txn:
        oids = {data: raw_hash(Kind.BLOB, data) for data in (b"a", b"b")}
        txn._packs.add(oids[b"a"], Kind.BLOB, b"a")
        txn._packs.add_all(Kind.BLOB, [(oid, data, 1) for data, oid in oids.items()])
        for data in oids:
            txn.set_ref(f"refs/tags/{data.decode()}", txn.put_blob(data))
        assert txn.commit().objects_added == 2
        assert fsck(store, full=True).problems == ()

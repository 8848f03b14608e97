"""Pack ids are never used twice, whatever makes several packs at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from n4a_store import BackendError, Store
from n4a_store.repo import gc, repack
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
    monkeypatch.setattr(repack, "_BATCH_BYTES", 4096)
    with _six_packs(tmp_path / "store") as store:
        report = repack.repack(store, repack.RepackMode.ALL)
        assert len(report.merged) == 6
        assert fsck(store, full=True).problems == ()


def test_gc_batches_that_make_several_packs_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gc, "_BATCH_BYTES", 2048)
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

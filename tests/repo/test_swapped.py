"""A pack does not hold its own name: what if two files have each other's?"""

from __future__ import annotations

from pathlib import Path

import pytest

from n4a_store import CorruptionError, ObjectId, Store
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.repair import salvage_pack


def swapped(path: Path, first: bytes, second: bytes) -> tuple[dict[ObjectId, bytes], list[str]]:
    """A store of two packs, one blob each, whose files have changed places."""
    blobs: dict[ObjectId, bytes] = {}
    packs = []
    with Store.init(path) as store:
        for name, data in (("first", first), ("second", second)):
            with store.transaction() as txn:
                blob = txn.put_blob(data)
                txn.set_ref(f"refs/tags/{name}", blob)
            blobs[blob] = data
            packs.append(store.info(blob).pack)
        one, other = (store.layout.pack(pack) for pack in packs)
    between = one.with_suffix(".between")
    one.rename(between)
    other.rename(one)
    between.rename(other)
    return blobs, packs


def test_packs_of_one_shape_are_read_by_what_they_hold(tmp_path: Path) -> None:
    """Nothing tells them apart, and nothing needs to: an index names its own pack's objects."""
    blobs, _ = swapped(tmp_path / "store", b"a" * 100, b"b" * 100)
    with Store.open(tmp_path / "store") as store:
        assert {oid: store.get(oid) for oid in blobs} == blobs
        assert fsck(store, full=True).ok
        with store.transaction() as txn:
            txn.delete_ref("refs/tags/first")
        collect(store, expire_now=True, thorough=True)
        kept = store.resolve("second")
        assert store.get(kept) == b"b" * 100
        assert [oid for oid, _ in store.objects()] == [kept]


@pytest.mark.parametrize(
    ("second", "same_length"),
    [(b"b" * 101, True), (b"b" * 100_000, False)],  # entries are padded: one byte may not show
)
def test_other_packs_are_found_and_mended_and_never_give_wrong_bytes(
    tmp_path: Path, second: bytes, same_length: bool
) -> None:
    blobs, packs = swapped(tmp_path / "store", bytes(range(100)), second)
    with Store.open(tmp_path / "store") as store:
        for oid, data in blobs.items():
            if same_length:
                assert store.get(oid) == data
                continue
            with pytest.raises(CorruptionError, match="by the catalog"):
                store.get(oid)
        problems = fsck(store, full=True).problems
        assert {p.subject for p in problems if p.code == "pack-damaged"} == set(packs)
        if not same_length:
            with pytest.raises(CorruptionError):
                collect(store)
    with Store.open(tmp_path / "store") as store:
        for pack in packs:
            assert salvage_pack(store, pack).objects == 1
        assert fsck(store, full=True).ok
        assert {oid: store.get(oid) for oid in blobs} == blobs

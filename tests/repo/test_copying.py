"""What is copied can be read where it comes to stand, whatever stood there before it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n4a_store import CorruptionError, ObjectId, Settings, Store
from n4a_store.packs.writer import PackWriter
from n4a_store.repo.exchange import write_pack
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.repack import RepackMode, repack
from n4a_store.repo.repair import salvage_pack
from n4a_store.repo.transaction import Transaction
from n4a_store.settings import Durability
from tests.repo.alike import CHAIN, chained, deltas

FIRST, SECOND, THIRD = CHAIN
FILLING = np.random.default_rng(1).bytes(6_000)
SMALL = Settings(durability=Durability.NONE, pack_max_bytes=17_000)


def put(txn: Transaction, name: str, blobs: Mapping[str, bytes]) -> None:
    tree = txn.put_tree({key: txn.put_blob(blob) for key, blob in blobs.items()})
    txn.set_ref(f"refs/tags/{name}", tree)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One pack holds SECOND as a delta of FIRST, another THIRD as a delta of a plain SECOND."""
    store = Store.init(tmp_path / "store", settings=SMALL)
    one, other = store.transaction(), store.transaction()  # at once: neither sees the other's
    put(one, "one", {"first": FIRST, "second": SECOND, "junk": b"j" * 90})
    put(
        other,
        "other",
        {"second": SECOND, "third": THIRD, "filling": FILLING, "junk": b"k" * 90},
    )
    one.commit()
    other.commit()
    repack(store, RepackMode.COMPACT)
    assert len(store.odb.pack_ids) == 2
    assert sorted(is_chained for *_, is_chained in deltas(store)) == [False, False]
    return store


def contents(store: Store) -> dict[ObjectId, bytes]:
    return {oid: store.get(oid) for oid, _ in store.objects()}


def drop_junk(store: Store) -> None:
    """Both packs hold garbage afterwards, and something that lives."""
    with store.transaction() as txn:
        for name in ("one", "other"):
            old = txn.adopt_children(txn.adopt_path(f"refs/tags/{name}").oid)
            kept = {key: entry for key, entry in old.entries.items() if key != "junk"}
            txn.set_ref(f"refs/tags/{name}", txn.put_tree(kept))


@pytest.mark.parametrize("mode", [RepackMode.GEOMETRIC, RepackMode.ALL])
def test_a_base_that_came_as_a_delta_is_none_for_what_comes_next(
    store: Store, mode: RepackMode
) -> None:
    before = contents(store)
    wide = Store.open(store.path)
    report = repack(wide, mode)
    assert (report.packs_after, len(report.dropped)) == (1, 2)
    assert chained(wide) == []
    assert len(list(deltas(wide))) == 1
    assert contents(wide) == before
    assert fsck(wide, full=True).problems == ()


def test_nor_when_gc_rewrites_both_packs(store: Store) -> None:
    drop_junk(store)
    before = contents(store)
    report = collect(store, expire_now=True)
    assert len(report.rewritten) == 2
    assert chained(store) == []
    after = contents(store)
    assert after.items() <= before.items()
    assert {FIRST, SECOND, THIRD} <= set(after.values())
    assert fsck(store, full=True).problems == ()


@pytest.fixture
def hurt(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store in which a delta stands on a delta, as versions before wrote it."""
    with monkeypatch.context() as patch:
        patch.setattr(PackWriter, "can_be_base", PackWriter.__contains__)
        wide = Store.open(store.path)
        repack(wide, RepackMode.ALL)
    assert len(chained(wide)) == 1
    return Store.open(store.path)


def test_a_delta_on_a_delta_is_read(hurt: Store) -> None:
    assert {FIRST, SECOND, THIRD} <= set(contents(hurt).values())
    assert fsck(hurt, full=True).problems == ()


@pytest.mark.parametrize("mode", [RepackMode.ALL, RepackMode.COMPACT])
def test_and_is_written_whole_when_it_is_copied(hurt: Store, mode: RepackMode) -> None:
    before = contents(hurt)
    repack(hurt, mode)
    assert chained(hurt) == []
    assert contents(hurt) == before
    assert fsck(hurt, full=True).problems == ()


def test_and_is_salvaged(hurt: Store) -> None:
    before = contents(hurt)
    (pack,) = hurt.layout.packs.iterdir()
    data = bytearray(pack.read_bytes())
    data[-200] ^= 0xFF  # in the index
    pack.write_bytes(data)
    again = Store.open(hurt.path)
    report = salvage_pack(again, pack.stem)
    assert (report.lost, report.objects) == ((), len(before))
    assert contents(again) == before
    assert fsck(again, full=True).problems == ()


@pytest.fixture
def flaky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Store, ObjectId]:
    """A store, and a blob of it that changes on the disk between its check and its copy."""
    store = Store.init(tmp_path / "flaky", settings=SMALL)
    data = np.random.default_rng(3).bytes(9_000)
    with store.transaction() as txn:
        oid = txn.put_blob(data)
        txn.set_ref("refs/tags/x", txn.put_tree({"a": oid}))
    (pack,) = store.layout.packs.iterdir()
    at = pack.read_bytes().index(data[:64])
    real = PackWriter.add

    def add(writer: PackWriter, raw: bytes, *rest: Any) -> bool:
        if raw == oid.raw:
            with pack.open("r+b") as file:
                file.seek(at)
                file.write(bytes([data[0] ^ 1]))
        return real(writer, raw, *rest)

    monkeypatch.setattr(PackWriter, "add", add)
    return store, oid


def test_what_changes_on_the_disk_is_not_left_out_of_an_export(
    flaky: tuple[Store, ObjectId],
) -> None:
    """The file was written without it, and said nothing."""
    store, oid = flaky
    out = bytearray()
    with pytest.raises(CorruptionError, match="changed on the disk"):
        write_pack(store, [oid], out.extend)


def test_what_changes_on_the_disk_is_not_named_by_a_commit(
    flaky: tuple[Store, ObjectId], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tree named it, and no pack held it: gc would not run any more."""
    store, oid = flaky
    monkeypatch.setattr(Transaction, "_rely", lambda *_: False)  # as where its pack is condemned
    with store.transaction() as txn, pytest.raises(CorruptionError, match="changed on the disk"):
        txn.put_tree({"again": oid})

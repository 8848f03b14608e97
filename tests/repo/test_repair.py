"""Repair saves every object that still hashes to its id, and says exactly which do not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n4a_store import (
    InvalidInputError,
    Kind,
    LockedError,
    NotFoundError,
    ObjectId,
    Store,
    UnsupportedFormatError,
)
from n4a_store.objects.oid import raw_hash
from n4a_store.odb.database import Location
from n4a_store.packs.entry import Codec, EntryHeader
from n4a_store.packs.format import FOOTER_BYTES
from n4a_store.packs.writer import PackWriter
from n4a_store.repo import repair
from n4a_store.repo.format import StoreFormat
from n4a_store.repo.fsck import fsck
from n4a_store.repo.repair import adopt_unlisted_packs, salvage_pack
from n4a_store.storage.leases import Lease, LeaseRole
from tests.repo.objects import tag_blobs

BLOBS = {f"b{number}": bytes([number]) * 100 + b"x" * number for number in range(20)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.init(tmp_path / "store")
    tag_blobs(store, "all", BLOBS)
    return store


def damage(store: Store, at: int, *, times: int = 1) -> str:
    """Flip bytes of the store's only pack; its id."""
    path = next(store.layout.packs.iterdir())
    data = bytearray(path.read_bytes())
    for offset in range(times):
        data[at + offset] ^= 0xFF
    path.write_bytes(data)
    return path.stem


def position(store: Store, name: str) -> int:
    path = next(store.layout.packs.iterdir())
    return path.read_bytes().index(BLOBS[name])


def test_one_damaged_object_is_lost_and_named(store: Store) -> None:
    hurt = store.resolve("all:b7")
    pack_id = damage(store, position(store, "b7"))
    again = Store.open(store.path)
    report = salvage_pack(again, pack_id)
    assert [ObjectId(oid) for oid in report.lost] == [hurt]
    assert (report.objects, report.index_was_damaged) == (len(BLOBS), False)
    for name, data in BLOBS.items():
        if name != "b7":
            assert again.get(again.resolve(f"all:{name}")) == data
    (problem,) = fsck(again, full=True).problems
    assert (problem.code, problem.subject) == ("object-missing", hurt.hex)
    assert "refs/tags/all:b7" in problem.hurts


def two_copies(store: Store) -> tuple[ObjectId, list[Location]]:
    """One object that two writers put at once, and where it stands."""
    one, other = store.transaction(), store.transaction()
    for name, txn in (("one", one), ("other", other)):
        shared = txn.put_blob(b"same" * 100)
        mine = txn.put_blob(name.encode())
        txn.set_ref(f"refs/tags/{name}", txn.put_tree({"same": shared, "mine": mine}))
    one.commit()
    other.commit()
    return shared, store.odb.find_all(shared.raw)


def flip(store: Store, place: Location) -> None:
    """Damage an object in one pack."""
    path = store.layout.pack(place.pack_id)
    data = bytearray(path.read_bytes())
    data[store.odb.header(place).payload] ^= 1
    path.write_bytes(data)


def test_what_stands_whole_in_another_pack_is_not_lost(store: Store) -> None:
    shared, places = two_copies(store)
    flip(store, places[0])
    again = Store.open(store.path)
    report = salvage_pack(again, places[0].pack_id)
    assert report.lost == ()
    assert again.get(shared) == b"same" * 100
    assert fsck(again, full=True).problems == ()


def test_what_is_damaged_in_the_other_pack_too_is_lost(store: Store) -> None:
    shared, places = two_copies(store)
    for place in places:
        flip(store, place)
    report = salvage_pack(Store.open(store.path), places[0].pack_id)
    assert report.lost == (shared.raw,)


def test_a_lost_index_loses_no_object(store: Store) -> None:
    size = next(store.layout.packs.iterdir()).stat().st_size
    pack_id = damage(store, size - FOOTER_BYTES - 400, times=300)
    assert not fsck(Store.open(store.path)).ok
    again = Store.open(store.path)
    report = salvage_pack(again, pack_id)
    assert (report.objects, report.lost, report.index_was_damaged) == (len(BLOBS) + 1, (), True)
    assert fsck(again, full=True).problems == ()
    assert (again.layout.quarantine / f"{pack_id}.n4p").exists()


def test_a_pack_cut_short_gives_what_is_left(store: Store) -> None:
    path = next(store.layout.packs.iterdir())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    again = Store.open(store.path)
    report = salvage_pack(again, path.stem)
    assert 0 < report.objects < len(BLOBS)
    assert report.index_was_damaged
    assert len([p for p in fsck(again).problems if p.code == "object-missing"]) >= 1


def test_a_damaged_length_costs_one_object(store: Store) -> None:
    """The scan finds the next header although this one's length is wrong."""
    hurt = store.resolve("all:b3")
    pack_id = damage(store, position(store, "b3") - 56)
    again = Store.open(store.path)
    report = salvage_pack(again, pack_id)
    assert [ObjectId(oid) for oid in report.lost] == [hurt]


def test_what_is_not_there_cannot_be_salvaged(store: Store) -> None:
    with pytest.raises(NotFoundError):
        salvage_pack(store, "no-such-pack")
    path = next(store.layout.packs.iterdir())
    path.unlink()
    with pytest.raises(NotFoundError, match="missing"):
        salvage_pack(Store.open(store.path), path.stem)


def test_a_damaged_pack_is_not_adopted(store: Store) -> None:
    path = next(store.layout.packs.iterdir())
    stray = store.layout.packs / path.name.replace("-0.n4p", "-7.n4p")
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    stray.write_bytes(data)
    with pytest.raises(InvalidInputError, match="no pack was entered"):
        adopt_unlisted_packs(store)
    stray.write_bytes(path.read_bytes())
    assert adopt_unlisted_packs(store) == [stray.stem]
    assert fsck(store, full=True).problems == ()


FIRST = np.random.default_rng(3).bytes(9_000)
DELTAS = [FIRST[8 * cut :] for cut in range(1, 40)]


def pack_of_deltas() -> bytes:
    out = bytearray()
    writer = PackWriter(out.extend)
    base = raw_hash(Kind.BLOB, FIRST)
    writer.add(base, Kind.BLOB, FIRST)
    for data in DELTAS:
        # As large as deltas of models are, and not what they are: nobody decodes them here.
        oid = raw_hash(Kind.BLOB, data)
        writer.add_stored(oid, Kind.BLOB, Codec.DELTA, 1, data[::-1], len(data), base)
    writer.add(raw_hash(Kind.BLOB, b"last"), Kind.BLOB, b"last")
    writer.seal()
    return bytes(out)


def found_in(data: bytes) -> list[bytes]:
    entries = repair.sound_entries(memoryview(data))
    return [one.oid if isinstance(one, EntryHeader) else one.header.oid for one in entries]


IN_ORDER = [raw_hash(Kind.BLOB, data) for data in (FIRST, *DELTAS, b"last")]


def test_the_bytes_of_a_delta_are_not_searched_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    real = repair.decode_header

    def counted(*args: Any) -> EntryHeader:
        nonlocal looks
        looks += 1
        return real(*args)

    monkeypatch.setattr(repair, "decode_header", counted)
    assert found_in(pack_of_deltas()) == IN_ORDER
    assert looks < 3 * len(IN_ORDER) + 64


def test_unless_it_is_not_as_long_as_it_says() -> None:
    data = pack_of_deltas()
    middle = data.index(DELTAS[20][::-1]) + 400
    assert found_in(data[:middle] + data[middle + 7 :]) == IN_ORDER
    header = data.index(IN_ORDER[10])
    hurt = data[:header] + bytes([data[header] ^ 1]) + data[header + 1 :]
    assert found_in(hurt) == IN_ORDER[:10] + IN_ORDER[11:]


@pytest.mark.parametrize("share", [2, 3])
def test_what_is_lost_with_its_id_is_counted(store: Store, share: int) -> None:
    """A pack that was cut short has lost its index: only the catalog knows how many there were."""
    path = next(store.layout.packs.iterdir())
    size = path.stat().st_size
    os.truncate(path, size // share)
    again = Store.open(store.path)
    report = salvage_pack(again, path.stem)
    assert report.objects + report.lost_unnamed + len(report.lost) == len(BLOBS) + 1
    assert report.lost_unnamed > 0
    assert not fsck(again).ok


def test_the_pack_of_a_writer_at_work_is_not_entered(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was, and a writer that lost a race then took its file back from under the catalog."""
    monkeypatch.setattr(repair, "_LOOKS", 2)
    other = Store.open(store.path)
    txn = store.transaction()
    txn.set_ref("refs/tags/all", txn.put_blob(b"model"), expect=None)  # there already

    def meanwhile() -> None:
        with pytest.raises(LockedError, match=f"process {os.getpid()} is at work"):
            adopt_unlisted_packs(other)
        txn.set_ref("refs/tags/mine", txn.put_blob(b"model"))
        raise InterruptedError

    with pytest.raises(InterruptedError):
        txn.commit(meanwhile)
    left = len(list(store.layout.packs.iterdir())) - 1
    assert left == len(adopt_unlisted_packs(other)) == 1
    assert fsck(Store.open(store.path), full=True).ok


def test_what_condemns_next_is_later_than_every_reader(store: Store) -> None:
    """A reader of before the catalog was put back may have come further than it has."""
    lease = Lease(store.layout.leases, LeaseRole.READER)
    lease.publish(50, bytes(8))
    adopt_unlisted_packs(store)
    with store.catalog.read() as reader:
        assert reader.generation() == 51
    lease.release()


@pytest.mark.parametrize("rules", [{"required_write": ("x-9",)}, {"required_gc": ("x-9",)}])
def test_a_store_of_unknown_rules_is_not_repaired(
    store: Store, rules: dict[str, tuple[str, ...]]
) -> None:
    store.layout.format.write_text(StoreFormat(**rules).encode())
    for repair_it in (adopt_unlisted_packs, lambda store: salvage_pack(store, "x")):
        with pytest.raises(UnsupportedFormatError, match="x-9"):
            repair_it(Store.open(store.path))

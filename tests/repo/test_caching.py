"""Reading with a memory: faster, and never anything else than what the pack holds."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from n4a_store.errors import CorruptionError, InvalidInputError, ObjectNotFoundError
from n4a_store.objects.codec import pack_entry
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.packs.entry import Codec
from n4a_store.repo.gc import collect
from n4a_store.repo.reading import ObjectReader
from n4a_store.repo.store import Store

NOISE = random.Random(5).randbytes(40_000)  # stored raw, too large to be kept as it is
TEXT = b"the same words again " * 1_000  # stored as zstd
SMALL = random.Random(6).randbytes(600)
READS: list[Callable[[Store, ObjectId], object]] = [
    Store.blob,
    Store.own_blob,
    lambda store, oid: store.blobs([oid], []),
    lambda store, oid: store.blobs([], [oid]),
]
CODECS = {NOISE: Codec.RAW, TEXT: Codec.ZSTD, SMALL: Codec.RAW}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.init(tmp_path / "store") as store:
        with store.transaction() as txn:
            for name, data in (("noise", NOISE), ("text", TEXT), ("small", SMALL)):
                txn.set_ref(f"refs/tags/{name}", txn.put_blob(data))
            tree = txn.put_tree({"text": TreeEntry(Kind.BLOB, txn.put_blob(TEXT))})
            txn.set_ref("refs/tags/tree", tree)
        yield store


def named(store: Store, name: str) -> ObjectId:
    return store.ref(f"refs/tags/{name}").oid


@pytest.mark.parametrize("data", [NOISE, TEXT, SMALL])
def test_a_copy_is_the_callers_own(store: Store, data: bytes) -> None:
    name = {NOISE: "noise", TEXT: "text", SMALL: "small"}[data]
    oid = named(store, name)
    assert store.info(oid).codec == CODECS[data].label
    for _ in range(3):
        own = store.own_blob(oid)
        assert own == data
        own[:] = bytes(len(own))
        shared = memoryview(store.blob(oid))
        assert shared == data
        assert shared.readonly
    assert store.get(oid) == data


def test_what_had_to_be_inflated_is_inflated_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    oid = named(store, "text")
    first = store.own_blob(oid)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "read", None)
        patch.setattr(Store, "copy", None)
        patch.setattr(Store, "copies", None)
        assert store.own_blob(oid) == first
        assert store.blob(oid) == first
        assert store.blobs([oid], [oid, oid]) == ([first], [first, first])


def test_a_mapped_page_is_checked_each_time(store: Store) -> None:
    oid = named(store, "noise")
    assert store.blob(oid) == NOISE
    assert store.own_blob(oid) == NOISE
    pack = store.layout.pack(store.info(oid).pack)
    data = pack.read_bytes()
    at = data.index(NOISE) + 30_000
    pack.chmod(0o644)
    with pack.open("r+b") as file:
        file.seek(at)
        file.write(bytes((data[at] ^ 1,)))
    small = named(store, "small")
    for read in READS:
        with pytest.raises(CorruptionError, match=oid.hex[:12]):
            read(store, oid)
    with pytest.raises(CorruptionError, match=oid.hex[:12]):
        store.blobs([], [small, oid])


def test_what_is_gone_is_not_there_any_more(store: Store) -> None:
    oid = named(store, "small")
    assert store.blob(oid) == SMALL
    with store.transaction() as txn:
        txn.delete_ref("refs/tags/small")
    store.sessions.drop_idle()
    collect(store, expire_now=True)
    for read in READS:
        with pytest.raises(ObjectNotFoundError):
            read(store, oid)


def test_an_idle_store_keeps_nothing(store: Store) -> None:
    store.blob(named(store, "text"))
    assert len(store.odb.kept)
    store.sessions.drop_idle()
    assert not len(store.odb.kept)


def test_a_tree_is_no_blob(store: Store) -> None:
    for read in READS:
        with pytest.raises(InvalidInputError, match="is a tree, not a blob"):
            read(store, named(store, "tree"))


def test_several_blobs_are_what_they_are_one_by_one(store: Store) -> None:
    oids = [named(store, name) for name in ("noise", "text", "small", "text", "noise")]
    for _ in range(2):
        shared, own = store.blobs(oids, oids)
        assert shared == own == [NOISE, TEXT, SMALL, TEXT, NOISE]
        assert all(memoryview(data).readonly for data in shared)
        for data in own:
            data[:] = bytes(len(data))
        store.sessions.drop_idle()


def test_a_transaction_reads_its_own_blobs(store: Store) -> None:
    with store.transaction() as txn:
        oid = txn.put_blob(b"not committed")
        own = txn.own_blob(oid)
        assert own == txn.blob(oid) == b"not committed"
        own[:3] = b"NOT"
        assert txn.get(oid) == b"not committed"
        assert txn.kind(oid) is Kind.BLOB
        txn.abort()


def test_what_is_recalled_is_made_once_and_only_a_while(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ObjectId] = []

    def make(reader: ObjectReader, oid: ObjectId) -> int:
        made.append(oid)
        return len(reader.get(oid))

    text, noise = named(store, "text"), named(store, "noise")
    assert [store.recall(make, oid) for oid in (text, text, noise, text)] == [
        len(TEXT),
        len(TEXT),
        len(NOISE),
        len(TEXT),
    ]
    assert made == [text, noise]
    monkeypatch.setattr("n4a_store.repo.caching._RECALLED", 1)
    store.recall(make, named(store, "small"))
    store.recall(make, text)
    assert made == [text, noise, named(store, "small"), text]


def test_what_is_remembered_is_no_part_of_a_pack(tmp_path: Path) -> None:
    with Store.init(tmp_path / "store") as store:
        with store.transaction() as txn:
            oid = txn.put_blob(b"a small blob that is stored raw")
        sound = bytes(store.blob(oid))
        path = store.layout.pack(store.info(oid).pack)
        with path.open("r+b") as file:  # in place: the pack is mapped
            at = path.read_bytes().index(sound)
            file.seek(at)
            file.write(b"A")
        assert bytes(store.blob(oid)) == sound


@pytest.mark.parametrize("count", [1, 1_024, 1_025])  # the last one is sharded
def test_packed_entries_are_those_of_the_tree(store: Store, count: int) -> None:
    leaf = TreeEntry(Kind.BLOB, named(store, "small"))
    with store.transaction() as txn:
        tree = txn.put_tree({f"{place:08d}": leaf for place in range(count)})
        txn.set_ref("refs/tags/many", tree)
        assert len(txn.packed_entries(tree)) == count
    packed = store.packed_entries(tree)
    assert list(packed) == list(store.entries(tree))
    assert {*packed.values()} == {pack_entry(leaf)}
    with pytest.raises(InvalidInputError, match="not a tree"):
        store.packed_entries(leaf.oid)

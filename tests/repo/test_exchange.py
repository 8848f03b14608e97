"""n4a_store.repo.exchange: what a pack in transit is like, and what comes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from n4a_store import ObjectId, Store
from n4a_store.packs.reader import PackReader
from n4a_store.repo.exchange import receive_pack, write_pack
from n4a_store.repo.repack import RepackMode, repack
from n4a_store.repo.transaction import Transaction


def test_arrays_are_stored_as_well_in_transit_and_there(tmp_path: Path) -> None:
    """Item by item, as which doubles take least; where they are deltas as well."""
    there = Store.init(tmp_path / "there")
    with Store.init(tmp_path / "here") as here:
        with here.transaction() as txn:
            oids = []
            for number in range(2):
                array = np.linspace(0, 1, 40_000)
                array[number] = -1
                oids.append(txn.put_blob(array.tobytes(), item_size=8))
                txn.set_ref(f"refs/tags/{number}", oids[-1])
        before = [here.info(oid) for oid in oids]
        repack(here, RepackMode.COMPACT)
        data = bytearray()
        assert write_pack(here, oids, data.extend) == 2

    def finish(txn: Transaction) -> None:
        for number, oid in enumerate(oids):
            txn.set_ref(f"refs/tags/{number}", oid)

    reader = PackReader(memoryview(bytes(data)), "transit")
    headers = [reader.header_at(reader.find(oid.raw)) for oid in oids]
    assert [header.stored_length for header in headers] == [info.stored_size for info in before]
    receive_pack(there, memoryview(bytes(data)), "transit", finish)

    def what(oid: ObjectId) -> tuple[int, str, int]:
        info = there.info(oid)
        return info.stored_size, info.codec, info.item_size

    assert [what(oid) for oid in oids] == [(i.stored_size, "shuffle+zstd", 8) for i in before]

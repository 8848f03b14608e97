"""A Ctrl-C anywhere in a put or at the end of a transaction: what was put before is whole, and what
is put afterwards is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from n4a_store import ArtifactRegistry, BackendError, ObjectId, Store
from n4a_store.odb.database import ObjectDatabase
from n4a_store.packs import writer as writing
from n4a_store.repo import packing
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.seat import Seat
from n4a_store.repo.transaction import Transaction
from n4a_store.settings import Durability, Settings

_FILES = {packing.__file__, writing.__file__}
MIB = 1024 * 1024
QUICK = Settings(durability=Durability.NONE)


@contextmanager
def interrupted_at(number: int) -> Iterator[None]:
    """A Ctrl-C at the ``number``-th line or call within the packs that are being written."""
    left = number

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in _FILES:
            return None
        if event in ("call", "line"):
            if not left:
                left = -1
                raise KeyboardInterrupt
            left -= 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def noise(size: int, seed: int) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8).tobytes()


def put_one(txn: Transaction, seed: int) -> list[ObjectId]:
    return [txn.put_blob(noise(300, seed))]


def put_array(txn: Transaction, seed: int) -> list[ObjectId]:
    return [txn.put_blob(bytearray(noise(40_000, seed)))]


def put_several(txn: Transaction, seed: int) -> list[ObjectId]:
    blobs = [(noise(MIB - 2_000, seed), 1), (noise(5_000, seed + 1), 1), (noise(50, seed + 2), 1)]
    return [ObjectId(oid) for oid in txn.put_blobs(blobs)]


@pytest.mark.parametrize("put", [put_one, put_array, put_several])
@pytest.mark.parametrize("first", [False, True])
def test_a_ctrl_c_loses_nothing_that_was_put_before_it(
    tmp_path: Path, put: Callable[[Transaction, int], list[ObjectId]], first: bool
) -> None:
    """What had come back from a put was undone by a Ctrl-C as the next one began, and a commit
    then named what was nowhere."""
    refused = 0
    with Store.init(tmp_path / "store", settings=QUICK) as store:
        for number in range(500):
            seed = 100 * number
            txn = store.transaction()
            kept = [] if first else put(txn, seed)
            try:
                with interrupted_at(number):
                    kept += put(txn, seed + 10)
            except KeyboardInterrupt:
                was_cut_short = True
            else:
                was_cut_short = False
            try:
                kept += put(txn, seed + 20)
            except BackendError:  # half of it could not be taken back
                txn.abort()
                refused += 1
                continue
            tree = txn.put_tree({str(place): oid for place, oid in enumerate(kept)})
            txn.set_ref(f"refs/tags/{number}", tree)
            txn.commit()
            for place, oid in enumerate(kept):
                assert bytes(store.get(oid)), (number, place)
            if not was_cut_short:
                break
        assert not was_cut_short
        assert refused < number / 4
        assert fsck(store, full=True).ok


@pytest.mark.parametrize("where", ["Transaction._end", "ObjectDatabase.let_go", "Seat.rest"])
def test_a_transaction_whose_end_is_cut_short_holds_nothing_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A run could not go on in that seat, and what gc dropped afterwards was reported as damage."""
    owner, _, name = where.partition(".")
    owned_by = {"Transaction": Transaction, "ObjectDatabase": ObjectDatabase, "Seat": Seat}[owner]
    real = getattr(owned_by, name)

    def interrupted(*_: object) -> None:
        monkeypatch.setattr(owned_by, name, real)
        raise KeyboardInterrupt

    registry = ArtifactRegistry(tmp_path, "corn")
    with registry.run():
        registry.register(noise(5_000, 1), "p1:0:all", "model")
        registry.complete_pipeline("p1")
        monkeypatch.setattr(owned_by, name, interrupted)
        registry.register(noise(5_000, 2), "p2:0:all", "model")
        with pytest.raises(KeyboardInterrupt):
            registry.complete_pipeline("p2")
        registry.register(noise(5_000, 3), "p3:0:all", "model")
        registry.complete_pipeline("p3")
    store = registry.store
    assert sorted(ref.name for ref in store.refs("refs/pipelines/"))[-1] == "refs/pipelines/p3"
    for ref in list(store.refs()):
        with store.transaction() as txn:
            txn.delete_ref(ref.name)
    collect(store, expire_now=True)
    assert not store.has(ObjectId(bytes(32)))
    registry.close()

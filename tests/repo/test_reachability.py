"""What no ref reaches is listed once, and asked for together."""

from __future__ import annotations

from pathlib import Path

import pytest

from n4a_store import ObjectId, Settings, Store
from n4a_store.objects.oid import Kind
from n4a_store.repo import reachability
from n4a_store.repo.mark import Marker
from n4a_store.repo.reachability import preview
from n4a_store.settings import Durability

PACKS = 20
EACH = 7


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two writers at once for each pair of packs: what both put lives in one, and not in both."""
    store = Store.init(tmp_path / "store", settings=Settings(durability=Durability.NONE))
    for pair in range(PACKS // 2):
        transactions = [store.transaction(), store.transaction()]
        for number, txn in enumerate(transactions):
            shared = txn.put_blob(b"shared by pair %d" % pair)
            txn.set_ref(f"refs/tags/t{pair}-{number}", shared)
            for orphan in range(EACH):
                txn.put_blob(b"orphan %d-%d-%d" % (pair, number, orphan))
        for txn in transactions:
            txn.commit()
    return store


@pytest.mark.parametrize("at_once", [3, 1_000])
def test_orphans_are_asked_for_together(
    store: Store, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(reachability, "_AT_ONCE", at_once)
    with store.session():
        found = preview(store)
        asked: list[int] = []
        real = Marker._find_many
        monkeypatch.setattr(
            Marker, "_find_many", lambda self, oids: asked.append(len(oids)) or real(self, oids)
        )
        orphans = list(found.orphans())
    assert sorted(store.get(ObjectId(oid)) for oid, *_ in orphans) == sorted(
        b"orphan %d-%d-%d" % (pair, number, orphan)
        for pair in range(PACKS // 2)
        for number in range(2)
        for orphan in range(EACH)
    )
    for oid, kind, size, undoable in orphans:
        assert (kind, undoable) == (Kind.BLOB, False)
        assert size == store.info(ObjectId(oid)).stored_size + 56
    assert max(asked) <= at_once
    assert len(asked) <= PACKS * -(-(EACH + 1) // at_once)

"""More packs than a process may have files open: all of it works, and holds few of them open."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from n4a_store import Settings, Store
from n4a_store.objects.oid import Kind, ObjectId, raw_hash
from n4a_store.repo.fsck import fsck
from n4a_store.settings import Durability
from n4a_store.storage.catalog_access import CatalogReader

PACKS, FILES = 150, 96
BEGIN = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({FILES}, {FILES}))
from n4a_store import Store
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gain import compaction_gain
from n4a_store.repo.gc import collect
from n4a_store.repo.repack import RepackMode, repack
store = Store.open(sys.argv[1])
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    with Store.init(tmp_path / "store", settings=Settings(durability=Durability.NONE)) as store:
        for number in range(PACKS):
            with store.transaction() as txn:
                blob = txn.put_blob(b"%d " % number * 400)
                txn.set_ref(f"refs/tags/t{number}", txn.put_tree({"data": blob}))
    return Store.open(store.path)


def in_a_small_process(store: Store, code: str) -> str:
    """What another process prints that may have :data:`FILES` files open."""
    command = [sys.executable, "-c", BEGIN + code, str(store.path)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("print(collect(store, dry_run=True).reachable)", 2 * PACKS),
        ("print(collect(store, expire_now=True).reachable)", 2 * PACKS),
        ("print(fsck(store, full=True).reachable)", 2 * PACKS),
        ("print(sum(1 for _ in store.objects()))", 2 * PACKS),
        ("print(compaction_gain(store).packs_after)", 1),
    ],
)
def test_all_packs_are_looked_at(store: Store, code: str, said: int) -> None:
    assert in_a_small_process(store, code) == f"{said}\n"


@pytest.mark.parametrize("mode", ["GEOMETRIC", "ALL", "COMPACT"])
def test_all_packs_are_merged(store: Store, mode: str) -> None:
    ran = in_a_small_process(store, f"print(repack(store, RepackMode.{mode}).packs_after)")
    assert ran == "1\n"
    assert fsck(Store.open(store.path), full=True).problems == ()


def test_what_is_absent_is_not_looked_for_in_each_pack_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def note(frame: object, event: str, arg: object) -> None:
        nonlocal calls
        calls += 1

    assert not store.has(ObjectId(b"a" * 32))
    monkeypatch.setattr(CatalogReader, "packs", None)  # whoever read all of them would fail
    sys.setprofile(note)
    try:
        assert not store.has(ObjectId(b"b" * 32))
    finally:
        sys.setprofile(None)
    assert calls < 2 * PACKS


def test_what_has_been_forgotten_or_committed_since_is_learnt_again(store: Store) -> None:
    known = store.resolve("t0:data")
    new = ObjectId(raw_hash(Kind.BLOB, b"new"))
    with store.session():
        for forget in (lambda: store.odb.retain(set()), store.odb.close):
            assert not store.has(new)
            assert not store.has(new)
            forget()
            assert store.has(known)
        with Store.open(store.path) as other, other.transaction() as txn:
            txn.set_ref("refs/tags/new", txn.put_blob(b"new"))
        assert store.has(new)

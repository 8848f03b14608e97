"""More packs than a process may have files open: all of it works, and holds few of them open."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from n4a_store import Settings, Store
from n4a_store.repo.fsck import fsck
from n4a_store.settings import Durability

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

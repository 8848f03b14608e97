"""A library that forks by itself tells Python nothing: its child writes into nobody's packs.

R does so below rpy2, and so may any program that embeds Python.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from n4a_store.repo.fsck import fsck
from n4a_store.repo.store import Store

SCRIPT = """
import ctypes, os, sys
from n4a_store.errors import StoreError
from n4a_store.repo.store import Store

kind, path = sys.argv[1:]
fork = ctypes.PyDLL(None).fork
store = Store.init(path)
seat = store.seat()
txn = store.transaction(seat=seat)
if kind != "nothing put":
    txn.set_ref("refs/tags/parent", txn.put_blob(b"parent" * 1000))
if kind == "seat":
    txn.commit()
pid = fork()
if pid == 0:
    try:
        if kind == "seat":
            txn = store.transaction(seat=seat)
        if kind == "write":
            txn.put_blob(bytes(9_000_000) + b"child")
        blobs = [txn.put_blob(b"child" * size) for size in range(1, 300)]
        txn.set_ref("refs/tags/child", blobs[0])
        txn.commit()
    except StoreError:
        os._exit(3)
    os._exit(0)
refused = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
if kind == "seat":
    txn = store.transaction(seat=seat)
txn.set_ref("refs/tags/later", txn.put_blob(b"later"))
txn.commit()
seat.leave()
sys.exit(0 if refused else "the child was let in")
"""


@pytest.mark.parametrize("kind", ["nothing put", "put", "write", "seat"])
def test_a_child_that_nobody_told_of_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "store"
    subprocess.run([sys.executable, "-c", SCRIPT, kind, str(path)], check=True, timeout=60)
    with Store.open(path) as store:
        assert store.find_ref("refs/tags/child") is None
        assert store.find_ref("refs/tags/later") is not None
        assert fsck(store, full=True).problems == ()

"""Faults: every call that changes the disk fails once, and the store must shrug.

Run under the recorder, which can make the n-th call fail, SQLite's own included::

    python -m n4a_store.testing.faults ROOT --every 1

For each operation and each call in it, on a fresh copy of one store: the operation either raises
an error of ours and has changed no ref, or has succeeded; the store is clean; the same store
object can do the same operation at once; and afterwards one gc leaves nothing behind.
"""

from __future__ import annotations

import argparse
import errno
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from n4a_store.errors import ConflictError, CorruptionError, StoreError
from n4a_store.repo.fsck import Severity, fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.repack import RepackMode, repack
from n4a_store.repo.store import Store
from n4a_store.repo.undo import undo
from n4a_store.settings import Settings
from n4a_store.storage.layout import PACK_SUFFIX
from n4a_store.testing.recorder import fail

__all__ = ["ERRORS"]

ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES)
_NONE = -1
Refs = dict[str, str]


def _commit(store: Store) -> None:
    with store.transaction("commit") as txn:
        tree = txn.put_tree({"new": txn.put_blob(b"new" * 1000), "old": txn.put_blob(b"old" * 9)})
        txn.set_ref("refs/tags/new", tree)
        txn.set_ref("refs/tags/second", tree)


def _delete(store: Store) -> None:
    with store.transaction("delete") as txn:
        txn.delete_ref("refs/tags/1")


def _gc(store: Store) -> None:
    collect(store, expire_now=True, thorough=True)


def _repack(store: Store) -> None:
    repack(store, RepackMode.ALL)


def _read(store: Store) -> None:
    with store.session():
        for ref in store.refs():
            for entry in store.get_tree(ref.oid).entries.values():
                store.get(entry.oid)


OPERATIONS: dict[str, Callable[[Store], object]] = {
    "commit": _commit,
    "read": _read,
    "deletion": _delete,
    "undo": undo,
    "gc": _gc,
    "repack": _repack,
}


def _refs(store: Store) -> Refs:
    return {ref.name: ref.oid.hex for ref in store.refs()}


def _template(path: Path) -> None:
    with Store.init(path, settings=Settings()) as store:
        for number in range(4):
            with store.transaction("commit") as txn:
                blobs = {"own": txn.put_blob(b"%d" % number * 500), "old": txn.put_blob(b"old" * 9)}
                txn.set_ref(f"refs/tags/{number}", txn.put_tree(blobs))
        with store.transaction("delete") as txn:
            txn.delete_ref("refs/tags/2")


class _Case:
    """One operation whose n-th call fails."""

    def __init__(self, template: Path, path: Path, name: str, nth: int, error: int) -> None:
        self.path = path
        self.run = OPERATIONS[name]
        self.nth = nth
        self.error = error
        self.happened = False
        self.findings: list[str] = []
        shutil.copytree(template, path)

    def attempt(self) -> None:
        """Run it, and look at what it leaves."""
        with Store.open(self.path, settings=Settings()) as store:
            before = _refs(store)
            store.sessions.drop_idle()
            fail(self.nth, self.error)
            try:
                self.run(store)
            except (CorruptionError, ConflictError) as failure:
                self._find(f"blames the wrong thing: {type(failure).__name__}: {failure}")
                refused = True
            except StoreError:
                refused = True
            except Exception as failure:  # noqa: BLE001 - it is what this looks for
                self._find(f"leaks {type(failure).__name__}: {failure}")
                refused = True
            else:
                refused = False
            self.happened = fail(_NONE, 0) < 0
            now = _refs(store)
            if refused and now != before:
                self._find("raised, and yet changed refs")
            self._fsck(store)
            if refused:
                self._again(store)
        self._tidy()

    def _find(self, what: str) -> None:
        self.findings.append(what)

    def _fsck(self, store: Store) -> None:
        for problem in fsck(store, full=True).problems:
            if problem.severity is not Severity.NOTE:
                self._find(f"fsck: {problem.message}")

    def _again(self, store: Store) -> None:
        try:
            self.run(store)
        except StoreError as failure:
            self._find(f"the next attempt fails: {type(failure).__name__}: {failure}")

    def _tidy(self) -> None:
        with Store.open(self.path, settings=Settings()) as store:
            collect(store, expire_now=True)
            with store.catalog.read() as reader:
                listed = {row.id + PACK_SUFFIX for row in reader.packs()}
            folders = store.layout.folders()
            strays = {path.name for folder in folders for path in folder.iterdir()} - listed
            if strays:
                self._find(f"strays after gc: {sorted(strays)}")
            self._fsck(store)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m n4a_store.testing.faults")
    parser.add_argument("root", type=Path)
    parser.add_argument("--every", type=int, default=1, help="try every n-th call only")
    parser.add_argument("--all-errors", action="store_true", help="each error at each call")
    arguments = parser.parse_args()
    template, path = arguments.root / "template", arguments.root / "store"
    _template(template)
    cases = 0
    findings = []
    for name in OPERATIONS:
        nth, happened = 0, True
        while happened:
            turn = nth // arguments.every % len(ERRORS)
            for error in ERRORS if arguments.all_errors else ERRORS[turn : turn + 1]:
                case = _Case(template, path, name, nth, error)
                try:
                    case.attempt()
                except StoreError as failure:
                    case.findings.append(f"cannot be used afterwards: {failure}")
                fail(_NONE, 0)
                shutil.rmtree(path)
                happened = case.happened
                cases += happened
                where = f"{name}, call {nth}, {errno.errorcode[error]}"
                findings += [f"{where}: {what}" for what in case.findings]
            nth += arguments.every
    sys.stdout.write(json.dumps({"cases": cases, "findings": findings}))


if __name__ == "__main__":
    _main()

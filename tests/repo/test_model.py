"""The object database against a plain dict: any sequence of changes, one outcome.

The model knows nothing of packs, leases or SQLite: a dict of what was committed, one of what the
open transaction added, and what each ref held at every step.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from n4a_store.errors import ConflictError, ObjectNotFoundError, TransactionClosedError
from n4a_store.objects.model import Run, RunStatus, Tree, TreeEntry
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.refs.refs import ANY, Expect
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.repack import RepackMode, repack
from n4a_store.repo.store import Store
from n4a_store.repo.transaction import Transaction
from n4a_store.settings import Durability, Settings

QUICK = Settings(durability=Durability.NONE, pack_max_objects=5)
NAMES = st.sampled_from(["refs/tags/a", "refs/tags/b", "refs/runs/r"])
ABSENT = ObjectId(bytes(32))
Content = bytes | Mapping[str, TreeEntry] | Run


class StoreMachine(RuleBasedStateMachine):
    """A store, and a dict that says what it should hold."""

    entries = Bundle("entries")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.store = Store.init(self.folder / "store", settings=QUICK)
        self.kept: dict[TreeEntry, Content] = {}
        self.fresh: dict[TreeEntry, Content] = {}
        self.refs: dict[str, TreeEntry] = {}
        self.logs: dict[str, list[TreeEntry | None]] = {}
        self.planned: dict[str, tuple[TreeEntry | None, Expect]] = {}
        self.txn: Transaction | None = None

    def teardown(self) -> None:
        if self.txn is not None:
            self.txn.abort()
        self.store.close()
        shutil.rmtree(self.folder)

    # --- what can be done -----------------------------------------------------------------------

    @initialize(target=entries)
    def empty_blob(self) -> TreeEntry:
        self._begin()
        return self._put(TreeEntry(Kind.BLOB, self._open().put_blob(b"")), b"")

    def _open(self) -> Transaction:
        self._begin()
        assert self.txn is not None
        return self.txn

    def _begin(self) -> None:
        if self.txn is None:
            self.txn = self.store.transaction("a change")

    def _put(self, entry: TreeEntry, content: Content) -> TreeEntry:
        known = self.kept.get(entry, self.fresh.get(entry, content))
        assert known == content, "one id, two contents"
        self.fresh[entry] = content
        return entry

    def _exists(self, entry: TreeEntry) -> bool:
        return entry in self.kept or entry in self.fresh

    @rule(target=entries, data=st.binary(max_size=3000), item_size=st.sampled_from([1, 8]))
    def put_blob(self, data: bytes, item_size: int) -> TreeEntry:
        oid = self._open().put_blob(data, item_size=item_size)
        return self._put(TreeEntry(Kind.BLOB, oid), data)

    @rule(
        target=entries,
        children=st.dictionaries(st.sampled_from(["x", "y", "ä", "0"]), entries, max_size=3),
        bare=st.booleans(),
    )
    def put_tree(self, children: dict[str, TreeEntry], bare: bool) -> Any:
        txn = self._open()
        given: Any = {name: entry.oid for name, entry in children.items()} if bare else children
        if not all(map(self._exists, children.values())):
            with pytest.raises(ObjectNotFoundError):
                txn.put_tree(given)
            return multiple()
        return self._put(TreeEntry(Kind.TREE, txn.put_tree(given)), dict(children))

    @rule(target=entries, pipelines=entries, message=st.sampled_from(["", "one", "two"]))
    def put_run(self, pipelines: TreeEntry, message: str) -> Any:
        if pipelines.kind is not Kind.TREE or not self._exists(pipelines):
            return multiple()
        run = Run(pipelines.oid, "d", "2026-11-23T00:00:00Z", RunStatus.COMPLETE, message=message)
        return self._put(TreeEntry(Kind.RUN, self._open().put_run(run)), run)

    @rule(name=NAMES, target=entries, entry=entries)
    def set_ref(self, name: str, entry: TreeEntry) -> Any:
        if not self._exists(entry):
            with pytest.raises(ObjectNotFoundError):
                self._open().set_ref(name, entry)
        else:
            self._open().set_ref(name, entry)
            self.planned[name] = (entry, ANY)
        return multiple()

    @rule(name=NAMES, entry=entries, guess=st.one_of(st.none(), entries))
    def compare_and_swap(self, name: str, entry: TreeEntry, guess: TreeEntry | None) -> None:
        if self._exists(entry):
            expect = None if guess is None else guess.oid
            self._open().set_ref(name, entry, expect=expect)
            self.planned[name] = (entry, expect)

    @rule(name=NAMES)
    def advance_with_the_right_guess(self, name: str) -> None:
        now = self.refs.get(name)
        self._open().delete_ref(name, expect=None if now is None else now.oid)
        self.planned[name] = (None, None if now is None else now.oid)

    # --- how it ends ------------------------------------------------------------------------------

    @precondition(lambda self: self.txn is not None)
    @rule()
    def commit(self) -> None:
        txn = self._open()
        stale = [
            name
            for name, (_, expect) in self.planned.items()
            if expect is not ANY and expect != (self.refs[name].oid if name in self.refs else None)
        ]
        if stale:
            with pytest.raises(ConflictError):
                txn.commit()
        else:
            txn.commit()
            self.kept |= self.fresh
            for name, (target, _) in self.planned.items():
                if target != self.refs.get(name):
                    self.logs.setdefault(name, []).insert(0, target)
                if target is None:
                    self.refs.pop(name, None)
                else:
                    self.refs[name] = target
        self._ended(txn)

    @precondition(lambda self: self.txn is not None)
    @rule()
    def abort(self) -> None:
        txn = self._open()
        txn.abort()
        self._ended(txn)

    def _ended(self, txn: Transaction) -> None:
        assert not txn.is_open
        with pytest.raises(TransactionClosedError):
            txn.put_blob(b"late")
        self.txn = None
        self.fresh.clear()
        self.planned.clear()

    @rule(lose=st.booleans())
    def reopen(self, lose: bool) -> None:
        if self.txn is not None:
            if not lose:
                self.txn.abort()
            self.txn = None  # else it is lost without a word, as by a crash
            self.fresh.clear()
            self.planned.clear()
        self.store.close()
        self.store = Store.open(self.folder / "store", settings=QUICK)

    @precondition(lambda self: self.txn is None)
    @rule(mode=st.sampled_from(RepackMode))
    def repack(self, mode: RepackMode) -> None:
        repack(self.store, mode)

    @precondition(lambda self: self.txn is None)
    @rule()
    def collect_garbage(self) -> None:
        collect(self.store, expire_now=True, thorough=True)
        reached: set[TreeEntry] = set()
        waiting = list(self.refs.values())
        while waiting:
            entry = waiting.pop()
            if entry in reached:
                continue
            reached.add(entry)
            content = self.kept[entry]
            if isinstance(content, Run):
                waiting.append(TreeEntry(Kind.TREE, content.pipelines))
            elif not isinstance(content, bytes):
                waiting.extend(content.values())
        present = {TreeEntry(kind, oid) for oid, kind in self.store.objects()}
        assert present == reached
        self.kept = {entry: self.kept[entry] for entry in reached}
        self.logs = {name: [] for name in self.logs}

    @rule(entry=consumes(entries))
    def forget(self, entry: TreeEntry) -> None:
        """Let other objects be chosen from now on."""

    # --- what must always hold --------------------------------------------------------------------

    @invariant()
    def the_store_holds_what_was_committed_and_nothing_else(self) -> None:
        assert {TreeEntry(kind, oid) for oid, kind in self.store.objects()} == set(self.kept)
        for entry, content in self.kept.items():
            self._same(self.store, entry, content)
        for entry in self.fresh.keys() - self.kept.keys():
            assert not self.store.has(entry.oid)
            with pytest.raises(ObjectNotFoundError):
                self.store.get(entry.oid)

    @invariant()
    def a_transaction_sees_its_own_writes(self) -> None:
        if self.txn is not None:
            for entry, content in self.fresh.items():
                assert self.txn.has(entry.oid)
                self._same(self.txn, entry, content)

    def _same(self, source: Store | Transaction, entry: TreeEntry, content: Content) -> None:
        assert source.kind(entry.oid) is entry.kind
        if isinstance(content, bytes):
            assert source.get(entry.oid) == content
            assert source.view(entry.oid) == content
        elif isinstance(content, Run):
            assert source.get_run(entry.oid) == content
        else:
            assert source.get_tree(entry.oid) == Tree(content)

    @invariant()
    def refs_and_their_history_are_as_planned(self) -> None:
        assert {ref.name: ref.entry for ref in self.store.refs()} == self.refs
        for name, log in self.logs.items():
            found = [entry.new for entry in self.store.reflog(name)]
            assert found[: len(log)] == log
        assert not self.store.has(ABSENT)


class FinalCheck(StoreMachine):
    """The same, and at the end everything is checked byte by byte."""

    def teardown(self) -> None:
        try:
            report = fsck(self.store, full=True)
            assert report.ok, report.problems
        finally:
            super().teardown()


TestStore = FinalCheck.TestCase
TestStore.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)

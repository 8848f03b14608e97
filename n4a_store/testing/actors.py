"""The processes of a torture: writers, readers and a collector that run until they are killed.

Everything they store comes from a small universe of objects, so that the same ids are put,
deleted, collected and put again all the time: a store that only ever sees new ids never has to
decide whether to believe in an old one. Each writer owns the refs below its own prefix and its own
entries in one ref that all of them add to, so its ledger alone says what they must hold; it also
tags what other writers' refs reach.

A finding is one line in a file that all of them append to.
"""

from __future__ import annotations

import os
import random
import time
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from n4a_store.errors import (
    ConflictError,
    CorruptionError,
    LockedError,
    NotFoundError,
    ObjectNotFoundError,
    RefNotFoundError,
)
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.repo.fsck import Severity, fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.history import reach
from n4a_store.repo.repack import RepackMode, repack
from n4a_store.repo.seat import Seat
from n4a_store.repo.store import Store
from n4a_store.repo.transaction import Transaction
from n4a_store.repo.undo import undo
from n4a_store.storage import system
from n4a_store.testing.holdings import SHARED, held_by, shared_key, writer_prefix
from n4a_store.testing.ledger import Ledger, Refs, changed, read_ledger

__all__ = ["ROLES", "Findings", "known_trees", "run_actor"]

_UNIVERSE = 40
_NAMES = 3
_IMPOSSIBLE = "was dropped while this transaction relied on it"


class Findings:
    """The file of findings; any process may append to it."""

    def __init__(self, path: Path) -> None:
        self._ledger = Ledger(path)

    def report(self, who: str, what: str, **more: Any) -> None:
        """Append a finding."""
        self._ledger.say("finding", who=who, what=what, **more)


def _now(store: Store, slot: str) -> Refs:
    return {name: entry.oid.hex for name, entry in held_by(store, slot).items()}


def _unsettle(rng: random.Random) -> None:
    """Sleep now and then before a step, so that the processes meet in ever new ways."""

    def pause(_step: str, _path: str) -> None:
        if rng.random() < 0.03:
            time.sleep(rng.random() * 0.004)

    system.observe(pause)


class Writer:
    """Commits, and believes only what it wrote down."""

    def __init__(self, store: Store, slot: str, folder: Path, rng: random.Random) -> None:
        self.store = store
        self.slot = slot
        self.rng = rng
        self._seat: Seat | None = None
        self.findings = Findings(folder / "findings")
        self.prefix = writer_prefix(slot)
        path = folder / f"ledger-{slot}"
        standing = read_ledger(path)
        self.ledger = Ledger(path)
        now = _now(store, slot)
        if now not in standing.allowed():
            self.findings.report(slot, "acknowledged refs lost", now=now, said=standing.refs)
        if standing.pending is not None:
            self.ledger.settle(now == changed(standing.refs, standing.pending))
        self.refs = now
        self.last: tuple[int, dict[str, str | None]] | None = None
        self.recent: list[tuple[int, int]] = []
        self.actions: list[Callable[[], None]] = [
            *[self.store_new] * 4,
            *[self.delete] * 2,
            *[self.delete_and_store_again] * 4,
            *[self.tag_deep] * 3,
            *[self.name_present] * 2,
            *[self.take_back] * 2,
            *[self.share] * 3,
            self.hold,
        ]

    def run(self) -> None:
        """Go on until killed."""
        while True:
            action = self.rng.choice(self.actions)
            if self.rng.random() < 0.7:
                self.store.sessions.drop_idle()  # or its lease would pin what others condemn
            try:
                action()
            except ConflictError as error:
                self._refused(action, error)

    def _refused(self, action: Callable[[], None], error: ConflictError) -> None:
        if _IMPOSSIBLE in str(error) or "is gone" in str(error):
            self.findings.report(self.slot, f"{action.__name__}: {error}")
        self._check_refs()
        self.ledger.withdraw()

    def _check_refs(self) -> None:
        now = _now(self.store, self.slot)
        if now != self.refs:
            self.findings.report(self.slot, "refs differ", now=now, said=self.refs)

    def _commit(
        self,
        txn: Transaction,
        changes: dict[str, str | None],
        *,
        careful: bool = False,
        again: Callable[[], None] | None = None,
    ) -> None:
        self._pause()
        self.ledger.intend(changes)
        result = txn.commit(again)
        self.ledger.acknowledge()
        before: dict[str, str | None] = {name: self.refs.get(name) for name in changes}
        self.refs = changed(self.refs, changes)
        if result.op is not None:
            self.last = (result.op, before)
        if careful or self.rng.random() < 0.2:
            self._read_back(changes)

    def _read_back(self, changes: dict[str, str | None]) -> None:
        """What was acknowledged is there at once, and whole, for somebody who knows nothing yet."""
        with Store.open(self.store.path) as other:
            held = held_by(other, self.slot)
            for name, oid in changes.items():
                entry = held.get(name)
                if (None if entry is None else entry.oid.hex) != oid:
                    self.findings.report(self.slot, f"acknowledged refs lost: {name}")
                elif entry is not None:
                    read_whole(other, entry, self.findings, self.slot)
            if self.rng.random() < 0.05:  # it reads every operation that there ever was
                report_problems(other, self.findings, self.slot, full=False)

    def _pause(self) -> None:
        """Now and then long enough for a whole gc."""
        if self.rng.random() < 0.3:
            time.sleep(self.rng.random() * (0.2 if self.rng.random() < 0.2 else 0.01))

    def _transaction(self, message: str) -> Transaction:
        """Half of the time from a seat that is kept from one transaction to the next."""
        if self.rng.random() < 0.5:
            return self.store.transaction(message)
        if self._seat is not None and self.rng.random() < 0.1:
            self._seat.leave()
            self._seat = None
        if self._seat is None:
            self._seat = self.store.seat()
        return self.store.transaction(message, seat=self._seat)

    def _name(self) -> str:
        return f"{self.prefix}{self.rng.randrange(_NAMES)}"

    def _put_some(self, txn: Transaction, depth: int) -> ObjectId:
        """Put a tree of the universe: the same number gives the same tree, whoever puts it."""
        number = self.rng.randrange(_UNIVERSE)
        if self.recent and self.rng.random() < 0.5:
            number, depth = self.rng.choice(self.recent)  # garbage by now, or about to be
        return _put_tree(txn, number, depth)

    # --- what it does -------------------------------------------------------------------------

    def store_new(self) -> None:
        """Put trees and point refs at them, several at once."""
        with self._transaction("store") as txn:
            changes: dict[str, str | None] = {}
            for _ in range(self.rng.randrange(1, 4)):
                tree = self._put_some(txn, self.rng.randrange(1, 4))
                self._pause()
                name = self._name()
                txn.set_ref(name, tree)
                changes[name] = tree.hex
            self._commit(txn, changes)

    def delete(self) -> None:
        """Delete one's own refs."""
        own = (name for name in self.refs if name.startswith(self.prefix))
        gone = [name for name in own if self.rng.random() < 0.6]
        held = [self.refs[name] for name in gone]
        self.recent = [known_trees()[oid] for oid in held if oid in known_trees()]
        with self._transaction("delete") as txn:
            for name in gone:
                txn.delete_ref(name)
            self._commit(txn, dict.fromkeys(gone))

    def delete_and_store_again(self) -> None:
        """Put what has just become garbage, and commit it when gc has condemned it."""
        self.delete()
        with self._transaction("store again") as txn:
            changes: dict[str, str | None] = {}
            for number, depth in self.recent:
                tree = _put_tree(txn, number, depth)
                name = self._name()
                txn.set_ref(name, tree)
                changes[name] = tree.hex
            self._await_condemnation(0.5)
            self._commit(txn, changes, careful=True)

    def _await_condemnation(self, seconds: float) -> None:
        def generation() -> int:
            with self.store.catalog.read() as reader:
                return reader.generation()

        before, until = generation(), time.monotonic() + seconds
        while time.monotonic() < until and generation() == before:
            time.sleep(0.01)

    def tag_deep(self) -> None:
        """Adopt something below anybody's ref, and keep it under one's own."""
        refs = self.store.refs()
        if not refs:
            return
        ref = self.rng.choice(refs).name
        with self._transaction("tag") as txn:
            try:
                self._pause()
                entry = txn.adopt_path(ref, *["sub"] * self.rng.randrange(3))
            except (RefNotFoundError, ObjectNotFoundError):
                txn.abort()  # deleted meanwhile, or not that deep
                return
            self._pause()
            tree = txn.put_tree({"adopted": entry, "by": txn.put_blob(self.slot.encode())})
            name = self._name()
            txn.set_ref(name, tree)
            self._commit(txn, {name: tree.hex})

    def name_present(self) -> None:
        """Name an object that may be there or not, complete or not, reachable or not."""
        number = self.rng.randrange(_UNIVERSE)
        with self._transaction("name") as txn:
            scratch = _Hasher()
            oid = _put_tree(scratch, number, 2)
            self._pause()
            try:
                tree = txn.put_tree({"named": TreeEntry(Kind.TREE, oid)})
            except ObjectNotFoundError:
                txn.abort()
                return
            name = self._name()
            txn.set_ref(name, tree)
            self._commit(txn, {name: tree.hex})

    def take_back(self) -> None:
        """Undo one's own last operation."""
        if self.last is None:
            return
        op, before = self.last
        self.last = None
        self.ledger.intend(before)
        try:
            undo(self.store, op)
        except NotFoundError:  # too old: gc has dropped it from the reflog, or it changed nothing
            self._check_refs()
            self.ledger.withdraw()
            return
        self.ledger.acknowledge()
        self.refs = changed(self.refs, before)

    def share(self) -> None:
        """Add to the ref that all share, or take out; plan again when another was first."""
        key = shared_key(self.slot, self.rng.randrange(_NAMES))
        with self._transaction("share") as txn:
            tree = self._put_some(txn, 2) if self.rng.random() < 0.7 else None
            name = f"{SHARED}/{key}"

            def plan() -> None:
                try:
                    before = txn.adopt_path(SHARED).oid
                except RefNotFoundError:
                    before = None
                self._pause()
                entries = {} if before is None and tree is None else {key: tree}
                txn.set_ref(SHARED, txn.put_tree(entries, onto=before), before)

            plan()
            self._commit(txn, {name: None if tree is None else tree.hex}, again=plan)

    def hold(self) -> None:
        """Let a worker commit packs for a run, then adopt them."""
        run = self.store.lock_run()
        try:
            with self.store.transaction("worker", hold_for=run.lease_id) as txn:
                tree = self._put_some(txn, 3)
            self._pause()
            self._pause()
            with self.store.transaction("adopt") as txn:
                txn.adopt_held(run.lease_id)
                whole = txn.put_tree({"worker": TreeEntry(Kind.TREE, tree)})
                name = self._name()
                txn.set_ref(name, whole)
                self._commit(txn, {name: whole.hex})
        finally:
            run.release()


@cache
def known_trees() -> dict[str, tuple[int, int]]:
    """Every tree of the universe: its id, and by what numbers it is made."""
    numbers = [(number, depth) for number in range(_UNIVERSE) for depth in range(1, 4)]
    return {_put_tree(_Hasher(), *pair).hex: pair for pair in numbers}


class _Hasher:
    """Takes puts like a transaction and stores nothing."""

    def put_blob(self, data: bytes) -> ObjectId:
        from n4a_store.objects.oid import hash_object

        return hash_object(Kind.BLOB, data)

    def put_tree(self, entries: dict[str, TreeEntry]) -> ObjectId:
        from n4a_store.objects.oid import hash_object
        from n4a_store.objects.trees import encode_tree

        return encode_tree(entries, {}, lambda data: hash_object(Kind.TREE, data))


def _put_tree(txn: Transaction | _Hasher, number: int, depth: int) -> ObjectId:
    own = random.Random(number * 8 + depth)
    entries = {}
    for at in range(own.randrange(1, 4)):
        blob = own.randrange(_UNIVERSE)
        data = random.Random(blob).randbytes(1 + 37 * blob) if blob % 2 else b"%d" % blob * 500
        entries[f"blob{at}"] = TreeEntry(Kind.BLOB, txn.put_blob(data))
    if depth > 1:
        below = _put_tree(txn, own.randrange(_UNIVERSE), depth - 1)
        entries["sub"] = TreeEntry(Kind.TREE, below)
    return txn.put_tree(entries)


def read_whole(store: Store, entry: TreeEntry, findings: Findings, who: str) -> None:
    """Read everything below ``entry``; a finding if something is missing or damaged."""
    try:
        for reached in reach(store, [entry]):
            store.get(reached.oid)
    except (NotFoundError, CorruptionError) as error:
        findings.report(who, f"a read failed: {entry.oid.short(12)}: {error}")


def report_problems(store: Store, findings: Findings, who: str, *, full: bool) -> None:
    """Run fsck beside everything else; whatever it finds is a finding."""
    for problem in fsck(store, full=full).problems:
        if problem.severity is not Severity.NOTE:
            findings.report(who, f"fsck: {problem.code}: {problem.message}")


def write(store: Store, slot: str, folder: Path, rng: random.Random) -> None:
    """Be a writer."""
    Writer(store, slot, folder, rng).run()


def read(store: Store, slot: str, folder: Path, rng: random.Random) -> None:
    """Be a reader: whatever a ref names at some moment of a session can be read whole in it."""
    findings = Findings(folder / "findings")
    ledger = Ledger(folder / f"ledger-{slot}")
    while True:
        with store.session():
            for _ in range(rng.randrange(1, 4)):
                refs = store.refs()
                time.sleep(rng.random() * 0.2)
                for ref in rng.sample(refs, min(len(refs), 5)):
                    read_whole(store, ref.entry, findings, slot)
                ledger.say("read")
        store.sessions.drop_idle()  # else the next session would be this one, prolonged
        time.sleep(rng.random() * 0.1)


def tidy(store: Store, slot: str, folder: Path, rng: random.Random) -> None:
    """Be the collector: gc all the time, at times a repack, at times without the undo window."""
    ledger = Ledger(folder / f"ledger-{slot}")
    while True:
        try:
            if rng.random() < 0.3:
                repack(store, rng.choice(list(RepackMode)))
                ledger.say("repack")
            else:
                report = collect(store, expire_now=rng.random() < 0.8, thorough=rng.random() < 0.2)
                ledger.say("gc", dropped=len(report.dropped), freed=report.bytes_freed)
        except LockedError:
            time.sleep(0.01)  # the other collector is at it


def inspect(store: Store, slot: str, folder: Path, rng: random.Random) -> None:
    """Be the inspector: whatever the others are doing, fsck finds nothing wrong."""
    findings = Findings(folder / "findings")
    ledger = Ledger(folder / f"ledger-{slot}")
    while True:
        report_problems(store, findings, slot, full=rng.random() < 0.3)
        ledger.say("fsck")
        store.sessions.drop_idle()
        time.sleep(rng.random())  # reading the whole catalog makes commits wait


ROLES = {"writer": write, "reader": read, "collector": tidy, "inspector": inspect}


def run_actor(role: str, slot: str, path: Path, folder: Path, seed: str) -> None:
    """Be one of the processes; whatever it raises is a finding."""
    rng = random.Random(seed)
    findings = Findings(folder / "findings")
    try:
        with Store.open(path) as store:
            _unsettle(rng)
            ROLES[role](store, slot, folder, rng)
    except BaseException as error:
        where = traceback.format_exc().splitlines()
        findings.report(slot, f"{type(error).__name__}: {error}", pid=os.getpid(), where=where)
        raise

"""The program whose crash states are tried: everything that changes a store, once over.

Before each operation it notes what is about to happen, and after it what every ref holds now: at
any moment the refs of a recovered store must be those before or those after the operation that
was running. It is run under the recorder, or by itself to see that it works::

    python -m n4a_store.testing.crash_scenario FOLDER
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.repo.gc import collect
from n4a_store.repo.repack import RepackMode, repack
from n4a_store.repo.repair import adopt_unlisted_packs, salvage_pack
from n4a_store.repo.seat import Seat
from n4a_store.repo.store import Store
from n4a_store.repo.transaction import Transaction
from n4a_store.repo.undo import undo
from n4a_store.settings import Settings
from n4a_store.storage.rows import PackState

__all__ = ["STORE", "Operation", "operations"]

STORE = "store"
"""The name of the store below the recorded folder."""

Operation = tuple[str, Callable[[Store], object]]


def _tree(txn: Transaction, number: int, size: int = 900) -> ObjectId:
    noise = random.Random(number).randbytes(size)
    shared = txn.put_blob(b"in every tree " * 40)
    inner = txn.put_tree({"noise": txn.put_blob(noise), "shared": shared})
    return txn.put_tree(
        {"inner": TreeEntry(Kind.TREE, inner), "text": txn.put_blob(noise[:50] * 9)}
    )


def _commit(**refs: int) -> Callable[[Store], object]:
    def run(store: Store) -> None:
        with store.transaction("commit") as txn:
            for name, number in refs.items():
                txn.set_ref(f"refs/tags/{name}", _tree(txn, number))

    return run


def _delete(*names: str) -> Callable[[Store], object]:
    def run(store: Store) -> None:
        with store.transaction("delete") as txn:
            for name in names:
                txn.delete_ref(f"refs/tags/{name}")

    return run


def _adopt(store: Store) -> None:
    with store.transaction("adopt") as txn:
        entry = txn.adopt_path("refs/tags/b", "inner")
        txn.set_ref("refs/tags/deep", txn.put_tree({"deep": entry}))


def _hold(store: Store) -> None:
    run = store.lock_run()
    with store.transaction("worker", hold_for=run.lease_id) as txn:
        tree = _tree(txn, 77)
    with store.transaction("adopt") as txn:
        txn.adopt_held(run.lease_id)
        txn.set_ref("refs/tags/worked", tree)
    run.release()


class _Seated:
    """Two commits from one seat, with a transaction in between that comes to nothing."""

    def __init__(self) -> None:
        self._seat: Seat | None = None

    def first(self, store: Store) -> None:
        self._seat = store.seat()
        self._commit(store, self._seat, 91)

    def second(self, store: Store) -> None:
        assert self._seat is not None
        txn = store.transaction("nothing", seat=self._seat)
        _tree(txn, 90)
        txn.abort()
        self._commit(store, self._seat, 92)
        self._seat.leave()

    def _commit(self, store: Store, seat: Seat, number: int) -> None:
        with store.transaction("seated", seat=seat) as txn:
            txn.set_ref("refs/tags/seated", _tree(txn, number))


class _Late:
    """A commit that finds a ref moved when its packs stand in their place, and plans again."""

    def __init__(self) -> None:
        self._txn: Transaction | None = None

    def somebody_is_first(self, store: Store) -> None:
        self._txn = store.transaction("late")
        self._plan(store)
        with store.transaction("first") as txn:
            txn.set_ref("refs/tags/late", _tree(txn, 93))

    def commit(self, store: Store) -> None:
        assert self._txn is not None
        self._txn.commit(lambda: self._plan(store))

    def _plan(self, store: Store) -> None:
        assert self._txn is not None
        now = store.find_ref("refs/tags/late")
        entries = {"mine": TreeEntry(Kind.TREE, _tree(self._txn, 94))}
        if now is not None:
            entries["before"] = self._txn.adopt_path(now.name)
        tree = self._txn.put_tree(entries)
        self._txn.set_ref("refs/tags/late", tree, None if now is None else now.oid)


def _salvage(store: Store) -> None:
    with store.catalog.read() as reader:
        rows = reader.packs((PackState.LIVE,))
    salvage_pack(store, rows[0].id)


def _gc(*, expire_now: bool = False, thorough: bool = False) -> Callable[[Store], object]:
    return lambda store: collect(store, expire_now=expire_now, thorough=thorough)


def operations() -> list[Operation]:
    """What is done to the store, in order."""
    seated, late = _Seated(), _Late()
    return [
        ("commit", _commit(a=1)),
        ("commit of several refs", _commit(b=2, c=3)),
        ("ref deletion", _delete("a")),
        ("undo", undo),
        ("commit of what is there", _commit(d=2)),
        ("commit over a ref", _commit(c=4)),
        ("adoption", _adopt),
        ("ref deletion", _delete("b", "d")),
        ("gc", _gc()),
        ("gc --now", _gc(expire_now=True)),
        ("worker and run", _hold),
        ("commit from a seat", seated.first),
        ("commit from the same seat", seated.second),
        ("commit before somebody who is late", late.somebody_is_first),
        ("commit that plans again", late.commit),
        ("commit of several packs", _large),
        ("repack", repack),
        ("ref deletion", _delete("a", "large")),
        ("undo", undo),
        ("repack of everything", lambda store: repack(store, RepackMode.COMPACT)),
        ("salvage", _salvage),
        ("ref deletion", _delete("a", "deep")),
        ("gc --now, thorough", _gc(expire_now=True, thorough=True)),
        ("adoption of packs", adopt_unlisted_packs),
        ("commit", _commit(e=9)),
    ]


def _large(store: Store) -> None:
    """One commit with more than one pack: the second is begun where the first reaches its limit."""
    settings = store.settings
    small = Settings(pack_max_bytes=4096)
    store.settings = small
    try:
        with store.transaction("large") as txn:
            whole = txn.put_tree(
                {
                    str(number): TreeEntry(Kind.TREE, _tree(txn, 50 + number, 3000))
                    for number in range(3)
                }
            )
            txn.set_ref("refs/tags/large", whole)
    finally:
        store.settings = settings


def _refs(store: Store) -> dict[str, str]:
    return {ref.name: ref.oid.hex for ref in store.refs()}


def _main(root: Path, say: Callable[[str], None]) -> None:
    say(json.dumps({"begin": "creation"}))
    store = Store.init(root / STORE, settings=Settings())
    say(json.dumps({"end": "creation", "refs": {}}))
    for name, run in operations():
        say(json.dumps({"begin": name}))
        run(store)
        say(json.dumps({"end": name, "refs": _refs(store)}))
        store.sessions.drop_idle()
    store.close()


if __name__ == "__main__":
    from n4a_store.testing.recorder import note

    def say_to_terminal(text: str) -> None:
        sys.stdout.write(text + "\n")

    _main(Path(sys.argv[1]), say_to_terminal if "--dry" in sys.argv else note)

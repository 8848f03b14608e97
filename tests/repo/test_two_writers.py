"""Two writers put what resembles what the other puts: nothing done to the packs hurts it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from n4a_store import Settings, Store
from n4a_store.objects.oid import Kind, hash_object
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.repack import RepackMode, repack
from n4a_store.settings import Durability
from tests.repo.alike import chained

_NOISE = np.random.default_rng(2).bytes(14_000)
_FILLING = 5
BLOBS = [*(_NOISE[400 * n :][: 3_600 - 40 * n] for n in range(_FILLING)), _NOISE[6_000:10_000]]
"""All resemble one another, but for the last."""

SOME = st.builds(
    lambda first, count, filling: {*range(first, min(first + count, _FILLING))} | filling,
    st.integers(0, _FILLING - 1),
    st.integers(1, 3),
    st.sampled_from([set(), {_FILLING}]),
)
REWRITE = st.sampled_from(["compact", "compact", "repack", "all", "gc"])
SHARE = st.sampled_from([0.6, 0.7, 2.0])  # of the store, in one batch
ROUND = st.tuples(SOME, SOME, st.lists(st.tuples(REWRITE, SHARE), min_size=1, max_size=3))
"""What each of two transactions puts that are open at once, and what is done then."""


@example([({0, 1}, {1, 2, _FILLING}, [("compact", 0.6), ("all", 2.0)])], 0)  # a hole once
@given(st.lists(ROUND, min_size=1, max_size=3), st.integers(0, 2))
def test_all_that_refs_reach_is_read(
    rounds: list[tuple[set[int], set[int], list[tuple[str, float]]]], dropped: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store"
        Store.init(path).close()
        refs: dict[str, set[int]] = {}
        for number, (first, second, rewrites) in enumerate(rounds):
            puts = {f"refs/tags/a{number}": first, f"refs/tags/b{number}": second}
            put_at_once(path, puts)
            refs |= puts
            if number < dropped:
                drop(path, f"refs/tags/a{number}")
                del refs[f"refs/tags/a{number}"]
            for how, share in rewrites:
                rewrite(path, how, share)
                check(path, refs)
        rewrite(path, "all", 2.0)
        check(path, refs)


def open_store(path: Path, pack_max_bytes: int = 1 << 20) -> Store:
    settings = Settings(durability=Durability.NONE, pack_max_bytes=pack_max_bytes)
    return Store.open(path, settings=settings)


def put_at_once(path: Path, puts: dict[str, set[int]]) -> None:
    """Neither transaction sees what the other puts, so both have their own of it."""
    with open_store(path) as store:
        opened = []
        for ref, numbers in puts.items():
            txn = store.transaction()
            children = {f"b{number}": txn.put_blob(BLOBS[number]) for number in numbers}
            txn.set_ref(ref, txn.put_tree(children | {"ref": txn.put_blob(ref.encode())}))
            opened.append(txn)
        for txn in opened:
            txn.commit()


def drop(path: Path, ref: str) -> None:
    with open_store(path) as store, store.transaction() as txn:
        txn.delete_ref(ref)


def rewrite(path: Path, how: str, share: float) -> None:
    size = sum(pack.stat().st_size for pack in (path / "packs").iterdir())
    with open_store(path, max(4_096, int(share * size))) as store:
        if how == "compact":
            repack(store, RepackMode.COMPACT)
        elif how == "gc":
            collect(store, expire_now=True)
        else:
            repack(store, RepackMode.ALL if how == "all" else RepackMode.GEOMETRIC)


def check(path: Path, refs: dict[str, set[int]]) -> None:
    with open_store(path) as store:
        assert fsck(store, full=True).ok
        assert chained(store) == []
        for number in set().union(*refs.values()):
            assert store.get(hash_object(Kind.BLOB, BLOBS[number])) == BLOBS[number]
        for oid, kind in store.objects():
            assert hash_object(kind, store.get(oid)) == oid

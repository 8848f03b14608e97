"""Whom damage hurts is said for a hundred paths, at the cost of a walk or two."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from n4a_store import ObjectId, Store
from n4a_store.packs.reader import PackReader
from n4a_store.repo import hurt
from n4a_store.repo.mark import Marker
from n4a_store.repo.roots import living_roots, undo_roots

PIPELINES = 12


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A run that grew pipeline by pipeline; all artifacts share a blob, the last has its own."""
    store = Store.init(tmp_path / "store")
    pipelines: dict[str, ObjectId] = {}
    for number in range(PIPELINES):
        with store.transaction() as txn:
            shared = txn.put_blob(b"shared")
            own = {"own": txn.put_blob(b"own")} if number == PIPELINES - 1 else {}
            artifacts = {
                f"a{key}": txn.put_tree(
                    {"payload": shared, "key": txn.put_blob(b"%d" % key), **own}
                )
                for key in range(4)
            }
            links = txn.put_blob(b"p%d" % number)
            pipelines[f"p{number}"] = txn.put_tree(
                {"artifacts": txn.put_tree(artifacts), "links": links}
            )
            txn.set_ref("refs/tags/run", txn.put_tree(pipelines))
            txn.set_ref(f"refs/tags/p{number}", pipelines[f"p{number}"])
    return store


def hurt_by(
    store: Store, monkeypatch: pytest.MonkeyPatch, *names: str
) -> tuple[list[list[str]], Counter[bytes]]:
    """The paths of each damaged object, and how often each tree was read for it."""
    damaged = [store.resolve(name).raw for name in names]
    with store.catalog.read() as catalog:
        rows = catalog.packs()
        roots = [*living_roots(catalog), *undo_roots(catalog)]
    store.odb.add(rows)
    marker = Marker([(row.id, store.odb.reader(row.id)) for row in rows])
    reads: Counter[bytes] = Counter()
    real = PackReader.read_at

    def counted(reader: PackReader, position: int) -> object:
        reads[reader.index.oid_at(position)] += 1
        return real(reader, position)

    with monkeypatch.context() as patch:
        patch.setattr(PackReader, "read_at", counted)
        found = hurt.find_hurt(marker, roots, damaged)
    return [found[oid] for oid in damaged], reads


def test_every_path_is_named_while_there_are_few(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hurt, "_MOST_PATHS", 10**6)
    (shared, own), _ = hurt_by(
        store, monkeypatch, "p0:artifacts/a0/payload", "run:p11/artifacts/a1/own"
    )
    grown = PIPELINES * (PIPELINES + 1) // 2
    # By both refs, by each value of the run's and by the only one of each pipeline's.
    assert len(shared) == 4 * (PIPELINES + PIPELINES + grown + PIPELINES)
    assert len(own) == 4 * 4
    assert "refs/tags/run:p3/artifacts/a2/payload" in shared
    assert f"refs/tags/run@{{{PIPELINES - 1}}}:p0/artifacts/a0/payload" in shared


def test_what_has_its_paths_costs_no_further_walk(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each path was spelt, however many there were: hours where a run grew."""
    monkeypatch.setattr(hurt, "_MOST_PATHS", 20)
    (shared, own), reads = hurt_by(
        store, monkeypatch, "p0:artifacts/a0/payload", "p11:artifacts/a3/own"
    )
    assert len(shared) == 20
    assert len(own) == 4 * 4
    # Once to find the way and once to see that nothing new is left, beside the paths themselves.
    trees = 6 * PIPELINES + PIPELINES
    assert reads.total() <= 2 * trees + 5 * (20 + 16)


def test_it_stops_when_nothing_may_have_more_paths(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hurt, "_MOST_PATHS", 3)
    (shared,), reads = hurt_by(store, monkeypatch, "p0:artifacts/a0/payload")
    assert len(shared) == 3
    assert reads.total() < 3 * 6

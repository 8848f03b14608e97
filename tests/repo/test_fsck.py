"""fsck reports whatever it finds, and never stops at the first finding or raises for one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgpack
import pytest

from n4a_store import ObjectId, Store
from n4a_store.objects import trees
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import Kind
from n4a_store.repo import way_on
from n4a_store.repo.fsck import Severity, fsck
from n4a_store.storage.layout import PACK_SUFFIX
from tests.repo.objects import tag


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.init(tmp_path / "store")
    for name in ("a", "b", "c"):
        tag(store, name)
    return store


@contextmanager
def tampering(store: Store) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(store.layout.catalog)
    yield connection
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE packs SET bytes = bytes + 1",
        "UPDATE packs SET objects = 99",
        "UPDATE packs SET state = 7",
        "UPDATE meta SET value = 12345 WHERE key = 'sequence'",
        "UPDATE meta SET value = x'00' WHERE key = 'epoch'",
        "DELETE FROM meta WHERE key = 'generation'",
        "UPDATE refs SET name = 'refs/tags/z' WHERE name = 'refs/tags/a'",
        "DELETE FROM reflog WHERE id = 2",
        "UPDATE summaries SET rows = 0 WHERE name = 'packs'",
    ],
)
def test_a_tampered_catalog_is_a_finding(store: Store, statement: str) -> None:
    store.close()
    with tampering(store) as connection:
        assert connection.execute(statement).rowcount > 0
    report = fsck(Store.open(store.path), full=True)
    assert not report.ok
    assert "catalog-damaged" in {problem.code for problem in report.problems}
    assert all(problem.severity is Severity.ERROR for problem in report.problems[:1])


def test_every_damage_is_listed_at_once(store: Store) -> None:
    """A missing pack, a damaged object and a stray file: three findings, one report."""
    packs = {name: store.info(store.resolve(f"{name}:data")).pack for name in ("a", "b")}
    hurt = store.resolve("b:data")
    path = store.layout.pack(packs["b"])
    data = bytearray(path.read_bytes())
    data[data.index(store.get(hurt))] ^= 1
    store.layout.pack(packs["a"]).unlink()
    path.write_bytes(data)
    stray = store.layout.packs / f"stray{PACK_SUFFIX}"
    stray.write_bytes(b"")
    report = fsck(Store.open(store.path), full=True)
    found = {(problem.code, problem.subject) for problem in report.problems}
    assert ("pack-missing", packs["a"]) in found
    assert ("object-damaged", hurt.hex) in found
    assert ("unlisted-pack", stray.name) in found
    assert all(problem.hint and "fsck" not in problem.hint for problem in report.problems)
    missing = [problem for problem in report.problems if problem.code == "object-missing"]
    assert missing[0].hint == way_on.AFTER_THE_PACKS
    codes = [problem.code for problem in report.problems]
    assert codes.index("pack-missing") < codes.index("object-damaged"), "the cause comes first"
    assert any("refs/tags/a" in problem.hurts for problem in missing)
    damaged = next(p for p in report.problems if p.code == "object-damaged")
    assert set(damaged.hurts) == {"refs/tags/b:data", "refs/tags/b@{0}:data"}


def _written_otherwise(store: Store, oid: ObjectId) -> bytes:
    """A tree's bytes with its fields in another order: the same value in another encoding."""
    value = msgpack.unpackb(store.get(oid))
    value["attrs"] = {"z": 1, "a": 2}
    return msgpack.packb(value)


@pytest.mark.parametrize("is_reachable", [True, False])
def test_another_encoding_of_the_same_value_is_a_finding(store: Store, is_reachable: bool) -> None:
    """Its id is the hash of its bytes: only that there is one encoding of a value is broken."""
    data = _written_otherwise(store, store.resolve("a"))
    with store.transaction("by another program") as txn:
        odd = txn._put(Kind.TREE, data)
        top = txn.put_tree({"odd": TreeEntry(Kind.TREE, odd)})
        txn.set_ref("refs/tags/odd", top if is_reachable else txn.put_tree({}))
    assert fsck(Store.open(store.path)).ok  # the quick one reads what trees name
    report = fsck(Store.open(store.path), full=True)
    assert [(p.code, p.subject) for p in report.problems] == [("object-not-canonical", odd.hex)]
    assert any("refs/tags/odd:odd" in p.hurts for p in report.problems) is is_reachable
    assert report.reachable == (8 if is_reachable else 7)


def test_a_full_check_reads_each_tree_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk has read what is reachable, and says what it found sound."""
    checked: list[bytes] = []
    node = trees._checked_node
    monkeypatch.setattr(trees, "_checked_node", lambda raw: checked.append(bytes(raw)) or node(raw))
    assert fsck(store, full=True).ok
    assert len(checked) == len(set(checked)) == 3


def test_a_sound_store_has_no_finding_and_says_what_was_checked(store: Store) -> None:
    seen: list[tuple[int, int]] = []
    report = fsck(store, full=True, progress=lambda done, total: seen.append((done, total)))
    assert report.ok
    assert (report.packs, report.objects, report.reachable, report.roots) == (3, 6, 6, 6)
    assert seen[-1] == (report.stored_bytes, report.stored_bytes)


def test_the_way_on_names_the_fewest_refs_and_only_living_ones() -> None:
    hurts = [
        "refs/pipelines/p:artifacts/0:all",
        "refs/pipelines/p@{3}:artifacts/0:all",
        "refs/runs/1:p/artifacts/0:all",  # goes with the pipeline
        "refs/runs/2:q/artifacts/0:all",  # of q this run holds another version than its ref
        "refs/runs/3",
        "refs/tags/t",
    ]
    assert way_on.to_remove(hurts) == [
        "refs/pipelines/p",
        "refs/runs/2",
        "refs/runs/3",
        "refs/tags/t",
    ]
    assert "artifacts rm" not in way_on.for_lost_objects(["refs/tags/t@{1}"])
    assert "gc --now" in way_on.for_lost_objects(["refs/tags/t@{1}"])
    assert "rm NAME... --force" in way_on.for_lost_objects([f"refs/tags/{n}" for n in range(50)])

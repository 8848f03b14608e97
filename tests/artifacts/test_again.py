"""The same training again in one process: what it remembers never stands for what is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from n4a_store import ArtifactLoader, ArtifactRegistry, ArtifactType, Workspace
from n4a_store.artifacts import repeated_trees
from n4a_store.artifacts.payload import payload_parts, put_payload
from n4a_store.artifacts.serializers.base import BufferView, Payload
from n4a_store.errors import CorruptionError
from n4a_store.objects.codec import pack_child, pack_entry
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import Kind
from n4a_store.objects.trees import FANOUT_LIMIT
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.store import Store

MODEL = ArtifactType.MODEL


def scaler() -> StandardScaler:
    return StandardScaler().fit(np.random.default_rng(0).random((20, 1000)))


def same(one: StandardScaler, other: StandardScaler) -> bool:
    return bool((one.mean_ == other.mean_).all() and (one.scale_ == other.scale_).all())


def test_what_was_collected_meanwhile_is_stored_again(
    registry: ArtifactRegistry, loader: ArtifactLoader
) -> None:
    with registry.run():
        first = registry.register(scaler(), "p:0:all", MODEL)
    content = registry.store.resolve(first.content_hash)
    registry.delete_pipeline_artifacts("p", expire="now")
    assert not registry.store.has(content)
    with registry.run():
        again = registry.register(scaler(), "p:0:all", MODEL)
        registry.register(scaler(), "q:0:all", MODEL, depends_on=["p:0:all"])
    assert again.content_hash == first.content_hash
    assert fsck(registry.store, full=True).ok
    assert same(loader.load_by_id("p:0:all"), scaler())
    assert same(loader.load_by_id("q:0:all"), scaler())


def test_another_store_has_nothing_of_the_first(
    registry: ArtifactRegistry, workspace: Workspace
) -> None:
    first = registry.register(scaler(), "p:0:all", MODEL)
    with ArtifactRegistry(workspace, "wheat") as other:
        assert other.register(scaler(), "p:0:all", MODEL).content_hash == first.content_hash
        assert fsck(other.store, full=True).ok
    with ArtifactLoader(workspace, "wheat") as loader:
        assert same(loader.load_by_id("p:0:all"), scaler())


def test_a_run_that_failed_leaves_nothing_to_rely_on(
    registry: ArtifactRegistry, loader: ArtifactLoader
) -> None:
    registry.start_run()
    registry.register(scaler(), "p:0:all", MODEL)
    assert registry.cleanup_failed_run() == 1
    registry.register(scaler(), "p:0:all", MODEL)
    assert fsck(registry.store, full=True).ok
    assert same(loader.load_by_id("p:0:all"), scaler())


def test_the_same_again_encodes_no_tree(
    registry: ArtifactRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.register(scaler(), "p:0:all", MODEL)
    with registry.run():
        registry.register(scaler(), "q:0:all", MODEL)
        monkeypatch.setattr("n4a_store.repo.putting.encode_tree", None)
        monkeypatch.setattr("n4a_store.repo.putting.encode_packed", None)
        registry.register(scaler(), "q:1:all", MODEL)
        monkeypatch.undo()
    assert fsck(registry.store, full=True).ok


def test_what_is_remembered_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeated_trees, "_MOST", 3)
    monkeypatch.setattr(repeated_trees, "_known", {})

    class Puts:
        made = 0

        def reuse_tree(self, _: object) -> bool:
            return True

        def put_packed(self, _: object) -> int:
            self.made += 1
            return self.made

    puts: Any = Puts()
    blob = pack_child(Kind.BLOB, bytes(32))
    for place in range(10):
        entries = {f"{place}" * 600: blob}  # too long to be kept as it is
        made = repeated_trees.put_again(puts, entries)
        assert repeated_trees.put_again(puts, entries) == made
        assert puts.made == place + 1
        assert len(repeated_trees._known) <= 3
        assert all(len(key) < 600 for key in repeated_trees._known)


def test_trees_are_told_apart_by_names_kinds_and_ids(tmp_path: Path) -> None:
    with Store.init(tmp_path / "store") as store, store.transaction() as txn:
        one, two = (TreeEntry(Kind.BLOB, txn.put_blob(data)) for data in (b"1", b"2"))
        tree = TreeEntry(Kind.TREE, txn.put_tree({"x": one}))
        shapes = [
            {},
            {"a": one},
            {"b": one},
            {"a": two},
            {"a": tree},
            {"a": one, "b": one},
            {"ab": one},
            {"a": one, "b": two},
            {"a": two, "b": one},
        ]
        packed = [{name: pack_entry(one) for name, one in shape.items()} for shape in shapes]
        put = [repeated_trees.put_again(txn, shape) for shape in packed]
        assert len(set(put)) == len(shapes)
        assert [repeated_trees.put_again(txn, shape) for shape in packed] == put
        assert [txn.put_tree(shape) for shape in shapes] == put
        assert [dict(txn.get_tree(oid).entries) for oid in put] == shapes


def test_the_root_of_a_large_payload_is_never_taken_for_all_of_it(tmp_path: Path) -> None:
    """A dead root may outlive its shards, in a pack that something else keeps."""
    buffers = tuple(BufferView(memoryview(f"{place}".encode())) for place in range(1100))
    kept = np.random.default_rng(0).bytes(40_000_000)  # a pack too large to be rewritten for little
    with Store.init(tmp_path / "store") as store:
        with store.transaction() as txn:
            txn.set_ref("refs/tags/a", put_payload(txn, Payload(b"A", buffers)))
        with store.transaction() as txn:
            entry = put_payload(txn, Payload(b"B", buffers))
            txn.set_ref("refs/tags/b", entry)
            txn.set_ref("refs/tags/kept", txn.put_blob(kept))
        with store.transaction() as txn:
            txn.delete_ref("refs/tags/a")
            txn.delete_ref("refs/tags/b")
        collect(store, expire_now=True)
        assert store.has(entry.oid), "the root is still there"
        with store.transaction() as txn:
            assert put_payload(txn, Payload(b"B", buffers)) == entry
            txn.set_ref("refs/tags/b", entry)
        assert fsck(store, full=True).ok
        assert len(payload_parts(store, entry)[1]) == len(buffers)


def test_more_buffers_than_a_tree_object_has_places_for(registry: ArtifactRegistry) -> None:
    numbers = [f"{place}".encode() for place in range(FANOUT_LIMIT + 100)]
    store = registry._created_store()
    with store.transaction() as txn:
        buffers = tuple(BufferView(memoryview(number)) for number in numbers)
        entry = put_payload(txn, Payload(b"skeleton", buffers))
        txn.set_ref("refs/tags/many", entry)
    skeleton, found = payload_parts(store, entry)
    assert (bytes(skeleton), [bytes(buffer) for buffer in found]) == (b"skeleton", numbers)


BLOB, TREE = Kind.BLOB, Kind.TREE


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"skeleton": BLOB},
        {"00000000": BLOB},
        {"00000001": BLOB, "skeleton": BLOB},
        {"0": BLOB, "skeleton": BLOB},
        {"00000000": BLOB, "00000002": BLOB, "skeleton": BLOB},
        {"00000000": BLOB, "skeleton": BLOB, "stray": BLOB},
        {"buffers": TREE, "skeleton": BLOB},
        {"00000000": TREE, "skeleton": BLOB},
        {"00000000": BLOB, "skeleton": TREE},
    ],
)
def test_a_tree_that_is_no_payload_is_damage(
    registry: ArtifactRegistry, shape: dict[str, Kind]
) -> None:
    store = registry._created_store()
    with store.transaction() as txn:
        made = {BLOB: txn.put_blob(b"x"), TREE: txn.put_tree({})}
        tree = txn.put_tree({name: TreeEntry(kind, made[kind]) for name, kind in shape.items()})
        txn.set_ref("refs/tags/odd", tree)
    with pytest.raises(CorruptionError, match="not a skeleton and its buffers"):
        payload_parts(store, TreeEntry(Kind.TREE, tree))

"""The same training again in one process: what it remembers never stands for what is not there."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from n4a_store import ArtifactLoader, ArtifactRegistry, ArtifactType, Workspace
from n4a_store.artifacts import repeated_trees
from n4a_store.artifacts.payload import payload_parts, put_payload
from n4a_store.artifacts.serializers.base import BufferView, Payload
from n4a_store.errors import CorruptionError
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import Kind
from n4a_store.objects.trees import FANOUT_LIMIT
from n4a_store.repo.fsck import fsck

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
        monkeypatch.setattr("n4a_store.repo.transaction.encode_tree", None)
        registry.register(scaler(), "q:1:all", MODEL)
        monkeypatch.undo()
    assert fsck(registry.store, full=True).ok


def test_what_is_remembered_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeated_trees, "_MOST", 3)
    monkeypatch.setattr(repeated_trees, "_known", {})

    class Puts:
        @staticmethod
        def reuse_tree(_: object) -> bool:
            return True

    for place in range(10):
        children = bytes([place]) * 600  # too long to be kept as they are
        put = repeated_trees.put_again(Puts(), children, lambda place=place: place)  # type: ignore[arg-type,misc]
        assert put == place
        assert repeated_trees.put_again(Puts(), children, lambda: None) == place  # type: ignore[arg-type,return-value]
        assert len(repeated_trees._known) <= 3
        assert all(len(key) < 600 for key in repeated_trees._known)


def test_more_buffers_than_a_tree_object_has_places_for(registry: ArtifactRegistry) -> None:
    numbers = [f"{place}".encode() for place in range(FANOUT_LIMIT + 100)]
    store = registry._created_store()
    with store.transaction() as txn:
        buffers = tuple(BufferView(memoryview(number)) for number in numbers)
        entry = put_payload(txn, Payload(b"skeleton", buffers))
        txn.set_ref("refs/tags/many", entry)
    skeleton, found = payload_parts(store, entry)
    assert (bytes(skeleton), [bytes(buffer) for buffer in found]) == (b"skeleton", numbers)


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["00000000"],
        ["00000001", "skeleton"],
        ["0", "skeleton"],
        ["00000000", "00000002", "skeleton"],
        ["00000000", "skeleton", "stray"],
        ["buffers", "skeleton"],
    ],
)
def test_a_tree_that_is_no_payload_is_damage(registry: ArtifactRegistry, names: list[str]) -> None:
    store = registry._created_store()
    with store.transaction() as txn:
        blob = TreeEntry(Kind.BLOB, txn.put_blob(b"x"))
        tree = txn.put_tree(dict.fromkeys(names, blob))
        txn.set_ref("refs/tags/odd", tree)
    with pytest.raises(CorruptionError, match="not a skeleton and its buffers"):
        payload_parts(store, TreeEntry(Kind.TREE, tree))

"""What is copied from one unfinished pipeline into another is read and put once."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from n4a_store import ArtifactRegistry, ObjectId
from n4a_store.objects.oid import Kind
from n4a_store.repo.fsck import fsck
from n4a_store.repo.transaction import Transaction

DEPTH = 40  # by 2**40 ways


def ladder(registry: ArtifactRegistry, pipeline: str) -> list[str]:
    """Pairs of artifacts, each of which depends on both of the pair before; the last pair."""
    deps: list[str] = []
    for step in range(DEPTH):
        pair = [f"{pipeline}:{branch}:{step}:all" for branch in (0, 1)]
        for branch, name in enumerate(pair):
            registry.register([step, branch], name, "transformer", depends_on=deps)
        deps = pair
    return deps


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[ObjectId]:
    """How often each object has been read from a transaction as it is."""
    counts: Counter[ObjectId] = Counter()
    real_get, real_view = Transaction.get, Transaction.view

    def get(txn: Transaction, oid: ObjectId) -> bytes:
        counts[oid] += 1
        return real_get(txn, oid)

    def view(txn: Transaction, oid: ObjectId) -> memoryview:
        counts[oid] += 1
        return real_view(txn, oid)

    monkeypatch.setattr(Transaction, "get", get)
    monkeypatch.setattr(Transaction, "view", view)
    return counts


def test_a_dependency_in_another_unfinished_pipeline(
    registry: ArtifactRegistry, read: Counter[ObjectId]
) -> None:
    with registry.run():
        last = ladder(registry, "p")
        registry.register([99], "q:0:all", "model", depends_on=last[:1])
        assert max(read.values()) == 1
        registry.discard_pipeline("p")
    assert len(registry.get_all_records()) == 1
    assert len(registry.resolve_dependencies("q:0:all")) == 2 * DEPTH - 1
    assert fsck(registry.store, full=True).ok


def test_what_is_unfinished_at_a_checkpoint(
    registry: ArtifactRegistry, read: Counter[ObjectId]
) -> None:
    with registry.run(commit_each="run") as run:
        ladder(registry, "p")
        registry.register([1], "q:0:all", "model")
        run.complete_pipeline("q")
        run.checkpoint()
        assert max(read.values()) == 1
    assert len(registry.get_all_records()) == 2 * DEPTH + 1
    assert fsck(registry.store, full=True).ok


def test_an_array_is_stored_as_well_in_the_other_pipeline(registry: ArtifactRegistry) -> None:
    """Item by item, as which doubles take least, wherever it stood until then."""
    arrays = [np.arange(4_000, dtype=np.float64) + number for number in range(3)]
    with registry.run():
        registry.register(arrays[0], "done:0:all", "transformer")
        registry.complete_pipeline("done")
        for number, array in enumerate(arrays):
            registry.register(array, f"p:{number}:all", "transformer")
        deps = [f"p:{number}:all" for number in range(3)]
        registry.register([99], "q:0:all", "model", depends_on=deps)
        registry.discard_pipeline("p")
    store = registry.store
    blobs = [oid for oid, kind in store.objects() if kind is Kind.BLOB]
    large = [info for info in map(store.info, blobs) if info.size == arrays[0].nbytes]
    assert [(info.codec, info.item_size) for info in large] == [("shuffle+zstd", 8)] * 3

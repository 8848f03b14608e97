"""The counters of a manifest are what its records add up to."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from n4a_store.artifacts.overview import artifact_stats
from n4a_store.artifacts.registry import ArtifactRegistry
from n4a_store.artifacts.runs import current_manifest
from n4a_store.artifacts.totals import changed, decode_totals, encode_totals
from n4a_store.artifacts.types import ArtifactType
from n4a_store.errors import CorruptionError


def recounted(registry: ArtifactRegistry, pipeline: str) -> dict[str, tuple[int, int]]:
    manifest = current_manifest(registry.store, pipeline)
    assert manifest is not None
    records = [manifest.record(registry.store, key) for key in manifest.artifacts]
    names = Counter(str(record.artifact_type) for record in records)
    sizes: Counter[str] = Counter()
    for record in records:
        sizes[str(record.artifact_type)] += record.size_bytes
    return {name: (count, sizes[name]) for name, count in names.items()}


def test_counters_follow_every_registration(tmp_path: Path) -> None:
    registry = ArtifactRegistry(tmp_path / "ws", "corn")
    with registry.run():
        registry.register({"a": 1}, "p:0:all", ArtifactType.ENCODER)
        registry.register([1] * 50, "p:1:all", ArtifactType.MODEL)
        registry.complete_pipeline("p")
    # Outside of a run each registration extends the manifest, or replaces what is there.
    registry.register([2] * 90, "p:2:all", ArtifactType.MODEL)
    registry.register({"b": 22}, "p:0:all", ArtifactType.SPLITTER)
    manifest = current_manifest(registry.store, "p")
    assert manifest is not None
    assert manifest.totals == recounted(registry, "p")
    assert set(manifest.totals) == {"splitter", "model"}
    stats = artifact_stats(registry.store)
    assert stats.total.references == sum(part.references for part in stats.by_type.values())
    assert stats.unique == 4
    registry.close()


def test_counters_go_away_with_the_last_name() -> None:
    totals = changed(changed({}, "model", 2, 30), "model", -2, -30)
    assert totals == {}
    assert decode_totals(encode_totals({"model": (1, 5)})) == {"model": (1, 5)}


@pytest.mark.parametrize("value", [None, [], {"model": 3}, {"model": [1]}, {"model": [1, -2]}])
def test_malformed_counters_are_corruption(value: object) -> None:
    with pytest.raises(CorruptionError):
        decode_totals(value)

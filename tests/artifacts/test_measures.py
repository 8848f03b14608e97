"""What a manifest says of its artifacts' types and sizes is what their records say."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from n4a_store.artifacts.bundle import export_bundle, import_bundle
from n4a_store.artifacts.manifest_tree import PipelineManifest, StoredArtifact
from n4a_store.artifacts.measures import Measure, decode_measures, encode_measures
from n4a_store.artifacts.overview import ArtifactStats, artifact_stats
from n4a_store.artifacts.registry import ArtifactRegistry
from n4a_store.artifacts.stored_runs import current_manifest
from n4a_store.artifacts.subject import all_manifests, identify
from n4a_store.artifacts.types import ArtifactType
from n4a_store.artifacts.workspace import Workspace
from n4a_store.errors import CorruptionError
from n4a_store.repo.store import Store


def from_records(store: Store, pipeline: str) -> dict[str, Measure]:
    manifest = current_manifest(store, pipeline)
    assert manifest is not None
    records = {key: manifest.record(store, key) for key in manifest.artifacts}
    return {key: Measure(str(r.artifact_type), r.size_bytes) for key, r in records.items()}


def counted_by_records(store: Store) -> tuple[Counter[str], Counter[str]]:
    """Different artifacts and their bytes by type, read from every record."""
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    trees = {
        entry.oid
        for pipeline, oid, _ in all_manifests(store)
        for entry in PipelineManifest.read(store, pipeline, oid).artifacts.entries.values()
    }
    for tree in trees:
        blob = StoredArtifact.read(store, tree, "any").blob
        counts[blob.type] += 1
        sizes[blob.type] += blob.size
    return counts, sizes


def check(store: Store) -> ArtifactStats:
    """Statistics agree with the records, for names and for what differs."""
    stats = artifact_stats(store)
    counts, sizes = counted_by_records(store)
    assert {name: part.unique for name, part in stats.by_type.items()} == counts
    assert {name: part.unique_bytes for name, part in stats.by_type.items()} == sizes
    assert stats.unique == stats.total.unique == counts.total()
    for pipeline, oid, _ in all_manifests(store):
        manifest = PipelineManifest.read(store, pipeline, oid)
        for key, measure in manifest.measures().items():
            record = manifest.record(store, key)
            assert measure == (str(record.artifact_type), record.size_bytes)
    return stats


def test_they_follow_every_registration(tmp_path: Path) -> None:
    registry = ArtifactRegistry(tmp_path / "ws", "corn")
    with registry.run():
        registry.register({"a": 1}, "p:0:all", ArtifactType.ENCODER)
        registry.register([1] * 50, "p:1:all", ArtifactType.MODEL)
        registry.complete_pipeline("p")
    # Outside of a run each registration extends the manifest, or replaces what is there.
    registry.register([2] * 90, "p:2:all", ArtifactType.MODEL)
    registry.register({"b": 22}, "p:0:all", ArtifactType.SPLITTER)
    registry.register([2] * 90, "q:10:all", ArtifactType.MODEL)
    registry.register([3] * 70, "q:9:all", ArtifactType.TRANSFORMER)
    manifest = current_manifest(registry.store, "p")
    assert manifest is not None
    assert manifest.measures() == from_records(registry.store, "p")
    assert {measure.type for measure in manifest.measures().values()} == {"splitter", "model"}
    stats = check(registry.store)
    # The model of 90 is in both pipelines: one artifact, two names and more for its manifests.
    assert (stats.by_type["model"].unique, stats.unique) == (2, 5)
    assert stats.by_type["model"].references > 2
    registry.close()


def test_they_travel_with_a_single_artifact(tmp_path: Path) -> None:
    registry = ArtifactRegistry(tmp_path / "ws", "corn")
    with registry.run():
        registry.register({"a": 1}, "p:0:all", ArtifactType.ENCODER)
        registry.register([1] * 50, "p:1:all", ArtifactType.MODEL)
        registry.complete_pipeline("p")
    registry.close()
    with Workspace(tmp_path / "ws").store("corn") as store:
        subject = identify(store, store.resolve_entry("p:1:all"), "p:1:all")
        export_bundle(store, [("p:1:all", subject)], "corn", tmp_path / "one.n4b")
    with Workspace(tmp_path / "theirs").create("corn") as theirs:
        import_bundle(theirs, tmp_path / "one.n4b")
        stats = check(theirs)
    assert set(stats.by_type) == {"model"}


def test_one_spelling_whatever_the_order() -> None:
    measures = {"b": Measure("model", 7), "a": Measure("encoder", 2**40), "c": Measure("model", 0)}
    encoded = encode_measures(measures)
    assert encoded == encode_measures(dict(sorted(measures.items())))
    assert encoded["types"] == ["encoder", "model"]
    assert decode_measures(encoded, measures) == measures
    assert decode_measures(encode_measures({}), ()) == {}


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"types": ["model"]},
        {"types": "model", "each": bytes(10)},
        {"types": [1], "each": bytes(10)},
        {"types": [], "each": bytes(10)},  # names a type that is not listed
        {"types": ["model"], "each": bytes(9)},
        {"types": ["model"], "each": bytes(20)},  # of two artifacts
    ],
)
def test_what_is_malformed_is_corruption(value: object) -> None:
    with pytest.raises(CorruptionError):
        decode_measures(value, ["1:all"])

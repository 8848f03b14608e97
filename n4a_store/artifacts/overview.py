"""What stands where: runs, pipelines and artifacts of a store, counted and listed.

Counting reads manifests alone, which say of what type and how large each artifact is; listing a
run's pipelines reads records, too. Payloads are never read, let alone loaded. An artifact that
several runs hold is counted once as an object and as often as it is named as a
reference.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from n4a_store.artifacts.manifest_tree import (
    ARTIFACTS,
    MEASURES,
    PIPELINES,
    StoredArtifact,
    measures_of,
)
from n4a_store.errors import CorruptionError, InvalidInputError
from n4a_store.objects.html import size_text, table_html
from n4a_store.objects.model import Tree
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.repo.history import RunEntry, list_runs
from n4a_store.repo.stats import StoreStats, store_stats
from n4a_store.repo.store import Store

__all__ = [
    "ArtifactStats",
    "PipelineSummary",
    "RunSummary",
    "TypeTotals",
    "artifact_stats",
    "pipelines_of",
    "run_manifests",
    "summarize_runs",
]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run and what it holds.

    Args:
        pipelines: How many.
        artifacts: How many names of artifacts.
        new: How many artifacts no older run of this store holds.
    """

    entry: RunEntry
    pipelines: int
    artifacts: int
    new: int


@dataclass(frozen=True, slots=True)
class PipelineSummary:
    """A pipeline as a run holds it.

    Args:
        artifacts: How many.
        logical_bytes: Their payloads added up, before compression and sharing.
        models: The classes of its models, each once.
    """

    pipeline_id: str
    manifest: ObjectId
    artifacts: int
    logical_bytes: int
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TypeTotals:
    """Artifacts of one type.

    Args:
        references: How many names there are for them.
        logical_bytes: What a file for each name would take, uncompressed.
        unique: How many different ones there are.
        unique_bytes: What a file for each of these would take.
    """

    references: int = 0
    logical_bytes: int = 0
    unique: int = 0
    unique_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ArtifactStats:
    """What a dataset's store holds.

    `logical_bytes` down to `store.live.raw_bytes` is what sharing saves; from there down to
    `store.live.stored_bytes` is what compression saves.

    Args:
        total: All artifacts together.
        unique: How many different ones there are.
        by_type: By artifact type, the largest first.
        runs: Each run, newest first.
        store: The store below.
    """

    total: TypeTotals
    unique: int
    by_type: dict[str, TypeTotals]
    runs: tuple[RunSummary, ...]
    store: StoreStats

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        live = self.store.live
        title = (
            f"{self.total.references} names for {self.unique} artifacts: "
            f"{size_text(self.total.logical_bytes)} as files, {size_text(live.raw_bytes)} as "
            f"unique objects, {size_text(live.stored_bytes)} on disk"
        )
        rows = [
            (
                name,
                part.references,
                size_text(part.logical_bytes),
                part.unique,
                size_text(part.unique_bytes),
            )
            for name, part in self.by_type.items()
        ]
        return table_html(title, ("type", "names", "as files", "unique", "unique bytes"), rows)


def run_manifests(store: Store, entry: RunEntry) -> dict[str, ObjectId]:
    """The manifests that a run holds, by pipeline id."""
    return {name: child.oid for name, child in store.get_tree(entry.run.pipelines).entries.items()}


def summarize_runs(store: Store) -> list[RunSummary]:
    """The runs that refs name, newest first.

    Raises:
        CorruptionError: A run or a manifest is damaged.
    """
    with store.session():
        entries = list_runs(store)
        known: dict[ObjectId, Tree] = {}
        seen: set[ObjectId] = set()
        summaries: list[RunSummary] = []
        for entry in reversed(entries):
            manifests = run_manifests(store, entry)
            names = new = 0
            for name, oid in manifests.items():
                if oid not in known:
                    known[oid] = _artifact_trees(store, name, oid)
                for child in known[oid].entries.values():
                    names += 1
                    new += child.oid not in seen
                    seen.add(child.oid)
            summaries.append(RunSummary(entry, len(manifests), names, new))
    return summaries[::-1]


def pipelines_of(store: Store, entry: RunEntry) -> list[PipelineSummary]:
    """The pipelines of a run, by name.

    Raises:
        CorruptionError: A manifest or a record is damaged.
    """
    summaries: list[PipelineSummary] = []
    with store.session():
        for name, oid in run_manifests(store, entry).items():
            trees = _artifact_trees(store, name, oid)
            blobs = [
                StoredArtifact.read(store, child.oid, f"{name}:{key}").blob
                for key, child in trees.entries.items()
            ]
            models = dict.fromkeys(
                blob.class_name for blob in blobs if blob.type in ("model", "meta_model")
            )
            size = sum(blob.size for blob in blobs)
            summaries.append(PipelineSummary(name, oid, len(trees), size, tuple(models)))
    return summaries


def artifact_stats(store: Store) -> ArtifactStats:
    """Count the artifacts of a store: each manifest once, in however many runs it is.

    Raises:
        CorruptionError: A manifest is damaged.
    """
    with store.session():
        runs = summarize_runs(store)
        seen: set[ObjectId] = set()
        counts: dict[str, list[int]] = {}
        for oid, name in _manifests(store, [run.entry for run in runs]).items():
            trees = _artifact_trees(store, name, oid).entries
            measured = store.node(oid).attrs.get(MEASURES)
            for key, (type_name, size) in measures_of(name, measured, trees).items():
                count = counts.setdefault(type_name, [0, 0, 0, 0])
                count[0] += 1
                count[1] += size
                if trees[key].oid not in seen:
                    seen.add(trees[key].oid)
                    count[2] += 1
                    count[3] += size
        stats = store_stats(store)
    by_type = {name: TypeTotals(*count) for name, count in counts.items()}
    ordered = sorted(by_type.items(), key=lambda item: (-item[1].logical_bytes, item[0]))
    total = TypeTotals(*map(sum, zip(*counts.values(), strict=True)))
    return ArtifactStats(total, len(seen), dict(ordered), tuple(runs), stats)


def _manifests(store: Store, runs: Iterable[RunEntry]) -> dict[ObjectId, str]:
    """Every manifest that a run or a pipeline's ref names, once, with its pipeline."""
    found = {oid: name for run in runs for name, oid in run_manifests(store, run).items()}
    for ref in store.refs(PIPELINES):
        found.setdefault(ref.oid, ref.name.removeprefix(PIPELINES))
    return found


def _artifact_trees(store: Store, pipeline: str, manifest: ObjectId) -> Tree:
    """The artifacts of a manifest by key; its links are not needed for counting."""
    try:
        entry = store.get_entry(manifest, ARTIFACTS)
    except InvalidInputError:
        entry = None  # it is not even a tree
    if entry is None or entry.kind is not Kind.TREE:
        raise CorruptionError(
            f"pipeline {pipeline}: object {manifest.short(12)} is no manifest",
            hint="run: n4a-store fsck --full",
        )
    return store.get_tree(entry.oid)

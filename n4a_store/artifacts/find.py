"""Finding artifacts by what they are: class, type, parameters, run, date, size.

Only manifests and records are read, and a record once however many runs hold the artifact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from n4a_store.artifacts.execution_path import ExecutionPath, parse_key
from n4a_store.artifacts.manifest_tree import PipelineManifest
from n4a_store.artifacts.measures import Measure, Measures
from n4a_store.artifacts.subject import all_manifests
from n4a_store.artifacts.types import ArtifactRecord
from n4a_store.objects.oid import ObjectId
from n4a_store.repo.history import RUN_REFS
from n4a_store.repo.store import Store

__all__ = ["Match", "Query", "find_artifacts"]


@dataclass(frozen=True, slots=True)
class Query:
    """What an artifact must be; None or empty asks for nothing.

    Args:
        class_name: A class without its module; `*` and `?` stand for anything.
        type: An artifact type.
        params: Parameters by name, as text: `n_components` = `3`.
        run: A run id.
        pipeline: A pipeline id; `*` and `?` stand for anything.
        since, until: ISO times between which its pipeline began.
        min_size, max_size: Bytes of the payload before compression.
    """

    class_name: str | None = None
    type: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    run: str | None = None
    pipeline: str | None = None
    since: str | None = None
    until: str | None = None
    min_size: int | None = None
    max_size: int | None = None

    def may_fit(self, created_at: str, measure: Measure) -> bool:
        """Whether an artifact is what is asked for, by what its manifest says of it."""
        if self.type is not None and measure.type != self.type:
            return False
        if self.since is not None and created_at < self.since:
            return False
        if self.until is not None and created_at > self.until:
            return False
        low = self.min_size is None or measure.size >= self.min_size
        return low and (self.max_size is None or measure.size <= self.max_size)

    def fits(self, record: ArtifactRecord) -> bool:
        """Whether a record that :meth:`may_fit` is what is asked for."""
        if self.class_name is not None and not fnmatchcase(record.class_name, self.class_name):
            return False
        return all(_text(record.params, name) == value for name, value in self.params.items())


@dataclass(frozen=True, slots=True)
class Match:
    """An artifact that fits.

    Args:
        record: As the newest manifest that holds it says.
        tree: The id of its tree.
        runs: The runs that hold exactly this artifact under this id, newest first.
    """

    record: ArtifactRecord
    tree: ObjectId
    runs: tuple[str, ...]


def find_artifacts(
    store: Store, query: Query, progress: Callable[[int, int], None] | None = None
) -> Iterator[Match]:
    """The artifacts that fit, in order of execution, each id and content once.

    A record is read when its turn comes: whoever wants the first few reads no more than those.

    Args:
        store: The store; a session of it stays open until the last match, or until it is closed.
        query: What is asked for.
        progress: Called with how many artifacts have been looked at, and how many there are to be.

    Raises:
        CorruptionError: A manifest or record is damaged.
    """
    with store.session():
        wanted = _wanted(store, query)
        for done, (path, tree, manifest, runs) in enumerate(wanted):
            if progress is not None:
                progress(done, len(wanted))
            record = manifest.record(store, path.key)
            if query.fits(record):
                yield Match(record, tree, runs)


def _wanted(
    store: Store, query: Query
) -> list[tuple[ExecutionPath, ObjectId, PipelineManifest, tuple[str, ...]]]:
    """The artifacts that fit by what manifests say of them, with the newest one, and the runs."""
    runs: dict[tuple[str, str, ObjectId], list[str]] = {}
    newest: dict[tuple[str, str, ObjectId], PipelineManifest] = {}
    read: dict[ObjectId, PipelineManifest] = {}
    for pipeline, oid, ref in all_manifests(store):
        if query.pipeline is not None and not fnmatchcase(pipeline, query.pipeline):
            continue
        if oid not in read:
            read[oid] = PipelineManifest.read(store, pipeline, oid)
        run = ref.removeprefix(RUN_REFS) if ref.startswith(RUN_REFS) else None
        for key, child in read[oid].artifacts.entries.items():
            at = (pipeline, key, child.oid)
            if run is not None:
                runs.setdefault(at, []).append(run)
            newest.setdefault(at, read[oid])
    # A record takes longer to read than all that a manifest says of it.
    measured: dict[ObjectId, Measures] = {}
    wanted = []
    for (pipeline, key, tree), manifest in newest.items():
        held = runs.get((pipeline, key, tree), ())
        if query.run is not None and query.run not in held:
            continue
        if manifest.oid not in measured:
            measured[manifest.oid] = manifest.measures()
        if query.may_fit(manifest.created_at, measured[manifest.oid][key]):
            wanted.append((parse_key(pipeline, key), tree, manifest, tuple(held)))
    return sorted(wanted, key=lambda at: (at[0].order, at[1]))


def _text(params: Mapping[str, Any], name: str) -> str | None:
    """A parameter as text; `a.b` looks inside of maps."""
    value: Any = params
    for part in _parts(params, name):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value if isinstance(value, str) else repr(value)


def _parts(params: Mapping[str, Any], name: str) -> Iterator[str]:
    return iter([name] if name in params else name.split("."))

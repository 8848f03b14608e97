"""What changed between two runs, pipelines or models.

Artifacts are compared by content first: equal trees need no reading. Only what differs is looked
into, and then without running any code of it: facts and parameters from the records, arrays and
plain values from the payloads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from n4a_store.artifacts.contents import contents_of
from n4a_store.artifacts.manifest_tree import ARTIFACTS, StoredArtifact
from n4a_store.artifacts.subject import (
    ArtifactSubject,
    ObjectSubject,
    PipelineSubject,
    RunSubject,
    Subject,
)
from n4a_store.errors import InvalidInputError
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.packs.id_table import IdTable
from n4a_store.repo.history import reach
from n4a_store.repo.store import Store

__all__ = ["ArrayChange", "ArtifactDiff", "Change", "Diff", "diff"]

_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Change:
    """A fact, parameter or value that differs; None: it is not there."""

    name: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class ArrayChange:
    """An array that differs.

    Args:
        max_abs: The largest absolute difference; None when shapes or kinds differ, or one is
            missing.
    """

    name: str
    old: str | None
    new: str | None
    max_abs: float | None


@dataclass(frozen=True, slots=True)
class ArtifactDiff:
    """Two artifacts that differ."""

    old_name: str
    new_name: str
    facts: tuple[Change, ...]
    params: tuple[Change, ...]
    arrays: tuple[ArrayChange, ...]
    values: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Diff:
    """What changed from an old result to a new one.

    Args:
        added, removed: Names of artifacts that only one side has.
        changed: Artifacts under the same name that differ.
        same: How many are the same on both sides.
        shared_bytes: Stored bytes of objects that both sides reach.
        old_bytes, new_bytes: Stored bytes of those that only one side reaches.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[ArtifactDiff, ...]
    same: int
    shared_bytes: int
    old_bytes: int
    new_bytes: int

    @property
    def is_empty(self) -> bool:
        """Whether both sides hold the same artifacts under the same names."""
        return not (self.added or self.removed or self.changed)


def diff(old_store: Store, old: Subject, new_store: Store, new: Subject) -> Diff:
    """Compare two runs, two pipelines or two artifacts; the stores may be the same.

    Raises:
        InvalidInputError: They are not of the same sort, or of none that can be compared.
        CorruptionError: Something that has to be read is damaged.
    """
    if type(old) is not type(new) or isinstance(old, ObjectSubject):
        raise InvalidInputError(
            f"a {_sort(old)} and a {_sort(new)} cannot be compared",
            hint="compare two runs, two pipelines or two artifacts",
        )
    with old_store.session(), new_store.session():
        if isinstance(old, ArtifactSubject) and isinstance(new, ArtifactSubject):
            before, after = {"": old.tree}, {"": new.tree}
            names = {"": (old.name, new.name)}
        else:
            before, after = _artifacts(old_store, old), _artifacts(new_store, new)
            names = {name: (name, name) for name in before}
        both = [name for name in before if name in after]
        changed = [
            _artifact_diff(old_store, before[name], new_store, after[name], names[name])
            for name in both
            if before[name] != after[name]
        ]
        sizes = _sizes(old_store, before.values(), new_store, after.values())
    return Diff(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        changed=tuple(changed),
        same=len(both) - len(changed),
        shared_bytes=sizes[0],
        old_bytes=sizes[1],
        new_bytes=sizes[2],
    )


def _sort(subject: Subject) -> str:
    return {
        RunSubject: "run",
        PipelineSubject: "pipeline",
        ArtifactSubject: "single artifact",
        ObjectSubject: "plain object",
    }[type(subject)]


def _artifacts(store: Store, subject: Subject) -> dict[str, ObjectId]:
    """Artifact trees by name: keys of a pipeline, ids of a run."""
    if isinstance(subject, PipelineSubject):
        return {key: child.oid for key, child in subject.manifest.artifacts.entries.items()}
    assert isinstance(subject, RunSubject)
    found: dict[str, ObjectId] = {}
    for pipeline, manifest in store.get_tree(subject.entry.run.pipelines).entries.items():
        artifacts = store.get_entry(manifest.oid, ARTIFACTS)
        if artifacts is not None:
            for key, child in store.get_tree(artifacts.oid).entries.items():
                found[f"{pipeline}:{key}"] = child.oid
    return found


def _artifact_diff(
    old_store: Store, old: ObjectId, new_store: Store, new: ObjectId, names: tuple[str, str]
) -> ArtifactDiff:
    before = StoredArtifact.read(old_store, old, names[0])
    after = StoredArtifact.read(new_store, new, names[1])
    facts = _changes(_facts(before), _facts(after))
    if before.deps != after.deps:
        facts.append(
            Change(
                "needs", *(", ".join(d.short() for d in s.deps) or None for s in (before, after))
            )
        )
    arrays: list[ArrayChange] = []
    values: list[Change] = []
    if before.payload != after.payload:
        inside, outside = contents_of(old_store, before), contents_of(new_store, after)
        arrays, values = _compare(inside, outside)
    params = _changes(before.blob.params, after.blob.params)
    return ArtifactDiff(*names, tuple(facts), tuple(params), tuple(arrays), tuple(values))


def _facts(stored: StoredArtifact) -> dict[str, object]:
    blob = stored.blob
    return {
        "class": blob.class_path,
        "type": blob.type,
        "library": blob.library,
        "format": blob.format,
        "size": blob.size,
    }


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    names = dict.fromkeys([*old, *new])
    pairs = ((name, _text(old, name), _text(new, name)) for name in names)
    return [Change(name, before, after) for name, before, after in pairs if before != after]


def _text(values: Mapping[str, Any], name: str) -> str | None:
    if name not in values:
        return None
    value = values[name]
    if isinstance(value, np.generic):
        value = value.item()  # a number is a number, whoever holds it
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _compare(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> tuple[list[ArrayChange], list[Change]]:
    arrays: list[ArrayChange] = []
    values: list[Change] = []
    for name in dict.fromkeys([*old, *new]):
        before, after = old.get(name), new.get(name)
        if isinstance(before, np.ndarray) or isinstance(after, np.ndarray):
            if not _same_array(before, after):
                shapes = (_shape(before, name in old), _shape(after, name in new))
                arrays.append(ArrayChange(name, *shapes, _max_abs(before, after)))
            continue
        texts = (_text(old, name), _text(new, name))
        if texts[0] != texts[1]:
            values.append(Change(name, *texts))
    return arrays, values


def _same_array(old: Any, new: Any) -> bool:
    return (
        isinstance(old, np.ndarray)
        and isinstance(new, np.ndarray)
        and old.dtype == new.dtype
        and old.shape == new.shape
        and old.tobytes() == new.tobytes()
    )


def _shape(value: Any, present: bool) -> str | None:
    if isinstance(value, np.ndarray):
        return f"{'×'.join(map(str, value.shape)) or 'scalar'} {value.dtype}"
    return repr(value) if present else None


def _max_abs(old: Any, new: Any) -> float | None:
    numeric = "biufc"
    if not (isinstance(old, np.ndarray) and isinstance(new, np.ndarray)):
        return None
    if old.shape != new.shape or old.dtype.kind not in numeric or new.dtype.kind not in numeric:
        return None
    if not old.size:
        return 0.0
    wide = np.complex128 if "c" in (old.dtype.kind, new.dtype.kind) else np.float64
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.nanmax(np.abs(new.astype(wide) - old.astype(wide)), initial=0.0))


def _sizes(
    old_store: Store, old: Iterable[ObjectId], new_store: Store, new: Iterable[ObjectId]
) -> tuple[int, int, int]:
    """Stored bytes of what both sides reach, of what only the old and only the new one does."""
    before = IdTable()
    shared = only_old = only_new = 0
    for oid, size in _closure(old_store, old):
        before[oid] = size
        only_old += size
    for oid, size in _closure(new_store, new):
        held = before.get(oid)
        if held is None:
            only_new += size
        else:
            shared += size
            only_old -= held
    return shared, only_old, only_new


def _closure(store: Store, trees: Iterable[ObjectId]) -> Iterator[tuple[bytes, int]]:
    """All that the trees reach, each once, with its stored bytes."""
    for found in reach(store, [TreeEntry(Kind.TREE, tree) for tree in trees]):
        yield found.oid.raw, store.info(found.oid).stored_size

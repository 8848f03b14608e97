"""Naming content again: a manifest's items, found among what runs and pipelines still hold.

Content is found by hash and by what its record says, never by a path. Where it came from goes
with it: what was imported stays untrusted under its new name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from n4a_store.artifacts.execution_path import parse_artifact_id
from n4a_store.artifacts.manifest import check_against, check_manifest, read_manifest_file
from n4a_store.artifacts.manifest_tree import ARTIFACTS, PIPELINES, RUNS, PipelineManifest
from n4a_store.artifacts.runs import OpenRun
from n4a_store.artifacts.types import ArtifactRecord
from n4a_store.errors import ArtifactNotFoundError, InvalidInputError
from n4a_store.objects.model import RunStatus
from n4a_store.objects.oid import Kind
from n4a_store.repo.store import Store

__all__ = ["name_again"]


@dataclass(frozen=True, slots=True)
class _Held:
    """An artifact that a ref reaches, and the way to it."""

    ref: str
    names: tuple[str, ...]
    manifest: PipelineManifest
    key: str
    record: ArtifactRecord


def name_again(
    store: Store, dataset: str, manifest: Mapping[str, Any] | str | os.PathLike[str]
) -> list[str]:
    """Give content the names that a manifest states; these names, in the order of its items.

    Raises:
        InvalidInputError: The manifest is malformed or of another dataset.
        UnsupportedFormatError: It is of another schema.
        ArtifactNotFoundError: Nothing here has the content of an item; nothing was changed.
    """
    if isinstance(manifest, str | os.PathLike):
        checked = read_manifest_file(Path(manifest), dataset)
    else:
        checked = check_manifest(manifest, dataset=dataset)
    if checked.dataset != dataset:
        raise InvalidInputError(
            f"the manifest is of dataset {checked.dataset!r}, this is {dataset!r}"
        )
    check_against(store, checked)
    with store.session():
        held = _index(store, {record.content_hash for record in checked.records})
        found = [(record, _match(record, held)) for record in checked.records]
        run = OpenRun(lambda: store, dataset, message="names from a manifest", implicit=True)
        names = sorted({record.pipeline_id for record in checked.records})
        for name in names:
            _commit(run, name, [pair for pair in found if pair[0].pipeline_id == name])
    return [record.artifact_id for record in checked.records]


def _commit(run: OpenRun, name: str, found: list[tuple[ArtifactRecord, _Held]]) -> None:
    draft = run.begin(name)
    try:
        for record, held in found:
            draft.txn.adopt_path(held.ref, *held.names, ARTIFACTS, held.key)
            draft.name_existing(
                parse_artifact_id(record.artifact_id),
                held.record,
                held.manifest.node(draft.txn, held.key),
                held.manifest.links.keys[held.key],
            )
        run.commit([draft], RunStatus.COMPLETE)
    finally:
        draft.txn.abort()


def _index(store: Store, wanted: set[str]) -> dict[str, list[_Held]]:
    held: dict[str, list[_Held]] = {}
    for ref, names, manifest in _manifests(store):
        for key in manifest.artifacts:
            record = manifest.record(store, key)
            if record.content_hash in wanted:
                one = _Held(ref, names, manifest, key, record)
                held.setdefault(record.content_hash, []).append(one)
    return held


def _manifests(store: Store) -> Iterator[tuple[str, tuple[str, ...], PipelineManifest]]:
    seen = set()
    for ref in store.refs(PIPELINES):
        seen.add(ref.oid)
        yield ref.name, (), PipelineManifest.read(store, ref.name.removeprefix(PIPELINES), ref.oid)
    for ref in reversed(store.refs(RUNS)):
        if ref.kind is not Kind.RUN:
            continue
        for name, entry in store.get_tree(store.get_run(ref.oid).pipelines).entries.items():
            if entry.oid not in seen:
                seen.add(entry.oid)
                yield ref.name, (name,), PipelineManifest.read(store, name, entry.oid)


def _match(record: ArtifactRecord, held: dict[str, list[_Held]]) -> _Held:
    same = held.get(record.content_hash, [])
    stated = (record.artifact_type, record.class_name, record.format)
    fitting = [
        one
        for one in same
        if (one.record.artifact_type, one.record.class_name, one.record.format) == stated
    ]
    if not fitting:
        reason = "with another type, class or format" if same else "in no run of this dataset"
        raise ArtifactNotFoundError(
            f"{record.artifact_id}: content {record.content_hash[:19]}… is here {reason}"
            if same
            else f"{record.artifact_id}: content {record.content_hash[:19]}… is {reason}",
            hint="undo may bring back what was deleted: n4a-store artifacts undo",
        )
    exact = [
        one
        for one in fitting
        if one.record.artifact_id == record.artifact_id
        or (one.record.params == record.params and one.record.depends_on == record.depends_on)
    ]
    return (exact or fitting)[0]

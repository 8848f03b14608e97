"""One flipped byte in a copy of a store, and what the store says about it."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from n4a_store.artifacts.loader import ArtifactLoader
from n4a_store.artifacts.workspace import Workspace
from n4a_store.errors import CorruptionError, NotFoundError
from n4a_store.objects.oid import Kind
from n4a_store.repo.fsck import Problem, fsck
from n4a_store.repo.inspect import inspect_pack

__all__ = ["Damage", "damage_a_copy"]

_PIPELINES = "refs/pipelines/"
_HEADER = 128


@dataclass(frozen=True, slots=True)
class Damage:
    """What one flipped byte did.

    Args:
        offset: Where it was flipped.
        size: The size of the pack.
        object_id: The object that fsck named; empty if it found nothing.
        runs: The runs that it named.
        artifact_id: An artifact that is hurt.
        refusal: What the loader said when asked for that artifact; empty if it loaded.
    """

    offset: int
    size: int
    object_id: str
    runs: tuple[str, ...]
    artifact_id: str
    refusal: str


def damage_a_copy(workspace: Workspace, dataset: str) -> Damage:
    """Copy the dataset's store, flip a byte of its largest object, check it, load from it."""
    with tempfile.TemporaryDirectory(prefix="n4a-store-demo-") as folder:
        copy = Workspace(folder)
        shutil.copytree(workspace.layout.store(dataset), copy.layout.store(dataset))
        packs = [inspect_pack(path) for path in sorted(copy.layout.store(dataset).glob("packs/*"))]
        pack, largest = max(
            ((pack, one) for pack in packs for one in pack.objects if one.kind is Kind.BLOB),
            key=lambda found: found[1].stored_size,
        )
        # Behind the entry's header, well inside the stored bytes.
        offset = largest.offset + _HEADER + (largest.stored_size - _HEADER) // 2
        _flip(pack.path, offset)
        with copy.store(dataset) as store:
            report = fsck(store, full=True)
        problem = next((p for p in report.problems if p.code.startswith("object-")), None)
        hurts = problem.hurts if problem is not None else ()
        artifact_id = _hurt_artifact(hurts)
        return Damage(
            offset,
            pack.size,
            problem.subject if problem is not None else "",
            _hurt_runs(problem),
            artifact_id,
            _refusal(copy, dataset, artifact_id),
        )


def _flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def _hurt_runs(problem: Problem | None) -> tuple[str, ...]:
    hurts = problem.hurts if problem is not None else ()
    refs = {path.partition(":")[0] for path in hurts}
    prefix = "refs/runs/"
    named = (ref.removeprefix(prefix) for ref in refs if ref.startswith(prefix))
    # run@{n} is a former state of the same run.
    return tuple(sorted({name.partition("@")[0] for name in named}))


def _hurt_artifact(hurts: tuple[str, ...]) -> str:
    """The artifact id in a path such as ``refs/pipelines/<id>:artifacts/<key>/payload/...``."""
    for path in hurts:
        ref, _, inside = path.partition(":")
        parts = inside.split("/")
        if ref.startswith(_PIPELINES) and parts[0] == "artifacts" and "payload" in parts[2:3]:
            return f"{ref.removeprefix(_PIPELINES)}:{parts[1]}"
    return ""


def _refusal(copy: Workspace, dataset: str, artifact_id: str) -> str:
    if not artifact_id:
        return ""
    try:
        with ArtifactLoader(copy, dataset) as loader:
            loader.load_by_id(artifact_id)
    except (CorruptionError, NotFoundError) as error:
        return str(error)
    return ""

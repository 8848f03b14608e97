"""Which artifacts a place in a pipeline sees.

A branch sees its own artifacts and those of every branch it lies in, the trunk included; never
a sibling's. A fold sees its own and those that were fitted on all of them. A step number alone
selects nothing: it is always a pipeline's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import SupportsIndex

from n4a_store.artifacts.draft import PipelineDraft
from n4a_store.artifacts.execution_path import (
    BranchPath,
    ExecutionPath,
    check_index,
    make_branch_path,
)
from n4a_store.artifacts.queries import StoredPipeline
from n4a_store.artifacts.types import ArtifactRecord, ArtifactType
from n4a_store.errors import AmbiguousNameError

__all__ = ["fold_models", "for_step"]

_MODELS = (ArtifactType.MODEL, ArtifactType.META_MODEL)
_Place = tuple[str, BranchPath, int | None]
"""Pipeline, branch and sub-step."""


def for_step(
    paths: Iterable[ExecutionPath],
    step_index: int,
    branch_path: Iterable[SupportsIndex] | None = None,
    fold_id: int | None = None,
) -> list[ExecutionPath]:
    """The paths of one step that a branch and a fold see, in order.

    Args:
        paths: Of one pipeline, in order.
        step_index: The step.
        branch_path: The branch that looks; ``[]`` is the trunk, None sees every branch.
        fold_id: The fold that looks; None sees every fold.

    Raises:
        InvalidInputError: The step, the branch path or the fold is malformed.
    """
    step = check_index(step_index, "step")
    fold = None if fold_id is None else check_index(fold_id, "fold")
    branch = None if branch_path is None else make_branch_path(branch_path)
    return [
        path
        for path in paths
        if path.step_index == step
        and (branch is None or branch.starts_with(path.branch_path))
        and (fold is None or path.fold_id in (None, fold))
    ]


def fold_models(
    pipelines: Sequence[PipelineDraft | StoredPipeline],
    step_index: int,
    branch_path: Iterable[SupportsIndex] | None = None,
    sub_index: int | None = None,
) -> list[ArtifactRecord]:
    """The records of a step's fold models, sorted by fold: of one pipeline, branch and sub-step.

    Where a branch and one that it lies in both have some, the branch's own count.

    Args:
        sub_index: The sub-step; None where the step has models at one place only.

    Raises:
        AmbiguousNameError: Models of several pipelines, branches or sub-steps fit; they are
            listed, and never mixed.
        InvalidInputError: The step, the sub-step or the branch path is malformed.
    """
    check_index(step_index, "step")
    wanted = None if sub_index is None else check_index(sub_index, "sub-step")
    branch = None if branch_path is None else make_branch_path(branch_path)
    found: dict[_Place, list[ArtifactRecord]] = {}
    for pipeline in pipelines:
        for path in for_step(pipeline.paths(), step_index, branch):
            if path.fold_id is None or wanted not in (None, path.sub_index):
                continue
            record = pipeline.record(path.key)
            if record.artifact_type in _MODELS:
                place = (path.pipeline_id, path.branch_path, path.sub_index)
                found.setdefault(place, []).append(record)
    if branch is not None:
        found = _nearest(found)
    if len(found) > 1:
        places = [_spelled(place, step_index) for place in found]
        raise AmbiguousNameError(
            f"step {step_index} has fold models in several places: {', '.join(places)}",
            candidates=places,
            hint="say which with pipeline_id=, branch_path= and sub_index=",
        )
    records = next(iter(found.values()), [])
    return sorted(records, key=_by_fold)


def _spelled(place: _Place, step_index: int) -> str:
    name, branch, sub_index = place
    parts = [name, *map(str, branch)]
    if sub_index is not None:
        parts.append(f"{step_index}.{sub_index}")
    return ":".join(parts)


def _nearest(found: dict[_Place, list[ArtifactRecord]]) -> dict[_Place, list[ArtifactRecord]]:
    depth: dict[str, int] = {}
    for name, path, _ in found:
        depth[name] = max(depth.get(name, 0), len(path))
    return {place: records for place, records in found.items() if len(place[1]) == depth[place[0]]}


def _by_fold(record: ArtifactRecord) -> int:
    return record.fold_id or 0

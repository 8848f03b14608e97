"""What an earlier run of the same sweep has completed, on the same data.

A pipeline counts as done when its id is complete in the store and the facts beside it name the
same definition, library versions included, and the same data. Whatever cannot say so is trained
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from n4a_store.artifacts.manifest_tree import PIPELINES, PipelineManifest
from n4a_store.artifacts.registry import ArtifactRegistry
from n4a_store.errors import StoreNotFoundError
from n4a_store.pipeline.plan import PipelinePlan
from n4a_store.pipeline.results import ResultRow
from n4a_store.pipeline.selection import find_facts

__all__ = ["completed_rows"]


def completed_rows(
    registry: ArtifactRegistry, plans: Sequence[PipelinePlan], data_id: str, run_id: str
) -> dict[str, list[ResultRow]]:
    """The scores of each plan that is complete already, as rows of run ``run_id``."""
    done: dict[str, list[ResultRow]] = {}
    try:
        store = registry.store
    except StoreNotFoundError:
        return done
    with store.session():
        for plan in plans:
            ref = store.find_ref(PIPELINES + plan.pipeline_id)
            if ref is None or not plan.definition or not data_id:
                continue
            manifest = PipelineManifest.read(store, plan.pipeline_id, ref.oid)
            found = find_facts(store, manifest)
            if found and all(
                (facts.definition, facts.data) == (plan.definition, data_id) for facts, _ in found
            ):
                rows = [row for _, rows in found for row in rows]
                done[plan.pipeline_id] = [replace(row, run_id=run_id) for row in rows]
    return done

"""What each run or each pipeline of a store takes, and what deleting it would free."""

from __future__ import annotations

from n4a_store.artifacts.manifest_tree import PIPELINES
from n4a_store.artifacts.subject import all_manifests
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import Kind
from n4a_store.repo.history import RUN_REFS
from n4a_store.repo.store import Store
from n4a_store.repo.usage import Usage, usage

__all__ = ["pipeline_usage", "run_usage"]


def pipeline_usage(store: Store) -> list[Usage]:
    """Each pipeline with all its manifests, whichever run holds them."""
    groups: dict[str, list[TreeEntry]] = {}
    for pipeline, oid, _ in all_manifests(store):
        groups.setdefault(pipeline, []).append(TreeEntry(Kind.TREE, oid))
    others = [ref.entry for ref in store.refs() if not ref.name.startswith((PIPELINES, RUN_REFS))]
    return usage(store, groups, others)


def run_usage(store: Store) -> list[Usage]:
    """Each run; what a pipeline's ref or a tag still names is freed by none of them."""
    refs = store.refs()
    groups = {
        ref.name.removeprefix(RUN_REFS): [ref.entry]
        for ref in refs
        if ref.name.startswith(RUN_REFS)
    }
    return usage(store, groups, [ref.entry for ref in refs if not ref.name.startswith(RUN_REFS)])

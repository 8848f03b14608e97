"""Whether a manifest can be believed when it says that its artifacts were made here.

A manifest says itself where its artifacts came from, and of a bundle's the dataset has two: the one
that came, and the one that was made of it and says so. Whoever names the first by its id would be
told that all of it was made here; so a manifest is believed only where a ref of this dataset led to
it, once at least.
"""

from __future__ import annotations

from collections.abc import Iterable

from n4a_store.artifacts.manifest_tree import ARTIFACTS, LINKS, PIPELINES, PipelineManifest
from n4a_store.artifacts.subject import all_manifests
from n4a_store.errors import UntrustedError
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.repo.revision import expand_ref, split_name
from n4a_store.repo.store import Store
from n4a_store.repo.tags import TAGS

__all__ = ["UNKNOWN", "refuse_doubtful", "whence_manifest"]

UNKNOWN = "a place that nothing here tells any more"


def whence_manifest(store: Store, name: str | None, manifest: PipelineManifest) -> str:
    """Where all of a manifest came from, for want of what it says itself; empty where that counts.

    Args:
        name: What led to it: a ref, an id, a path; None for the newest run.
    """
    if name is None:
        return ""
    base, _ = split_name(name)
    full = expand_ref(store, base)
    if full is not None and manifest.oid in _manifests_at(store, store.ref(full).entry):
        return ""
    return "" if _was_named(store, [manifest.oid]) else UNKNOWN


def refuse_doubtful(store: Store, name: str, entry: TreeEntry) -> None:
    """Refuse to give a name to a run or a manifest that no ref of this dataset ever led to.

    Raises:
        UntrustedError: It is one: by its new name it would be taken for something made here.
    """
    if not _was_named(store, _manifests_at(store, entry)):
        raise UntrustedError(
            f"'{name}' is of no run or pipeline of this dataset, now or before: nothing tells "
            "where it came from",
            hint="name it by its run or its pipeline; what was imported is there under its name",
        )


def _manifests_at(store: Store, entry: TreeEntry) -> set[ObjectId]:
    """The manifests that are, or are in, an object."""
    if entry.kind is Kind.RUN:
        held = store.get_tree(store.get_run(entry.oid).pipelines).entries
        return {child.oid for child in held.values()}
    if entry.kind is Kind.TREE and set(store.get_tree(entry.oid)) == {ARTIFACTS, LINKS}:
        return {entry.oid}
    return set()


def _was_named(store: Store, manifests: Iterable[ObjectId]) -> bool:
    """Whether a ref has led to each of some manifests, as a run, a pipeline or a tag."""
    missing = set(manifests)
    for _, oid, _ in all_manifests(store):
        if not missing:
            return True
        missing.discard(oid)
    for ref in store.refs(TAGS):
        if missing:
            missing -= _manifests_at(store, ref.entry)
    for change in store.reflog() if missing else ():
        if change.name.startswith((PIPELINES, TAGS)):
            missing -= {side.oid for side in (change.old, change.new) if side is not None}
    return not missing

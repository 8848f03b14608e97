"""What the tests of training share besides fixtures."""

from __future__ import annotations

from collections import Counter

from n4a_store.artifacts.workspace import Workspace
from n4a_store.objects.oid import Kind, ObjectId

DATASET = "spectra"


def objects_of(workspace: Workspace) -> dict[ObjectId, Kind]:
    """Every object of the store."""
    with workspace.store(DATASET) as store:
        return dict(store.objects())


def added_kinds(before: dict[ObjectId, Kind], after: dict[ObjectId, Kind]) -> Counter[Kind]:
    """How many objects of each kind are new."""
    return Counter(kind for oid, kind in after.items() if oid not in before)

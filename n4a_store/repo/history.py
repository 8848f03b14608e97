"""History: the runs of a store, newest first, and everything that a root reaches.

A run's parents are recorded ids that nothing follows: keeping a run does not keep the ones
before it. So a history has gaps where earlier runs were deleted, and a `RunEntry` says which
parents are gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from n4a_store.objects.html import facts_html
from n4a_store.objects.model import Run, TreeEntry
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.packs.id_table import IdTable
from n4a_store.repo.store import Store

__all__ = ["RUN_REFS", "ReachedObject", "RunEntry", "list_runs", "reach", "runs_back_from"]

RUN_REFS = "refs/runs/"


@dataclass(frozen=True, slots=True)
class RunEntry:
    """A run as a ref names it.

    Args:
        run_id: The last part of the ref.
        missing_parents: Recorded parents that are no longer in the store: history ends there.
    """

    run_id: str
    ref: str
    oid: ObjectId
    run: Run
    missing_parents: tuple[ObjectId, ...]

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        run = self.run
        facts: list[tuple[str, object]] = [("dataset", run.dataset), ("status", run.status)]
        facts += [("created", run.created_at)]
        facts += [("message", run.message), ("object", self.oid)]
        return facts_html(f"Run {self.run_id}", facts)


@dataclass(frozen=True, slots=True)
class ReachedObject:
    """An object and the first path by which it was reached; empty for a root."""

    oid: ObjectId
    kind: Kind
    path: str


def list_runs(store: Store) -> list[RunEntry]:
    """The runs that refs name, newest first.

    Raises:
        CorruptionError: A run object is damaged; the message names it.
    """
    with store.session():
        entries = [
            RunEntry(ref.name.removeprefix(RUN_REFS), ref.name, ref.oid, run, _gone(store, run))
            for ref in store.refs(RUN_REFS)
            if ref.kind is Kind.RUN
            for run in (store.get_run(ref.oid),)
        ]
    return sorted(entries, key=lambda entry: (entry.run.created_at, entry.run_id), reverse=True)


def _gone(store: Store, run: Run) -> tuple[ObjectId, ...]:
    return tuple(parent for parent in run.parents if not store.has(parent))


def runs_back_from(store: Store, roots: Iterable[ObjectId]) -> Iterator[ObjectId]:
    """The runs among `roots` and their recorded parents, newest first, gaps left out.

    Raises:
        InvalidInputError: A root is not a run.
        CorruptionError: A run object is damaged.
    """
    with store.session():
        waiting = {root: store.get_run(root) for root in roots}
        seen = set(waiting)
        while waiting:
            oid = max(waiting, key=lambda at: (waiting[at].created_at, at))
            run = waiting.pop(oid)
            yield oid
            for parent in run.parents:
                if parent not in seen and store.has(parent):
                    seen.add(parent)
                    waiting[parent] = store.get_run(parent)


def reach(
    store: Store, roots: Iterable[TreeEntry], *, without: ObjectId | None = None
) -> Iterator[ReachedObject]:
    """Everything that `roots` reach, each object once, parents before children.

    A large tree's shards are objects too; they bear the path of their tree.

    Args:
        without: Walk as if this object were not there.

    Raises:
        ObjectNotFoundError: Something is missing.
        CorruptionError: A tree or run is damaged. Blobs are not read.
    """
    seen = IdTable()
    if without is not None:
        seen.add(without.raw)
    stack = [ReachedObject(root.oid, root.kind, "") for root in reversed(list(roots))]
    with store.session():
        while stack:
            at = stack.pop()
            if seen.add(at.oid.raw):
                yield at
                stack.extend(reversed(list(_children(store, at))))


def _children(store: Store, at: ReachedObject) -> Iterator[ReachedObject]:
    if at.kind is Kind.RUN:
        yield ReachedObject(store.get_run(at.oid).pipelines, Kind.TREE, at.path)
    elif at.kind is Kind.TREE:
        node = store.node(at.oid)
        prefix = f"{at.path}/" if at.path else ""
        for name, entry in node.entries.items():
            path = at.path if node.is_shard else prefix + name
            yield ReachedObject(entry.oid, entry.kind, path)

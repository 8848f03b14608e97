"""Cleaning up: every deletion is a change of refs, and gc does the rest.

Nothing here looks at files. What no ref reaches is an orphan; what the reflog can still bring
back is kept until the undo window has passed. Content that anything else references stays. If
one root cannot be read, nothing is deleted. What is removed is logged.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from n4a_store.artifacts.manifest_tree import (
    PAYLOAD,
    PIPELINES,
    PipelineManifest,
    StoredArtifact,
)
from n4a_store.artifacts.orphans import Orphan, find_orphans
from n4a_store.artifacts.removal import (
    refuse_unreadable,
    remove_everything,
    remove_pipeline,
)
from n4a_store.artifacts.runs import OpenRun
from n4a_store.artifacts.serializers.extensions import extension_of
from n4a_store.artifacts.stored_runs import current_manifest
from n4a_store.artifacts.types import export_name
from n4a_store.errors import ArtifactNotFoundError, InvalidInputError, ObjectNotFoundError
from n4a_store.objects.model import RunStatus
from n4a_store.repo.gc import collect
from n4a_store.repo.store import Store

__all__ = [
    "Deleted",
    "OrphanName",
    "Purged",
    "delete_orphans",
    "delete_pipeline",
    "drop_completed",
    "orphan_names",
    "purge",
]

log = logging.getLogger(__name__)


class Deleted(NamedTuple):
    """What a deletion took away, or would."""

    names: list[str]
    """Files' names of artifacts, ``model_PLSRegression_9f2c1a44.pkl``."""
    bytes: int
    """Bytes in packs."""


class OrphanName(str):
    """The name of an artifact that no ref reaches, ``model_PLSRegression_9f2c1a44.pkl``.

    Args:
        undoable: Whether the reflog can still bring it back.
    """

    __slots__ = ("undoable",)
    undoable: bool

    def __new__(cls, name: str, *, undoable: bool = False) -> OrphanName:
        """A name that says so."""
        made = super().__new__(cls, name)
        made.undoable = undoable
        return made


class Purged(NamedTuple):
    """What a purge took away."""

    artifacts: int
    """Names of artifacts."""
    bytes: int
    """Bytes in packs: freed, or to be freed when the undo window has passed."""


def check_expire(expire: str | None) -> bool:
    """Whether the undo window is dropped.

    Raises:
        InvalidInputError: Neither None nor "now".
    """
    if expire not in (None, "now"):
        raise InvalidInputError(
            f"expire={expire!r:.80} is not known", hint='None keeps the undo window, "now" drops it'
        )
    return expire == "now"


def orphan_names(store: Store) -> list[OrphanName]:
    """The names of the artifacts that no ref reaches; each says whether undo can bring it back.

    Raises:
        CorruptionError: A root cannot be read: then nothing is known to be an orphan.
    """
    found = find_orphans(store).artifacts
    return [OrphanName(_name(store, orphan), undoable=orphan.undoable) for orphan in found]


def delete_orphans(store: Store, *, dry_run: bool, expire: str | None) -> Deleted:
    """Drop what nothing reaches and, unless ``expire`` is "now", undo cannot bring back.

    Raises:
        InvalidInputError: ``expire`` is not known, or ``dry_run`` neither True nor False.
        LockedError: Another gc is running.
        CorruptionError: A root cannot be read; nothing was deleted.
    """
    if not isinstance(dry_run, bool):
        # None or 0 would delete.
        raise InvalidInputError(f"dry_run is True or False, not {dry_run!r:.80}")
    now = check_expire(expire)
    report = find_orphans(store, expire_now=now)
    going = [orphan for orphan in report.artifacts if now or not orphan.undoable]
    # Orphans may share objects with one another: together they are no more than the garbage.
    size = min(sum(orphan.stored_bytes for orphan in going), report.unreachable.stored_bytes)
    deleted = Deleted([_name(store, orphan) for orphan in going], size)
    if not dry_run:
        collect(store, expire_now=now, thorough=True)
        for name in deleted.names:
            log.info("%s: deleted orphan %s", store.path, name)
        log.info("%s: %d bytes deleted", store.path, deleted.bytes)
    return deleted


def _name(store: Store, orphan: Orphan) -> str:
    blob = StoredArtifact.read(store, orphan.tree, orphan.tree.short()).blob
    content = store.node(orphan.tree).entries[PAYLOAD].oid.hex
    return export_name(blob.type, blob.class_name, content, extension_of(blob.format))


def delete_pipeline(store: Store, pipeline_id: str, *, collects: bool = False) -> int:
    """Take a pipeline away, out of every run that holds it; the number of its artifacts.

    What other pipelines depend on or share stays.

    Args:
        collects: Whether a gc is to follow at once that gives up undo.

    Raises:
        ArtifactNotFoundError: There is no such pipeline.
        CorruptionError: It, or a run that may hold it, cannot be read; or, where gc is to follow,
            any root. Nothing changed.
        LockedError: Gc is to follow, and another is running; nothing changed.
        ConflictError: Another process changed a run meanwhile; nothing changed.
    """
    manifest = current_manifest(store, pipeline_id)
    if manifest is None:
        raise ArtifactNotFoundError(
            f"there is no pipeline {pipeline_id!r}", hint="'n4a-store artifacts log' lists them"
        )
    if collects:
        refuse_unreadable(store, collects=True, expire_now=True)
    remove_pipeline(store, store.ref(PIPELINES + pipeline_id))
    count = len(manifest.artifacts)
    log.info("%s: deleted pipeline %s with %d artifacts", store.path, pipeline_id, count)
    return count


def purge(store: Store, *, expire: str | None) -> Purged:
    """Take every ref of the store away, and collect.

    Raises:
        InvalidInputError: ``expire`` is not known.
        CorruptionError: A root cannot be read; nothing changed.
        ConflictError: Another process changed a ref meanwhile; nothing changed.
    """
    now = check_expire(expire)
    names = 0
    for ref in store.refs(PIPELINES):
        pipeline_id = ref.name.removeprefix(PIPELINES)
        names += len(PipelineManifest.read(store, pipeline_id, ref.oid).artifacts)
    size = 0
    if store.refs():
        size = remove_everything(store, dry_run=False, collects=True, expire_now=now).freed_bytes
    elif not now:
        return Purged(0, 0)
    # What was taken away before may still wait for the undo window, which "now" gives up.
    collected = collect(store, expire_now=now, thorough=True)
    size = max(size, collected.bytes_freed)
    log.info("%s: purged %d artifacts, %d bytes", store.path, names, size)
    return Purged(names, size)


def drop_completed(run: OpenRun) -> int:
    """Take back what an open run has completed, in one commit; the number of artifacts.

    Each pipeline goes back to what others had left there last, or away when that was nothing.
    """
    if not run.completed:
        return 0
    dropped = 0
    with (
        run.store.ballast.room_to_delete(),
        run.store.transaction(f"take back run {run.id}", action="cleanup") as txn,
    ):
        for pipeline_id, oid in run.completed.items():
            manifest = PipelineManifest.read(run.store, pipeline_id, oid)
            dropped += len(manifest.artifacts)
            ref = run.store.find_ref(PIPELINES + pipeline_id)
            if ref is None or ref.oid != oid:
                continue  # another run has completed it since: that one stays
            before = run.before.get(pipeline_id)
            try:
                if before is not None:
                    txn.set_ref(ref.name, before, oid)
                else:
                    txn.delete_ref(ref.name, oid)
            except ObjectNotFoundError:
                txn.delete_ref(ref.name, oid)
            log.info("run %s: took back pipeline %s", run.id, pipeline_id)
        run.set_run(txn, txn.put_tree({}), RunStatus.FAILED)
    run.completed.clear()
    return dropped

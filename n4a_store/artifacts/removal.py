"""Taking runs, pipelines and tags away: changes of refs, all of them or none, and undoable.

What is still reached by anything else stays whole. A pipeline is taken out of every run that
holds it, in the same commit, so that it is gone and not merely unnamed. A preview goes the same
way and aborts at the end.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from n4a_store.artifacts.manifest_tree import PIPELINES
from n4a_store.errors import (
    CorruptionError,
    InvalidInputError,
    ObjectNotFoundError,
    RefNotFoundError,
)
from n4a_store.objects.model import Run, TreeEntry
from n4a_store.objects.oid import Kind
from n4a_store.refs.refs import Ref
from n4a_store.repo.catalog_age import check_catalog_age
from n4a_store.repo.history import RUN_REFS
from n4a_store.repo.reachability import preview
from n4a_store.repo.revision import expand_ref
from n4a_store.repo.store import Store
from n4a_store.repo.transaction import Transaction
from n4a_store.repo.usage import usage
from n4a_store.storage.locks import FileLock

__all__ = [
    "RefMove",
    "Removal",
    "refuse_unreadable",
    "remove",
    "remove_everything",
    "remove_pipeline",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RefMove:
    """A ref before and after; None: it does not exist."""

    ref: str
    old: TreeEntry | None
    new: TreeEntry | None


@dataclass(frozen=True, slots=True)
class Removal:
    """What a removal does.

    Args:
        op: The operation that did it; None for a preview.
        moves: The refs that go or change.
        reached_objects, reached_bytes: All that these refs reach before; 0 where that cannot be
            counted because something among it is damaged.
        freed_objects, freed_bytes: What gc can drop for it once the undo window has passed.
    """

    op: int | None
    moves: tuple[RefMove, ...]
    reached_objects: int
    reached_bytes: int
    freed_objects: int
    freed_bytes: int


def remove(store: Store, names: Iterable[str], *, dry_run: bool) -> Removal:
    """Take away the runs, pipelines and tags called `names`.

    Raises:
        RefNotFoundError: One of them does not exist; then nothing changes.
        ConflictError: Somebody moved one of them meanwhile; nothing changed.
    """
    refs: dict[str, Ref] = {}
    for name in names:
        full = expand_ref(store, name)
        if full is None:
            raise RefNotFoundError(f"no run, pipeline or tag is called '{name}'")
        refs[full] = store.ref(full)
    if not refs:
        raise InvalidInputError("nothing to remove", hint="name a run, a pipeline or a tag")
    return _apply(store, refs, f"remove {', '.join(refs)}", dry_run=dry_run)


def remove_everything(
    store: Store, *, dry_run: bool, collects: bool = False, expire_now: bool = False
) -> Removal:
    """Take away every ref of the store.

    Args:
        collects, expire_now: See `refuse_unreadable`.

    Raises:
        CorruptionError: Something that is kept until then cannot be read; nothing changed.
        LockedError: ``collects``, and a gc is running; nothing changed.
        ConflictError: Somebody moved one of them meanwhile; nothing changed.
    """
    refuse_unreadable(store, collects=collects, expire_now=expire_now)
    refs = {ref.name: ref for ref in store.refs()}
    return _apply(store, refs, "purge", dry_run=dry_run)


def refuse_unreadable(store: Store, *, collects: bool, expire_now: bool) -> None:
    """Stop before anything is taken away where gc would stop after it.

    Args:
        collects: Whether gc is to follow at once.
        expire_now: Whether undo will be given up: what only that reaches need not be sound.

    Raises:
        CorruptionError: Something that a ref or an undo reaches cannot be read, or the catalog is
            older than what was committed.
        LockedError: Another gc or repack is running.
    """
    if collects:
        check_catalog_age(store)
        with FileLock(store.layout.gc_lock, wait=False, shared_group=store.settings.shared_group):
            pass
    with store.session():
        preview(store, expire_now=expire_now)


def _apply(store: Store, refs: dict[str, Ref], message: str, *, dry_run: bool) -> Removal:
    with (
        store.ballast.room_to_delete(),
        store.session(),
        store.transaction(message, action="remove") as txn,
    ):
        moves = _take_away(store, txn, refs)
        costs = _costs(store, moves)
        if dry_run:
            txn.abort()
            return Removal(None, tuple(moves), *costs)
        result = txn.commit()
    return Removal(result.op, tuple(moves), *costs)


def remove_pipeline(store: Store, ref: Ref) -> None:
    """Take one pipeline away, without looking at what that frees: the time it takes depends on
    the number of runs, and not on what is in the store.

    Raises:
        ConflictError: Somebody moved it or one of its runs meanwhile; nothing changed.
    """
    with (
        store.ballast.room_to_delete(),
        store.session(),
        store.transaction(f"remove {ref.name}", action="remove") as txn,
    ):
        _take_away(store, txn, {ref.name: ref})


def _take_away(store: Store, txn: Transaction, refs: Mapping[str, Ref]) -> list[RefMove]:
    """Plan to delete refs, and to take the pipelines among them out of the other runs."""
    pipelines = [name.removeprefix(PIPELINES) for name in refs if name.startswith(PIPELINES)]
    moves = [RefMove(ref.name, ref.entry, None) for ref in refs.values()]
    for ref in refs.values():
        txn.delete_ref(ref.name, expect=ref.oid)
    for ref, run in _other_runs(store, refs, pipelines):
        left = txn.put_tree(dict.fromkeys(pipelines), onto=txn.adopt_path(ref.name).oid)
        smaller = txn.put_run(replace(run, pipelines=left))
        txn.set_ref(ref.name, smaller, expect=ref.oid)
        moves.append(RefMove(ref.name, ref.entry, TreeEntry(ref.kind, smaller)))
    return moves


def _other_runs(
    store: Store, removed: Container[str], pipelines: Sequence[str]
) -> Iterator[tuple[Ref, Run]]:
    """The runs that stay and hold one of some pipelines.

    Raises:
        CorruptionError: One of those that stay cannot be read: it may hold them as well.
    """
    for ref in store.refs(RUN_REFS) if pipelines else ():
        if ref.name in removed or ref.kind is not Kind.RUN:
            continue
        try:
            run = store.get_run(ref.oid)
            held = any(store.get_entry(run.pipelines, name) for name in pipelines)
        except (ObjectNotFoundError, CorruptionError) as error:
            raise CorruptionError(
                f"{ref.name} cannot be read, and may hold what is to be removed: {error}; "
                "nothing was removed",
                hint=f"restore it, or remove it first: n4a-store artifacts rm {ref.name}",
            ) from error
        if held:
            yield ref, run


def _costs(store: Store, moves: list[RefMove]) -> tuple[int, int, int, int]:
    """Objects and bytes that the old values reach, and that only they reach."""
    changed = {move.ref for move in moves}
    stays = [ref.entry for ref in store.refs() if ref.name not in changed]
    pipelines = {at.ref.removeprefix(PIPELINES) for at in moves if at.ref.startswith(PIPELINES)}
    old: list[TreeEntry] = []
    for move in moves:
        if move.old is None:
            continue
        if move.new is None:
            old.append(move.old)
            continue
        # A run that gets smaller: its own object is followed by one of the same size. What goes
        # are manifests; those that stay are in the store, the smaller run is not yet.
        held = store.get_tree(store.get_run(move.old.oid).pipelines).entries
        for name, entry in held.items():
            (old if name in pipelines else stays).append(entry)
    try:
        (used,) = usage(store, {"removed": old}, stays)
    except (ObjectNotFoundError, CorruptionError) as error:
        log.warning("what this frees cannot be counted: %s", error)
        return 0, 0, 0, 0
    return used.objects, used.stored_bytes, used.own_objects, used.own_bytes

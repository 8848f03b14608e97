"""Undo: take back one operation, whole.

The reflog knows what every ref held before an operation. Undoing sets all of them back in one
commit, which checks that nobody has moved them since and that the reflog entries it goes back to
are still there: an entry that gc has expired no longer keeps its objects alive. An undo is an
operation like any other, so it can be undone itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from n4a_store.errors import ConflictError, NotFoundError
from n4a_store.objects.model import TreeEntry
from n4a_store.refs.names import check_ref_name
from n4a_store.refs.refs import Ref, ReflogEntry, reflog_entry
from n4a_store.storage.rows import OpRow, ReflogRow

if TYPE_CHECKING:
    from n4a_store.repo.store import Store

__all__ = ["Undone", "newest_undoable", "undo"]


@dataclass(frozen=True, slots=True)
class Undone:
    """What an undo took back.

    Args:
        op: The operation that was taken back.
        by: The operation that did it; None for a preview.
        refs: Each ref with what it held and what it holds now; None: it does not exist.
    """

    op: int
    by: int | None
    refs: tuple[tuple[str, TreeEntry | None, TreeEntry | None], ...]


def newest_undoable(store: Store, ref: str | None = None) -> int:
    """The newest operation that changed a ref, or this one.

    Raises:
        NotFoundError: There is none that could still be undone.
    """
    name = None if ref is None else check_ref_name(ref)
    with store.catalog.read() as reader:
        row = next(reader.reflog(name), None)
        if row is None:
            what = "in this store" if name is None else f"of {name}"
            raise NotFoundError(
                f"there is no change {what} that can still be undone",
                hint=_how_far(store),
            )
    return row.op


def undo(store: Store, op: int | None = None, *, dry_run: bool = False) -> Undone:
    """Take back an operation, by default the newest one that changed a ref.

    Args:
        store: The store.
        op: The operation's number, as the reflog shows it.
        dry_run: Only tell what would be done.

    Raises:
        NotFoundError: The operation is unknown or too old to be undone.
        ConflictError: A ref has been changed again since; undo that change first.
    """
    number = newest_undoable(store) if op is None else op
    # The reflog is read after the transaction took its lease: what is found there stays.
    with store.transaction(f"undo operation {number}", action="undo") as txn:
        rows, entries = _read(store, number)
        changes = []
        for row, entry in zip(rows, entries, strict=True):
            now = store.find_ref(row.name)
            held = None if now is None else now.entry
            if held != entry.new:
                raise _moved_on(store, row, now)
            txn.restore_ref(row, entry.old, None if held is None else held.oid)
            changes.append((row.name, entry.new, entry.old))
        if dry_run:
            txn.abort()
            return Undone(number, None, tuple(changes))
        result = txn.commit()
    return Undone(number, result.op, tuple(changes))


def _read(store: Store, number: int) -> tuple[list[ReflogRow], list[ReflogEntry]]:
    with store.catalog.read() as reader:
        op: OpRow | None = reader.op(number)
        rows = reader.reflog_of(number)
        if op is None or not rows:
            raise NotFoundError(
                f"operation {number} changed no ref, or is too old to be undone",
                hint=_how_far(store),
            )
        return rows, [reflog_entry(row, op) for row in rows]


def _moved_on(store: Store, row: ReflogRow, now: Ref | None) -> ConflictError:
    """The refusal, with the operation that made the ref what it is now."""
    held = None if now is None else now.entry
    later = [entry for entry in store.reflog(row.name) if entry.id > row.id]
    # The first that led here: a newer one may be the undo of what came in between.
    by = next((entry.op for entry in reversed(later) if entry.new == held), None)
    advice = "see the reflog" if by is None else f"n4a-store artifacts undo --op {by}"
    return ConflictError(
        f"{row.name} has been changed again since operation {row.op}"
        + ("" if by is None else f", by operation {by}"),
        hint=f"undo the later operation first: {advice}",
    )


def _how_far(store: Store) -> str:
    return f"undo reaches back {store.settings.undo_window_days} days, or to the last gc --now"

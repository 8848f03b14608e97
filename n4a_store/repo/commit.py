"""The commit itself: one catalog transaction that validates, swaps refs and publishes packs.

Everything before it can be thrown away without a trace; everything in it happens or does not.
Between a writer's snapshot and its commit gc may have condemned packs that the writer relies on.
They are still on the disk, because the writer's lease is older than their condemnation; here they
are made live again. A pack that is already being dropped cannot be: with a living lease that never
happens, so it is a loud :class:`ConflictError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING

from n4a_store.errors import ConflictError, InvalidInputError, StoreError
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import Kind, ObjectId, raw_hash, split_ids
from n4a_store.objects.trees import FANOUT_LIMIT, encode_tree
from n4a_store.packs.id_table import IdTable
from n4a_store.refs.refs import RefChange, apply
from n4a_store.repo.packing import PackBuilder
from n4a_store.storage.catalog_access import CatalogWriter
from n4a_store.storage.rows import PackRow, PackState, PinRow, ReflogRow

if TYPE_CHECKING:
    from n4a_store.repo.store import Store

__all__ = ["CommitPlan", "CommitResult", "check_message", "publish"]


def check_message(message: object) -> None:
    """Refuse what cannot be what an author says.

    Raises:
        InvalidInputError: It is no text, or text with lone surrogates.
    """
    try:
        str.encode(message)  # type: ignore[arg-type]
    except (TypeError, UnicodeEncodeError):
        raise InvalidInputError(f"a message is text, not {message!r:.80}") from None


@dataclass(slots=True)
class CommitPlan:
    """What a transaction wants to make visible, and what it took for granted.

    Args:
        commit_id: By which the commit can be found again when its answer was lost.
        action: What kind of operation, for the reflog.
        message: What its author says.
        generation: What the writer's lease pins.
        changes: Refs to be changed.
        pins: Pins to be set, or removed (None).
        relied: Objects found in packs of others, by pack: their ids one after the other.
        adopted: Refs from which something was reached, with the roots they held then.
        held_for: The run lock that this commit's own packs are held for, or empty.
        adopts_held: Packs of workers that become live with this commit.
        undoes: Reflog entries that must still be there.
    """

    commit_id: str
    action: str
    message: str
    generation: int = 0
    changes: dict[str, RefChange] = field(default_factory=dict)
    pins: dict[str, TreeEntry | None] = field(default_factory=dict)
    relied: dict[str, bytearray] = field(default_factory=dict)
    adopted: dict[str, bytes] = field(default_factory=dict)
    held_for: str = ""
    adopts_held: set[str] = field(default_factory=set)
    undoes: list[ReflogRow] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_message(self.message)

    def rely(self, pack_id: str, oid: bytes) -> None:
        """Take it for granted that an object stands in a pack of others."""
        oids = self.relied.get(pack_id)
        if oids is None:
            oids = self.relied[pack_id] = bytearray()
        oids += oid

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to say to the catalog but new packs."""
        return not (self.changes or self.pins or self.adopts_held)


@dataclass(frozen=True, slots=True)
class CommitResult:
    """What a commit did.

    Args:
        op: The number of the operation; None when there was nothing to commit.
        commit_id: The id chosen before the commit, by which it can be found again.
        packs: The packs that it added.
        objects_added: Objects that were not there before.
        bytes_added: The size of the packs that hold them.
        objects_reused: Puts that found their object already stored.
    """

    op: int | None
    commit_id: str
    packs: tuple[str, ...]
    objects_added: int
    bytes_added: int
    objects_reused: int

    @classmethod
    def of(cls, op: int | None, commit_id: str, rows: list[PackRow], reused: int) -> CommitResult:
        """The result of a commit that added the packs ``rows``."""
        objects = sum(row.objects for row in rows)
        stored = sum(row.stored_bytes for row in rows)
        return cls(op, commit_id, tuple(row.id for row in rows), objects, stored, reused)


def publish_packs(plan: CommitPlan, packs: PackBuilder, known: IdTable) -> list[PackRow]:
    """Give a transaction's packs their final place; the rows to be committed.

    A worker's commit moves no ref: until its run adopts the pack, the pack itself is the root. So
    what the worker found in packs of others is listed in trees of its own, which make it
    reachable; after the adoption nothing names these trees, and gc drops them.
    """
    if plan.held_for and plan.relied:

        def put(data: bytes) -> ObjectId:
            oid = raw_hash(Kind.TREE, data)
            packs.add(oid, Kind.TREE, data)  # even if another pack has it: this one must hold it
            return ObjectId(oid)

        relied = chain.from_iterable(map(split_ids, plan.relied.values()))
        while some := list(islice(relied, FANOUT_LIMIT)):
            # What is not known was part of a closure that turned out incomplete: nothing names it.
            kinds = {oid: kind for oid in some if (kind := known.get(oid)) is not None}
            listed = {oid.hex(): TreeEntry(Kind(kinds[oid]), ObjectId(oid)) for oid in kinds}
            encode_tree(listed, {}, put)
    return packs.publish()


def publish(store: Store, plan: CommitPlan, rows: list[PackRow]) -> int:
    """Commit ``plan`` with the packs ``rows``, which stand in their final place already.

    Returns:
        The number of the operation.

    Raises:
        ConflictError: Somebody else moved first. The packs stand where they were, and no row
            names them.
        BackendError: The disk refused, and the commit is known not to have happened.
    """
    try:
        with store.catalog.write() as writer:
            writer.expect_refs({*plan.changes, *plan.adopted})
            _bring_back(store, writer, plan)
            _check_undo(writer, plan)
            op = writer.next_op(plan.action, plan.message, plan.commit_id)
            apply(writer, plan.changes, op)
            _change_pins(writer, plan.pins, op.op)
            state = PackState.HELD if plan.held_for else PackState.LIVE
            for row in rows:
                writer.put(row.moved(state, gc_gen=0, owner=plan.held_for))
            number = op.op
    except ConflictError:
        raise
    except StoreError:
        # The disk may have taken the commit and lost the answer.
        found = _find(store, plan.commit_id)
        if found is None:
            raise
        number = found
    return number


def _find(store: Store, commit_id: str) -> int | None:
    try:
        with store.catalog.read() as reader:
            op = reader.op_of_commit(commit_id)
    except StoreError:
        return None
    return None if op is None else op.op


def _bring_back(store: Store, writer: CatalogWriter, plan: CommitPlan) -> None:
    """Make live whatever is relied on and was condemned, or held, since the snapshot."""
    condemned = {row.id: row for row in writer.condemned()}
    for pack_id, oids in plan.relied.items():
        if pack_id in condemned:
            if not _stand_elsewhere(store, writer, oids):
                writer.set_pack_state(condemned.pop(pack_id), PackState.LIVE, gc_gen=0)
            continue
        row = writer.pack(pack_id)
        sound = row is not None and (
            row.state is PackState.LIVE
            or (row.state is PackState.HELD and pack_id in plan.adopts_held)
        )
        if not sound:
            raise ConflictError(
                f"pack {pack_id} was dropped while this transaction relied on it",
                hint="this should not happen while its lease lives: retry, and report it",
            )
    if not all(_still_holds(writer, ref, root) for ref, root in plan.adopted.items()):
        # What was reached may have lost its last root, and may stand anywhere: bring back all
        # that was condemned since the snapshot. None of it can have been dropped.
        for row in condemned.values():
            if row.kept_at(plan.generation):
                writer.set_pack_state(row, PackState.LIVE, gc_gen=0)
    for pack_id in plan.adopts_held:
        held = writer.pack(pack_id)
        if held is None or held.state is PackState.DROPPING:
            raise ConflictError(
                f"pack {pack_id}, which a worker wrote for this run, is gone",
                hint="its run was taken for dead: run it again",
            )
        if held.state is not PackState.LIVE:
            # Or condemned: the run's lock was taken for a dead one's, and our lease kept the pack.
            # It stays its run's: another worker's handover may be in it, or in it alone, which no
            # ref names yet.
            writer.set_pack_state(held, PackState.LIVE, gc_gen=0)


def _still_holds(writer: CatalogWriter, ref: str, root: bytes) -> bool:
    """Whether a ref holds what it held when something was reached from it.

    Then all of that stands in live packs, whatever gc did in between: every commit keeps it so
    that no ref reaches a condemned pack. Without this look, writers that adopt in each of their
    transactions would bring back the garbage of every gc that runs beside them, for ever.
    """
    row = writer.ref(ref)
    return row is not None and row.oid == root


def _stand_elsewhere(store: Store, writer: CatalogWriter, oids: bytearray) -> bool:
    """Whether a compaction moved all of ``oids`` to packs that are live now."""
    rows = writer.packs((PackState.LIVE,))
    live = {row.id for row in rows}
    store.odb.add(rows)
    return all(store.odb.find(oid, live) is not None for oid in split_ids(oids))


def _check_undo(writer: CatalogWriter, plan: CommitPlan) -> None:
    for row in plan.undoes:
        if writer.reflog_row(row.id) != row:
            raise ConflictError(
                f"the reflog entry of {row.name} that was to be undone has expired or changed",
                hint="look at the reflog again",
            )


def _change_pins(writer: CatalogWriter, pins: Mapping[str, TreeEntry | None], op: int) -> None:
    for name, target in pins.items():
        now = writer.pin(name)
        if target is not None:
            writer.put(PinRow(name, int(target.kind), target.oid.raw, op), replaced=now)
        elif now is not None:
            writer.delete(now)

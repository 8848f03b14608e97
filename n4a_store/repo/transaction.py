"""Transactions: write children first, publish once.

The order is the protocol (docs/explanation/protocol.md argues why it is right):

1. take a lease and lock it;
2. only then read generation and live packs, and publish the generation in the lease;
3. write new objects to packs of one's own under ``txn/``, relying on live packs for the others;
4. fsync each pack, rename it into ``packs/``, fsync the folder;
5. in one catalog transaction: bring back what was condemned meanwhile and is relied on, compare
   and swap the refs, insert pack and reflog rows, commit;
6. release the lease.

*Present is not complete.* A pack may hold a tree whose children are about to be dropped. So a
tree, run or ref may name an object only if this transaction put its whole closure, or reached it
from a ref after taking its lease (:meth:`Transaction.adopt_path`). For any other object the
transaction puts the closure itself, object by object.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from n4a_store.errors import (
    BackendError,
    ConflictError,
    InvalidInputError,
    ObjectNotFoundError,
    RefMovedError,
    RefNotFoundError,
    TransactionClosedError,
)
from n4a_store.objects.children import raw_children
from n4a_store.objects.model import Tree, TreeEntry
from n4a_store.objects.oid import BytesLike, Kind, ObjectId
from n4a_store.objects.trees import TreeNode, lookup
from n4a_store.odb.kept import KeptNodes
from n4a_store.packs.id_table import IdTable
from n4a_store.refs.names import check_ref_name
from n4a_store.refs.refs import ANY
from n4a_store.repo.commit import CommitPlan, CommitResult, publish, publish_packs
from n4a_store.repo.copying import changed_on_disk
from n4a_store.repo.planned_refs import PlannedRefs
from n4a_store.repo.putting import PutsObjects
from n4a_store.repo.reading import Made, ObjectReader, need_id
from n4a_store.repo.seat import Seat
from n4a_store.storage.rows import PackState

if TYPE_CHECKING:
    from n4a_store.repo.store import Store

__all__ = ["ANY", "CommitResult", "Transaction"]

log = logging.getLogger(__name__)

_ATTEMPTS = 50
_FORKED = "this transaction was begun before a fork, in the parent process"


class Transaction(PlannedRefs, PutsObjects):
    """One change of a store, visible wholly and at once when it commits.

    As a context manager it commits when the block ends and aborts when it raises. It belongs to
    one thread.
    """

    def __init__(
        self,
        store: Store,
        message: str = "",
        *,
        action: str = "commit",
        hold_for: str = "",
        seat: Seat | None = None,
        look_at: Collection[str] = (),
    ) -> None:
        self._store = store
        self._plan = CommitPlan(uuid.uuid4().hex, action, message, held_for=hold_for)
        self._known = IdTable()  # kinds, by what may be named
        self._nodes = KeptNodes()  # what put_tree has put lately, as it would be read
        self._runs: dict[bytes, ObjectId] = {}  # the trees of pipelines of runs that were put
        self._reused = 0
        self._open = True
        if store.read_only:
            raise BackendError(f"{store.path} is on a read-only disk")
        self.seat = Seat(store.layout, store.settings) if seat is None else seat
        self._lease = self.seat.lease
        self._end_seat = self.seat.leave if seat is None else self.seat.rest
        self.seat.take()
        try:
            begun = self.seat.begin(store.catalog, look_at)
        except BaseException:
            self.seat.leave()
            raise
        self._plan.generation = begun.generation
        self._live = begun.packs.ids
        self._packs = begun.builder
        self._seen = begun.refs  # as it was then
        store.odb.add_live(begun.packs.rows)
        store.odb.hold(self, self._live)

    def __enter__(self) -> Transaction:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.abort()
        elif self._open:
            self.commit()

    @property
    def commit_id(self) -> str:
        """Chosen before the commit, so that its author can find it again."""
        return self._plan.commit_id

    @property
    def is_open(self) -> bool:
        """Whether it has neither been committed nor aborted."""
        return self._open

    def _check_open(self) -> None:
        if not self._open:
            raise TransactionClosedError("this transaction has ended")
        if not self._lease.held:
            raise TransactionClosedError(_FORKED)

    # --- naming objects that exist ------------------------------------------------------------

    def _allow(self, child: TreeEntry | ObjectId | None) -> TreeEntry:
        """Make sure that ``child`` may be named, its kind included."""
        oid = child.oid if isinstance(child, TreeEntry) else need_id(child)
        known = self._known.get(oid.raw)
        if known is None:
            self._adopt_closure(oid)
            known = self._known[oid.raw]
        if isinstance(child, TreeEntry) and child.kind != known:
            raise InvalidInputError(
                f"object {oid.short(12)} is a {Kind(known).label}, not a {child.kind.label}"
            )
        return TreeEntry(Kind(known), oid)

    def _adopt_closure(self, oid: ObjectId) -> None:
        """Put the whole closure of an object that is only known to be present."""
        waiting: list[tuple[int | None, bytes]] = [(None, oid.raw)]
        found = IdTable()
        while waiting:
            kind, at = waiting.pop()
            if at in self._known or at in found:
                continue
            if kind == Kind.BLOB and self._rely(at):
                found[at] = Kind.BLOB  # with nothing below it, it need not be read
                continue
            kind, data = self.read(at)
            # If not, it stands in a pack that is condemned or newer than our snapshot: copy it.
            if not self._rely(at) and not self._packs.add(at, kind, data):
                raise changed_on_disk(at)
            found[at] = kind
            waiting.extend(raw_children(kind, data))
        self._known.absorb(found)  # only now: the half of a closure allows nothing

    def adopt_path(self, ref: str, *names: str) -> TreeEntry:
        """Walk from a ref down tree entries and allow what is found, with its closure.

        A run steps into its tree of pipelines. The ref is read now, after the lease was taken:
        whatever it reaches cannot be dropped before this transaction ends.

        Raises:
            RefNotFoundError: There is no such ref.
            ObjectNotFoundError: There is no such path.
        """
        self._check_open()
        name = check_ref_name(ref)
        with self._store.catalog.read() as reader:
            row = reader.ref(name)
        if row is None:
            raise RefNotFoundError(f"no ref {name}")
        entry = self._reached(row)
        for step in names:
            if entry.kind is Kind.RUN:
                entry = TreeEntry(Kind.TREE, self._pipelines_of(entry.oid))
            child = lookup(self.node(entry.oid), step, self.node)
            if child is None:
                raise ObjectNotFoundError(f"{ref} holds no {'/'.join(names)} (at {step!r})")
            entry = child
        self._known[entry.oid.raw] = entry.kind
        return entry

    def adopt_children(self, oid: ObjectId) -> Tree:
        """The tree ``oid``, which is allowed already; its children are allowed from now on.

        A run stands for its tree of pipelines.

        Raises:
            InvalidInputError: It is not a tree of this transaction or below an adopted path.
        """
        self._check_open()
        tree = self.get_tree(self._adopted_tree(oid))
        for entry in tree.entries.values():
            self._known[entry.oid.raw] = entry.kind
        return tree

    def _adopted_tree(self, oid: ObjectId) -> ObjectId:
        if self._known.get(oid.raw) == Kind.RUN:
            oid = self._pipelines_of(oid)
            self._known[oid.raw] = Kind.TREE
        if self._known.get(oid.raw) != Kind.TREE:
            raise InvalidInputError(f"object {oid.short(12)} is not a tree that was adopted")
        return oid

    def _pipelines_of(self, run: ObjectId) -> ObjectId:
        """The tree of a run's pipelines; the run that was put last here is not read again."""
        known = self._runs.get(run.raw) or self._store.known_pipelines(run)
        return known or self.get_run(run).pipelines

    def adopt_held(self, run_lock: str) -> tuple[str, ...]:
        """Take over, with this commit, every pack that workers committed for a run.

        Args:
            run_lock: The id of the run's lock, which this process holds.

        Returns:
            The packs; what they hold may be named from now on.
        """
        self._check_open()
        with self._store.catalog.read() as reader:
            rows = [row for row in reader.packs((PackState.HELD,)) if row.owner == run_lock]
        self._store.odb.add(rows)
        found = tuple(row.id for row in rows)
        self._live = {*self._live, *found}
        self._store.odb.hold(self, self._live)
        self._plan.adopts_held.update(found)
        return found

    # --- reading one's own writes -------------------------------------------------------------

    def read(self, oid: bytes) -> tuple[int, BytesLike]:
        """The kind and the verified bytes of an object of this transaction or of the store."""
        own = self._packs.read(oid)
        if own is not None:
            return own
        try:
            return self._store.read(oid)
        except ObjectNotFoundError:
            # Adopted from a ref that has moved on: its pack may have come and been condemned since
            # we began. Our lease keeps it, but a read session that is younger does not look there.
            with self._store.catalog.read() as reader:
                rows = reader.condemned_since(self._plan.generation)
            if not rows:
                raise
            self._store.odb.add(rows)
            return self._store.read(oid)

    def node(self, oid: ObjectId) -> TreeNode:
        """One tree object as it is stored; one that was put or read lately is not read again."""
        return self._nodes.get(oid.raw) or self._store.known_node(oid) or super().node(oid)

    def recall(self, make: Callable[[ObjectReader, ObjectId], Made], oid: ObjectId) -> Made:
        """What ``make`` makes of an object; the store remembers it, unless it was put here."""
        if self._packs.header(oid.raw) is not None:
            return make(self, oid)
        return self._store.recall(make, oid, self)

    def item_size(self, oid: ObjectId) -> int:
        """What :meth:`put_blob` needs to be told of a blob of this transaction or of the store.

        Raises:
            ObjectNotFoundError: There is no such object.
            CorruptionError: Its header is damaged.
        """
        header = self._packs.header(oid.raw)
        return self._store.info(oid).item_size if header is None else max(header.item_size, 1)

    def kind(self, oid: ObjectId) -> Kind:
        """The kind of an object of this transaction or of the store."""
        known = self._known.get(oid.raw)
        return Kind(known) if known is not None else self._store.kind(oid)

    def has(self, oid: ObjectId) -> bool:
        """Whether an object is in this transaction or present in the store."""
        return oid.raw in self._known or self._store.has(oid)

    # --- the end ------------------------------------------------------------------------------

    def commit(self, again: Callable[[], None] | None = None) -> CommitResult:
        """Make everything visible, durably. Afterwards the transaction has ended.

        Args:
            again: Called when a ref does not hold what was expected: it looks at the refs again
                and plans their changes anew, and may put more. What was put stays.

        Raises:
            ConflictError: A ref does not hold what was expected, or a pack that this
                transaction relied on is gone. Nothing has changed; a new attempt may succeed.
            BackendError: The disk refused; nothing has changed.
        """
        self._check_open()
        if not self._lease.owned:
            raise TransactionClosedError(_FORKED)
        op = None
        try:
            rows = publish_packs(self._plan, self._packs, self._known)
            attempts = 1
            while rows or not self._plan.is_empty:
                try:
                    op = publish(self._store, self._plan, rows)
                    break
                except RefMovedError:
                    if again is None or attempts == _ATTEMPTS:
                        raise
                attempts += 1
                again()
                rows = publish_packs(self._plan, self._packs, self._known)
        except BaseException as error:
            try:
                if isinstance(error, ConflictError):
                    self._packs.retract()  # it is certain that no row names them
            except BackendError as failed:
                log.warning("left for gc: %s", failed)
            finally:
                self.abort()
            raise
        for row in rows:
            self._store.odb.add_written(row, self._packs.ids_in(row.id))
        self._store.remember(self._nodes, self._runs)
        self._end()
        return CommitResult.of(op, self.commit_id, rows, self._reused)

    def abort(self) -> None:
        """Drop everything; aborting twice, or after a commit, does nothing."""
        if self._open:
            try:
                self._packs.close()
            finally:
                self._end()

    def _end(self) -> None:
        self._open = False
        self._store.odb.let_go(self)
        self._end_seat()

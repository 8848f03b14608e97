"""Putting objects: what a transaction does with each blob, tree and run that it is given.

An object is hashed first. One that the transaction knows, or that stands in a live pack of its
snapshot, is not written again: it is relied on, and the commit sees to it that it stays. What is
new goes into the transaction's own packs. Nothing here decides what may be *named*: see
:mod:`n4a_store.repo.transaction`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import TYPE_CHECKING

from n4a_store.errors import CorruptionError, InvalidInputError
from n4a_store.objects.codec import decode_run, encode_run, unpack_entry
from n4a_store.objects.entry_names import normal_names
from n4a_store.objects.model import Run, Tree, TreeEntry, Value
from n4a_store.objects.oid import BLOB_SEED, BytesLike, Kind, ObjectId, raw_hash
from n4a_store.objects.trees import (
    TreeNode,
    decode_node,
    encode_packed,
    encode_tree,
    update_tree,
)
from n4a_store.odb.kept import KeptNodes
from n4a_store.packs.id_table import IdTable
from n4a_store.repo.commit import CommitPlan
from n4a_store.repo.packing import PackBuilder
from n4a_store.repo.reading import ObjectReader

if TYPE_CHECKING:
    from n4a_store.repo.store import Store

__all__ = ["PutsObjects"]


class PutsObjects(ObjectReader):
    """The part of a transaction that puts objects."""

    _store: Store
    _plan: CommitPlan
    _packs: PackBuilder
    _live: AbstractSet[str]
    _known: IdTable
    _nodes: KeptNodes
    _runs: dict[bytes, ObjectId]
    _reused: int

    @abstractmethod
    def _check_open(self) -> None:
        """Refuse a transaction that has ended."""

    @abstractmethod
    def _allow(self, child: TreeEntry | ObjectId | None) -> TreeEntry:
        """Make sure that ``child`` may be named."""

    @abstractmethod
    def _adopted_tree(self, oid: ObjectId) -> ObjectId:
        """A tree that may be read, or the one of a run's pipelines."""

    def put_blob(self, data: BytesLike, *, item_size: int = 1) -> ObjectId:
        """Put bytes.

        Args:
            data: Any contiguous buffer.
            item_size: Bytes per array item, a hint for compression that never changes the id.

        Raises:
            InvalidInputError: ``data`` is not a contiguous buffer.
            BackendError: The disk refused. What was put before is whole, and more may be put,
                unless half of it cannot be taken back: then all that follows raises as well.
        """
        self._check_open()
        return self._put(Kind.BLOB, _plain_bytes(data), item_size)

    def put_blobs(self, blobs: Sequence[tuple[BytesLike, int]]) -> list[bytes]:
        """As :meth:`put_blob` for the parts of one thing, in a fraction of the calls.

        Args:
            blobs: Contiguous buffers, each with its item size.

        Returns:
            The 32 bytes of each one's id.

        Raises:
            InvalidInputError: One is not a contiguous buffer; nothing has been put.
            BackendError: As there.
        """
        self._check_open()
        known, seed = self._known, BLOB_SEED
        ids, views = [], []
        for data, _ in blobs:
            view = data if type(data) is bytes else _plain_bytes(data)
            hasher = seed.copy()
            hasher.update(view)
            ids.append(hasher.digest())
            views.append(view)
        new: list[tuple[bytes, BytesLike, int]] = []
        changed: list[bytes] = []
        # Two may be equal: the place of either will do.
        places = {oid: at for at, oid in enumerate(ids)}
        unknown = known.lacking(places)
        if unknown:
            found = self._store.odb.find_packs(unknown, self._live) if self._live else {}
            for oid in unknown:
                pack_id = found.get(oid)
                if pack_id is None:
                    at = places[oid]
                    new.append((oid, views[at], blobs[at][1]))
                else:
                    self._plan.rely(pack_id, oid)
            changed = self._packs.add_all(Kind.BLOB, new)
            if changed:
                unknown = [oid for oid in unknown if oid not in changed]
            known.set_all(unknown, Kind.BLOB)
        self._reused += len(ids) - len(new)
        for at, oid in enumerate(ids) if changed else ():
            if oid in changed:  # somebody writes to it: what it is at one moment is put
                ids[at] = self._put(Kind.BLOB, bytes(views[at]), blobs[at][1]).raw
        return ids

    def put_packed(self, entries: Mapping[str, bytes]) -> ObjectId:
        """As :meth:`put_tree`, for a small tree whose entries are encoded already.

        Args:
            entries: At most :data:`~n4a_store.objects.trees.FANOUT_LIMIT` children by name, in
                the order of their names, each as its kind byte and its id.

        Raises:
            InvalidInputError: They are not that, or a child has another kind than stated.
            ObjectNotFoundError: A child does not exist.
        """
        self._check_open()
        data = encode_packed(entries)
        known = self._known.recent.get
        for packed in entries.values():
            if known(packed[1:]) != packed[0]:
                try:
                    entry = unpack_entry(packed)
                except CorruptionError as error:
                    raise InvalidInputError(str(error)) from None
                self._allow(entry)
        return self._put(Kind.TREE, data)

    def reuse_tree(self, oid: ObjectId) -> bool:
        """Put a tree of one object by its id alone, if it is here; whether it is.

        What it names must have been put or adopted: nothing is looked at below it. The shards of
        a large tree are below it as well, so such a tree is no matter for this.
        """
        self._check_open()
        if oid.raw not in self._known:
            if not self._rely(oid.raw):
                return False
            self._known[oid.raw] = Kind.TREE
        self._reused += 1
        return True

    def put_tree(
        self,
        entries: Mapping[str, TreeEntry | ObjectId | None] | Tree,
        attrs: Mapping[str, Value] | None = None,
        *,
        onto: ObjectId | None = None,
    ) -> ObjectId:
        """Put a tree of objects that are in this transaction or in the store; names become NFC.

        With ``onto``, an adopted tree or a run for its pipelines, the entries go into that one,
        and None takes a name out: its attributes stay, and only the nodes that change are read
        and written.

        Raises:
            InvalidInputError: A name cannot be stored, or a child has another kind than stated.
            ObjectNotFoundError: A child does not exist.
        """
        self._check_open()
        if isinstance(entries, Tree):
            attrs = entries.attrs if attrs is None else attrs
            entries = entries.entries
        emit = partial(self._put, Kind.TREE)
        named = normal_names(entries)
        if onto is not None:
            root = self.node(self._adopted_tree(onto))
            changes = {k: None if one is None else self._allow(one) for k, one in named.items()}
            return update_tree(root, changes, self.node, emit, self._remember)
        known = self._known.recent.get
        allowed = {
            name: one
            if type(one) is TreeEntry and known(one.oid.raw) == one.kind  # as nearly always
            else self._allow(one)
            for name, one in named.items()
        }
        return encode_tree(allowed, dict(attrs or {}), emit, self._remember)

    def _remember(self, oid: ObjectId, node: TreeNode) -> None:
        self._nodes.put(oid.raw, node)

    def put_run(self, run: Run) -> ObjectId:
        """Put a run object, whose pipelines tree is in this transaction or in the store.

        Raises:
            ObjectNotFoundError: Its pipelines tree does not exist.
            InvalidInputError: What stands for its pipelines is not a tree.
        """
        self._check_open()
        self._allow(TreeEntry(Kind.TREE, run.pipelines))
        oid = self._put(Kind.RUN, encode_run(run))
        self._runs[oid.raw] = run.pipelines
        return oid

    def put(self, kind: Kind, data: bytes, *, item_size: int = 1) -> ObjectId:
        """Put an object from its canonical bytes, after decoding and checking them.

        Args:
            item_size: Of a blob, as :meth:`put_blob` takes it.

        Raises:
            CorruptionError: ``data`` is not canonical for that kind.
            ObjectNotFoundError: A child does not exist.
        """
        if kind is Kind.BLOB:
            return self.put_blob(data, item_size=item_size)
        self._check_open()
        if kind is Kind.RUN:
            return self.put_run(decode_run(data))
        for entry in decode_node(data).entries.values():
            self._allow(entry)
        return self._put(Kind.TREE, data)

    def _put(self, kind: Kind, data: BytesLike, item_size: int = 1) -> ObjectId:
        oid = raw_hash(kind, data)
        if oid in self._known:
            self._reused += 1
            return ObjectId(oid)
        if self._live and self._rely(oid):
            self._reused += 1
        elif not self._packs.add(oid, kind, data, item_size):
            # Somebody writes to it: what it is at one moment is put.
            return self._put(kind, bytes(data), item_size)
        self._known[oid] = kind
        return ObjectId(oid)

    def _rely(self, oid: bytes) -> bool:
        """Rely on a live pack for ``oid``, if one of the snapshot has it."""
        pack_id = self._store.odb.find_pack(oid, self._live)
        if pack_id is None:
            return False
        self._plan.rely(pack_id, oid)
        return True


def _plain_bytes(data: BytesLike) -> BytesLike:
    try:
        return data if type(data) is bytes else memoryview(data).cast("B")
    except (TypeError, ValueError, BufferError) as error:
        raise InvalidInputError(f"a blob is a contiguous buffer of bytes: {error}") from error

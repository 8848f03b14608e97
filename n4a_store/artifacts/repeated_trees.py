"""Trees that a training puts again and again: their ids, by their entries.

A tree's id follows from its entries. Whoever has put the same tree before, into this store or
another, need not encode and hash it to learn its id. Only trees of one object are remembered: of a
large one, whose shards are objects too, the root may stand in a pack whose neighbours are gone.
"""

from __future__ import annotations

from collections.abc import Mapping

from n4a_store.objects.codec import unpack_entry
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import Kind, ObjectId, raw_hash
from n4a_store.objects.trees import FANOUT_LIMIT
from n4a_store.repo.transaction import Transaction

__all__ = ["put_again"]

_MOST = 8_192
_LONG = 512
_known: dict[bytes, ObjectId] = {}


def put_again(txn: Transaction, entries: Mapping[str, bytes]) -> ObjectId:
    """Put a tree without attributes; its id.

    Args:
        txn: The transaction, in which what the entries name has been put or adopted.
        entries: The children by name, in the order of their names, each encoded as
            :func:`~n4a_store.objects.codec.pack_child` does.
    """
    if len(entries) > FANOUT_LIMIT:
        return txn.put_tree(_unpacked(entries))
    # No name is empty or holds a NUL, so two of them end the names.
    key = b"".join(("\0".join(entries).encode(), b"\0\0", *entries.values()))
    if len(key) > _LONG:
        key = raw_hash(Kind.TREE, key)
    known = _known.get(key)
    if known is not None and txn.reuse_tree(known):
        return known
    made = txn.put_packed(entries)
    if known is None:
        if len(_known) >= _MOST:
            _known.clear()
        _known[key] = made
    return made


def _unpacked(entries: Mapping[str, bytes]) -> dict[str, TreeEntry]:
    return {name: unpack_entry(packed) for name, packed in entries.items()}

"""Trees that a training puts again and again: their ids, by those of their children.

A tree's id follows from its children. Whoever has put the same tree before, into this store or
another, need not encode and hash it to learn its id.
"""

from __future__ import annotations

from collections.abc import Callable

from n4a_store.objects.oid import Kind, ObjectId, raw_hash
from n4a_store.repo.transaction import Transaction

__all__ = ["put_again"]

_MOST = 8_192
_LONG = 512
_known: dict[bytes, ObjectId] = {}


def put_again(txn: Transaction, children: bytes, put: Callable[[], ObjectId]) -> ObjectId:
    """Put a tree that is made of ``children`` and nothing else; its id.

    Args:
        txn: The transaction, in which the children have been put or adopted.
        children: What tells this tree from all others, the children's ids included.
        put: Puts it.
    """
    key = children if len(children) <= _LONG else raw_hash(Kind.TREE, children)
    known = _known.get(key)
    if known is not None and txn.reuse_tree(known):
        return known
    made = put()
    if known is None:
        if len(_known) >= _MOST:
            _known.clear()
        _known[key] = made
    return made

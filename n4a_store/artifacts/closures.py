"""Copying an object with all below it from one transaction into another, each object once."""

from __future__ import annotations

from n4a_store.objects.children import raw_children
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.repo.transaction import Transaction

__all__ = ["copy_closure"]


def copy_closure(
    source: Transaction, txn: Transaction, tree: ObjectId, done: set[ObjectId] | None = None
) -> None:
    """Put an artifact's tree and all below it into ``txn``, children first.

    Args:
        source: Where they have been put, or are relied on.
        done: What has been put there by this before, for whoever copies several trees: they
            share what they depend on. What is put now is added.
    """
    done = set() if done is None else done
    waiting: list[tuple[ObjectId, Kind, bytes | None]] = [(tree, Kind.TREE, None)]
    while waiting:
        oid, kind, data = waiting.pop()
        if oid in done:
            continue
        if data is None and kind is not Kind.BLOB:
            data = source.get(oid)
            waiting.append((oid, kind, data))  # once what is below it has been put
            waiting.extend(
                (ObjectId(child), Kind(child_kind), None)
                for child_kind, child in raw_children(kind, data)
            )
            continue
        if data is None:
            txn.put_blob(source.view(oid), item_size=source.item_size(oid))
        else:
            txn.put(kind, data)
        done.add(oid)

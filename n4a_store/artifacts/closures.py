"""Copying an object with all below it from one transaction into another."""

from __future__ import annotations

from n4a_store.artifacts.payload import ObjectReader
from n4a_store.objects.children import raw_children
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.repo.transaction import Transaction

__all__ = ["copy_closure"]


def copy_closure(reader: ObjectReader, txn: Transaction, tree: ObjectId) -> None:
    """Put an artifact's tree and all below it into ``txn``, children first."""
    waiting = [(tree, Kind.TREE, False)]
    while waiting:
        oid, kind, expanded = waiting.pop()
        if kind is Kind.BLOB:
            txn.put_blob(reader.view(oid))
            continue
        data = reader.get(oid)
        if expanded:
            txn.put(kind, data)
            continue
        waiting.append((oid, kind, True))
        waiting.extend(
            (ObjectId(child), Kind(child_kind), False)
            for child_kind, child in raw_children(kind, data)
        )

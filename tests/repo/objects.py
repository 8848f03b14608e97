"""A few objects for tests of the repository, made through the public door."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from n4a_store import ObjectId, Store

__all__ = ["files", "spoil", "tag", "tag_blobs"]


def tag_blobs(store: Store, name: str, blobs: Mapping[str, bytes]) -> ObjectId:
    """Tag a tree of blobs; the id of the tree."""
    with store.transaction(f"tag {name}") as txn:
        tree = txn.put_tree({key: txn.put_blob(data) for key, data in blobs.items()})
        txn.set_ref(f"refs/tags/{name}", tree)
    return tree


def tag(store: Store, name: str, size: int = 2_000) -> bytes:
    """Tag a tree with one random blob in it; the blob's bytes."""
    data = os.urandom(size)
    tag_blobs(store, name, {"data": data})
    return data


def files(store: Store) -> Iterator[str]:
    """The names of all files and folders inside ``packs``, ``txn`` and ``leases``."""
    for folder in store.layout.folders():
        for path in sorted(folder.rglob("*")):
            yield str(path.relative_to(store.path))


def spoil(store: Store, oid: ObjectId) -> None:
    """Turn a bit in the stored bytes of an object; the store has to be opened again."""
    path = store.layout.pack(store.info(oid).pack)
    data = bytearray(path.read_bytes())
    data[data.index(oid.raw) + 60] ^= 1
    path.write_bytes(data)

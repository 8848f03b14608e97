"""All objects of a database, or those whose ids begin alike: in order, each once."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from n4a_store.odb.database import ObjectDatabase

__all__ = ["ids_with_prefix", "iter_ids"]


def ids_with_prefix(odb: ObjectDatabase, prefix: str) -> list[tuple[bytes, int]]:
    """The objects whose id in hex begins with ``prefix``: id and kind, sorted."""
    whole = bytes.fromhex(prefix[: len(prefix) // 2 * 2])
    odd = int(prefix[-1], 16) if len(prefix) % 2 else None
    found: dict[bytes, int] = {}
    for pack_id in odb.pack_ids:
        index = odb.reader(pack_id).index
        for position in range(*index.prefix_range(whole, odd)):
            oid = index.oid_at(position)
            if oid.hex().startswith(prefix):
                found[oid] = index.kinds[position]
    return sorted(found.items())


def iter_ids(odb: ObjectDatabase) -> Iterator[tuple[bytes, int]]:
    """All objects, sorted by id, without holding them all."""
    last = b""
    for oid, kind in heapq.merge(*(_in_pack(odb, pack_id) for pack_id in odb.pack_ids)):
        if oid != last:
            last = oid
            yield oid, kind


def _in_pack(odb: ObjectDatabase, pack_id: str) -> Iterator[tuple[bytes, int]]:
    index = odb.reader(pack_id).index
    for position in range(index.objects):
        yield index.oid_at(position), index.kinds[position]

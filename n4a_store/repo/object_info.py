"""What is known of an object without its payload: one value, made from a pack entry's header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.packs.entry import Codec, EntryHeader

__all__ = ["ObjectInfo"]


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What is known of an object without reading its payload.

    Args:
        size: Bytes of the object.
        stored_size: Bytes it takes in its pack, without its header.
        codec: How it is stored: raw, zstd, shuffle+zstd or delta.
        pack: The pack that it is read from.
        item_size: Bytes per array item, where it is stored item by item; else 1.
    """

    oid: ObjectId
    kind: Kind
    size: int
    stored_size: int
    codec: str
    pack: str
    item_size: int = 1

    @classmethod
    def of(cls, header: EntryHeader, pack: str) -> Self:
        """What an entry's header says."""
        codec = Codec(header.codec).label
        oid, kind = ObjectId(header.oid), Kind(header.kind)
        sizes = header.raw_length, header.stored_length
        return cls(oid, kind, *sizes, codec, pack, max(header.item_size, 1))

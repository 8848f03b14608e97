"""Copying objects from pack to pack, each verified on the way.

What is copied keeps its encoding. A delta stays one only if its base has come into the same new
pack before it, and not as a delta, as which another pack may hold it; otherwise it is expanded. So
no pack ever needs another to be read, and reading takes one hop.
"""

from __future__ import annotations

from collections.abc import Iterable

from n4a_store.errors import CorruptionError
from n4a_store.packs.entry import Codec
from n4a_store.packs.reader import PackReader
from n4a_store.repo.packing import PackBuilder

__all__ = ["changed_on_disk", "copy_objects"]


def changed_on_disk(oid: bytes) -> CorruptionError:
    """The error for what was sound when it was read, and is not what has been copied."""
    return CorruptionError(
        f"object {oid.hex()[:12]} changed on the disk while it was copied",
        hint="run: n4a-store fsck --full",
    )


def copy_objects(builder: PackBuilder, reader: PackReader, positions: Iterable[int]) -> None:
    """Copy the objects at ``positions`` of a pack.

    Raises:
        CorruptionError: One of them is damaged; what has been copied so far must not be used.
    """
    deltas = []
    for position in positions:
        entry = reader.stored_at(position)
        if entry.header.codec == Codec.DELTA:
            deltas.append(position)  # their bases come first
            continue
        reader.read_at(position)  # verifies it against its id, or raises
        builder.add_stored(entry)
    for position in deltas:
        entry = reader.stored_at(position)
        header = entry.header
        kind, raw = reader.read_at(position)
        if header.base is not None and builder.can_be_base(header.base):
            builder.add_delta(header, entry.stored, header.base)
        else:
            builder.add(header.oid, kind, raw, max(header.item_size, 1))

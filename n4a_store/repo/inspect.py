"""One pack by itself: every byte checked and every object listed, with or without a store.

Damage is collected, never raised: an inspection that stopped at the first bad byte would hide
how much is left. Only a file that is no pack at all is an error.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path

from n4a_store.errors import CorruptionError, StoreError
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.packs.entry import Codec
from n4a_store.packs.reader import PackReader
from n4a_store.storage.system import backend_errors

__all__ = ["PackInspection", "PackedObject", "inspect_pack"]


@dataclass(frozen=True, slots=True)
class PackedObject:
    """One object as it stands in a pack.

    Args:
        offset: Where its entry begins.
        size: Bytes of the object.
        stored_size: Bytes that it takes in the pack, without its header.
        codec: How it is stored.
    """

    offset: int
    oid: ObjectId
    kind: Kind
    size: int
    stored_size: int
    codec: str


@dataclass(frozen=True, slots=True)
class PackInspection:
    """What a pack holds, in file order, and what is wrong with it."""

    path: Path
    size: int
    objects: tuple[PackedObject, ...]
    damage: tuple[str, ...]


def inspect_pack(path: Path) -> PackInspection:
    """Read the pack at `path` whole: file hash, index, and each object against its id.

    Raises:
        BackendError: The file cannot be read.
        CorruptionError: It is not a pack, or has lost its head or foot.
        UnsupportedFormatError: It is a pack of a later version.
    """
    with backend_errors(f"read {path}"), path.open("rb") as file:
        if not path.stat().st_size:
            raise CorruptionError(f"pack {path.name}: it is empty")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    # The map is left to the garbage collector: views into it may outlive this call in an error.
    reader = PackReader(memoryview(mapped), path.name)
    damage: list[str] = []
    for check in (reader.verify_index, reader.verify_bytes):
        try:
            check()
        except StoreError as error:
            damage.append(error.message)
    objects: list[PackedObject] = []
    for position in range(len(reader)):
        try:
            header = reader.header_at(position)
            reader.read_at(position)
        except StoreError as error:
            damage.append(error.message)
            continue
        objects.append(
            PackedObject(
                header.offset,
                ObjectId(header.oid),
                Kind(header.kind),
                header.raw_length,
                header.stored_length,
                Codec(header.codec).label,
            )
        )
    objects.sort(key=lambda packed: packed.offset)
    return PackInspection(path, len(mapped), tuple(objects), tuple(damage))

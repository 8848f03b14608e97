"""What the table of small packs is made from: the order of packs, and their ids, read unmapped."""

from __future__ import annotations

from collections.abc import Container, Iterable

from n4a_store.errors import CorruptionError, UnsupportedFormatError
from n4a_store.packs.format import HEADER_BYTES
from n4a_store.packs.reader import end_bytes, ids_from_ends
from n4a_store.storage.files import read_ends
from n4a_store.storage.rows import PackRow

__all__ = ["among", "read_ids", "serial"]


def serial(pack_id: str) -> int:
    """Which pack of its owner it is, counted from the first; what else an id says is chance.

    Only the order of searching depends on it.
    """
    number = pack_id.rpartition("-")[2]
    return int(number) if number.isdecimal() and number.isascii() else 0


def read_ids(name: str, row: PackRow) -> list[bytes] | None:
    """The ids in a small pack, in order; None when the file is not as its row says, or is none."""
    try:
        first, last, size = read_ends(name, HEADER_BYTES, end_bytes(row.objects))
        return ids_from_ends(first, last, size) if size == row.stored_bytes else None
    except (FileNotFoundError, CorruptionError, UnsupportedFormatError):
        return None


def among(names: Iterable[str], allowed: Container[str] | None) -> Iterable[str]:
    """Those of the names that are allowed; None allows all."""
    return names if allowed is None else (name for name in names if name in allowed)

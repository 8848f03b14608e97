"""What the last gc found, kept in the catalog, so that statistics need not mark to tell.

A figure about orphans is as old as the gc that counted it; so it never goes without its date.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from n4a_store.errors import CorruptionError
from n4a_store.objects.codec import decode_value, encode_value
from n4a_store.storage.catalog_access import CatalogReader, CatalogWriter
from n4a_store.storage.clock import now_us

__all__ = ["GcRecord", "read_gc_record", "write_gc_record"]

_KEY = "last_gc"


@dataclass(frozen=True, slots=True)
class GcRecord:
    """The outcome of a gc.

    Args:
        at: When it ended.
        reachable: Objects that anything living reached.
        orphans: Objects that it left although no ref reaches them: undo may bring them back.
        orphan_bytes: Bytes that these take in their packs.
        bytes_freed: Bytes that it removed from the disk.
    """

    at: datetime
    reachable: int
    orphans: int
    orphan_bytes: int
    bytes_freed: int


def write_gc_record(
    writer: CatalogWriter, *, reachable: int, orphans: int, orphan_bytes: int, bytes_freed: int
) -> None:
    """Keep what a gc found that ends now."""
    fields = [now_us(), reachable, orphans, orphan_bytes, bytes_freed]
    writer.set_meta(_KEY, encode_value({"gc": list(fields)}))


def read_gc_record(reader: CatalogReader) -> GcRecord | None:
    """What the last gc found; None when there was none.

    Raises:
        CorruptionError: The record is damaged.
    """
    data = reader.find_meta(_KEY)
    if data is None:
        return None
    value = decode_value(data) if isinstance(data, bytes) else None
    fields = value.get("gc") if isinstance(value, dict) else None
    if not (isinstance(fields, list) and len(fields) == 5):  # noqa: PLR2004 - as written above
        raise CorruptionError("the catalog's record of the last gc is damaged")
    at_us, *counts = fields
    return GcRecord(datetime.fromtimestamp(at_us / 1_000_000, UTC), *counts)

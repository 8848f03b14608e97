"""Whether the catalog is the newest there was: nothing is deleted by an older one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from n4a_store.errors import CorruptionError
from n4a_store.storage.rows import PackRow, PinRow, ReflogRow, RefRow

if TYPE_CHECKING:
    from n4a_store.repo.store import Store

__all__ = ["check_catalog_age"]


def check_catalog_age(store: Store) -> None:
    """Refuse to delete by a catalog that is older than what was committed here.

    Raises:
        CorruptionError: It was put back from a backup, or the disk lost its newest commits.
    """
    noted, sequence = store.catalog.age()
    with store.catalog.read() as reader:
        reader.verify((RefRow, ReflogRow, PinRow, PackRow))  # what decides what is kept
    if noted is not None and noted > sequence:
        raise CorruptionError(
            f"the catalog of {store.path} is at operation {sequence}, and the store had come to "
            f"operation {noted} before; nothing was deleted",
            hint="the catalog was put back from a backup: see docs/howto/backup.md",
        )

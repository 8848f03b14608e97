"""Maintenance that runs by itself: merge packs when they pile up.

A training run leaves a pack for each pipeline. When a run ends and there are more small packs
than :data:`PACKS_BEFORE_REPACK`, they are merged, as ``git gc --auto`` would. In the midst of a
run it is done only where the settings ask for it (``repack_while_training``): a training is not to
wait for it, and takes no longer for having many packs. It never waits for a lock, and never
makes a run fail: what cannot be merged now is merged after the next one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from n4a_store.errors import StoreError
from n4a_store.repo.geometry import BATCH_BYTES, mergeable
from n4a_store.storage.rows import PackState

if TYPE_CHECKING:
    from n4a_store.repo.repack import RepackReport
    from n4a_store.repo.store import Store

__all__ = ["PACKS_BEFORE_REPACK", "maintain"]

log = logging.getLogger(__name__)

PACKS_BEFORE_REPACK = 50


def maintain(store: Store) -> RepackReport | None:
    """Merge packs if enough of them have piled up.

    Returns:
        What was done; None when there was no need, or somebody else is at it.
    """
    with store.catalog.read() as reader:
        rows = reader.packs((PackState.LIVE,))
    chosen = mergeable(rows, store.settings)
    if len(chosen) <= PACKS_BEFORE_REPACK:
        return None
    # Repacking needs numpy's company; a store with few packs does not.
    from n4a_store.repo.repack import repack

    try:
        if min(sum(row.stored_bytes for row in chosen), BATCH_BYTES) > store.ballast.free_bytes():
            # To find out by writing would fill the disk for everybody else.
            log.warning("packs were not merged: the disk has no room for copies of them")
            return None
        report = repack(store)
    except StoreError as error:
        # The run that has just ended is safe; damage found on the way is fsck's to report.
        log.warning("packs were not merged: %s", error)
        return None
    log.info("merged %d packs", len(report.merged))
    return report

"""Where a writer sits: its lease, the folder its packs grow in, and the names they get.

The order is the protocol. A writer that begins is first seen by gc as older than everything: by
a lease that says nothing yet. Only then does it read generation and live packs, and then it
publishes the generation. A seat is good for one transaction after another, as a run's pipelines
are: between two of them its lease *rests* and pins nothing, so that a run which trains all night
pins garbage for one pipeline's time. A rested lease says nothing again before the catalog is
read; to gc it is a new one.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass

from n4a_store.errors import BackendError, InvalidInputError
from n4a_store.repo.packing import PackBuilder
from n4a_store.settings import Settings
from n4a_store.storage.catalog import Catalog
from n4a_store.storage.files import remove_tree
from n4a_store.storage.layout import StoreLayout
from n4a_store.storage.leases import Lease, LeaseRole
from n4a_store.storage.live_packs import LivePacks
from n4a_store.storage.rows import RefRow

__all__ = ["Seat", "Snapshot"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a writer saw when it began.

    Args:
        generation: The newest condemnation.
        packs: What was live.
        builder: The packs that it will write.
        refs: The refs that it wanted to look at, those that there were.
    """

    generation: int
    packs: LivePacks
    builder: PackBuilder
    refs: dict[str, RefRow]


class Seat:
    """A writer's seat in one process, for one transaction at a time.

    Raises:
        BackendError: No lease can be taken.
    """

    def __init__(self, layout: StoreLayout, settings: Settings) -> None:
        self._layout = layout
        self._settings = settings
        self._builder: PackBuilder | None = None
        self._taken = False
        self.lease = Lease(layout.leases, LeaseRole.WRITER, shared_group=settings.shared_group)

    @property
    def held(self) -> bool:
        """Whether this process holds it; a forked child does not."""
        return self.lease.held

    @property
    def free(self) -> bool:
        """Whether a transaction may take it: one whose end was cut short has it still."""
        return self.held and not self._taken

    def take(self) -> None:
        """Take it for a transaction.

        Raises:
            InvalidInputError: It is another transaction's, whose packs it would no longer pin; or
                it has been left.
        """
        if self._taken or not self.lease.owned:
            what = "is another transaction's" if self._taken else "has been left"
            raise InvalidInputError(
                f"this seat {what}", hint="one seat serves one transaction after another"
            )
        self._taken = True

    def begin(self, catalog: Catalog, look_at: Collection[str] = ()) -> Snapshot:
        """Begin a transaction, and look at some refs; the seat has been taken for it."""
        self.lease.claim()
        with catalog.read() as reader:
            # The generation first: a pack that is condemned in between is then newer.
            generation, epoch = reader.generation(), reader.epoch()
            packs = reader.live_packs()
            refs = reader.refs_called(look_at) if look_at else {}
        self.lease.publish(generation, epoch)
        before = self._builder
        self._builder = PackBuilder(
            self._layout,
            self._settings,
            f"{epoch.hex()}-{self.lease.lease_id}",
            first=0 if before is None else before.next_number,
            has_folder=before is not None and before.has_folder,
        )
        return Snapshot(generation, packs, self._builder, refs)

    def rest(self) -> None:
        """End a transaction; the next one may begin here, if the lease can rest.

        The transaction has been committed, or dropped, by now: it cannot fail any more.
        """
        self._taken = False
        if self.held:
            if self._builder is not None and self._builder.leaves_files:
                self._clear()
            try:
                self.lease.rest()
            except BackendError as error:
                # It would go on to pin what its transaction did.
                log.warning("a writer's seat is left: %s", error)
                self.leave()

    def leave(self) -> None:
        """End a transaction, and with it the seat."""
        if self.held:
            self._clear()
        self.lease.release()

    def _clear(self) -> None:
        if self._builder is not None and self._builder.has_folder:
            try:
                remove_tree(self._builder.folder)
            except BackendError as error:
                log.warning("left for gc: %s", error)
            self._builder.has_folder = False

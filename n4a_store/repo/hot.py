"""What is hot: whatever is read so often that it must not become a difference from something else.

Only people know what that is, so they name it: the tag that predictions are made with. A compaction
leaves what it reaches as it was stored, and turns it back into that where an earlier one did not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from n4a_store.storage.rows import PackRow

if TYPE_CHECKING:
    from n4a_store.repo.mark import Marker
    from n4a_store.repo.store import Store

__all__ = ["Hot"]


class Hot:
    """The objects that some names reach.

    What is missing or damaged below them is not hot; it is fsck's to say so.

    Args:
        store: The store.
        rows: Its live packs.
        names: As :meth:`Store.resolve` takes them.

    Raises:
        NotFoundError: One of them stands for nothing.
    """

    def __init__(self, store: Store, rows: Iterable[PackRow], names: Iterable[str]) -> None:
        from n4a_store.repo.mark import Marker

        roots = [store.resolve_entry(name) for name in names]
        self._marker: Marker | None = None
        if roots:
            self._marker = Marker((row.id, store.odb.reader(row.id)) for row in rows)
            self._marker.mark((int(root.kind), root.oid.raw) for root in roots)

    def among(self, oids: Sequence[bytes]) -> set[int]:
        """The places in ``oids`` of those that are hot."""
        return set() if self._marker is None else self._marker.marked_among(oids)

"""The live packs as this process last saw them, so that a transaction need not read them all.

A training run leaves a pack a pipeline, and every transaction begins with the list of live packs.
The catalog keeps a sum over the hashes of each table's rows, in step with every commit: while the
sum of the table is the one that the list was read at, the rows are the same, and so is the list.
What a commit of this process changes is applied to the list, so that only the commits of others
make it be read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from n4a_store.storage.rows import PackRow, PackState, Summary

__all__ = ["LivePacks", "PackMemo"]


@dataclass(frozen=True, slots=True)
class LivePacks:
    """The live packs at one moment.

    Args:
        rows: Their rows, by id.
    """

    rows: dict[str, PackRow]

    @property
    def ids(self) -> AbstractSet[str]:
        """Their ids: a view, so that not each of them is touched; one of the caller's own."""
        return self.rows.keys()


class PackMemo:
    """What one connection's process knows of the live packs. Guarded by the catalog's mutex."""

    def __init__(self) -> None:
        self._summary: Summary | None = None
        self._live = LivePacks({})

    def at(self, summary: Summary, read: Callable[[], Iterable[PackRow]]) -> LivePacks:
        """The live packs of a table that adds up to ``summary``; ``read`` reads them."""
        if summary != self._summary:
            self._live = LivePacks({row.id: row for row in read()})
            self._summary = summary
        return self._live

    def known(self, summary: Summary) -> LivePacks | None:
        """The live packs of a table that adds up to ``summary``, if they need not be read."""
        return self._live if summary == self._summary else None

    def moved(
        self,
        before: Summary,
        after: Summary,
        changes: Iterable[tuple[PackRow | None, PackRow | None]],
    ) -> None:
        """A commit of this process has changed the table: rows as they were and as they are."""
        if before != self._summary:
            return  # others have committed since: it will be read again
        rows = dict(self._live.rows)
        for old, new in changes:
            if old is not None:
                rows.pop(old.id, None)
            if new is not None and new.state is PackState.LIVE:
                rows[new.id] = new
        self._live = LivePacks(rows)
        self._summary = after

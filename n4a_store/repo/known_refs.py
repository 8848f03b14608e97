"""Refs that need not be looked up again: nothing has been committed since they were."""

from __future__ import annotations

from collections.abc import Callable

from n4a_store.refs.refs import Ref
from n4a_store.storage.watch import CatalogWatch, Moment

__all__ = ["KnownRefs"]

_MOST = 4_096


class KnownRefs:
    """The refs of one store that were asked for since its last commit.

    Args:
        watch: Tells whether there was another.
        find: Asks the catalog.
    """

    def __init__(self, watch: CatalogWatch, find: Callable[[str], Ref | None]) -> None:
        self._watch = watch
        self._find = find
        self._known: tuple[Moment | None, dict[str, Ref | None]] = (None, {})

    def get(self, name: str) -> Ref | None:
        """The ref called ``name``, or None, as of now."""
        # In this order: what is read after the moment is at least as new as that.
        now = self._watch.moment()
        if now is None:
            return self._find(name)
        then, refs = self._known
        if then != now or len(refs) > _MOST:
            # Another thread goes on with the dictionary of its own moment.
            refs = {}
            self._known = (now, refs)
        try:
            return refs[name]
        except KeyError:
            found = refs[name] = self._find(name)
            return found

    def close(self) -> None:
        """Know nothing, and watch no longer."""
        self._known = (None, {})
        self._watch.close()

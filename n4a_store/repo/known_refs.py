"""Refs that need not be looked up again: nothing has been committed since they were.

Who asks for one ref after the other, in their order, is given the next ones beforehand: a look into
the catalog takes as long as reading ten rows of it.
"""

from __future__ import annotations

from n4a_store.errors import CorruptionError
from n4a_store.refs.names import check_ref_name
from n4a_store.refs.refs import Ref, from_row
from n4a_store.storage.catalog import Catalog
from n4a_store.storage.watch import CatalogWatch, Moment

__all__ = ["KnownRefs"]

_MOST = 4_096
_MOST_AHEAD = 64


class KnownRefs:
    """The refs of one store that were asked for since its last commit.

    Args:
        watch: Tells whether there was another.
        catalog: Is asked.
    """

    def __init__(self, watch: CatalogWatch, catalog: Catalog) -> None:
        self._watch = watch
        self._catalog = catalog
        self._known: tuple[Moment | None, dict[str, Ref | None]] = (None, {})
        self._ahead = (1, "")  # how many were read last, and the name of the one after them

    def get(self, name: str) -> Ref | None:
        """The ref called ``name``, or None, as of now.

        Raises:
            InvalidNameError: It cannot be the name of a ref.
        """
        # In this order: what is read after the moment is at least as new as that.
        now = self._watch.moment()
        if now is None:
            return self.find(name)
        then, refs = self._known
        if then != now or len(refs) > _MOST:
            # Another thread goes on with the dictionary of its own moment.
            refs = {}
            self._known = (now, refs)
        try:
            return refs[name]
        except KeyError:
            found = refs[name] = self._look_up(name, refs)
            return found

    def find(self, name: str) -> Ref | None:
        """As :meth:`get`, from the catalog itself."""
        checked = check_ref_name(name)
        with self._catalog.read() as reader:
            row = reader.ref(checked)
        return None if row is None else from_row(row)

    def _look_up(self, name: str, refs: dict[str, Ref | None]) -> Ref | None:
        """As :meth:`find`; fills in those that follow ``name`` if they were asked for in order."""
        checked = check_ref_name(name)
        last, following = self._ahead
        count = min(2 * last, _MOST_AHEAD) if checked == following else 1
        try:
            with self._catalog.read() as reader:
                rows = list(reader.refs_from(checked, count + 1))
            found = {row.name: from_row(row) for row in rows}
        except CorruptionError:
            return self.find(name)  # which damage to another row does not concern
        self._ahead = (1, "")
        if len(found) > count:
            # Not remembered: that it is asked for next is how an order shows.
            self._ahead = (count, found.popitem()[0])
        refs.update(found)
        return found.get(checked)

    def close(self) -> None:
        """Know nothing, and watch no longer."""
        self._known = (None, {})
        self._watch.close()

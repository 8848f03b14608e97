"""What a transaction is to do with refs and pins when it commits: kept in its plan until then.

There it stands as well what refs held from which something was adopted: the commit looks at them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from n4a_store.errors import InvalidInputError
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import ObjectId
from n4a_store.packs.id_table import IdTable
from n4a_store.refs.names import check_name_component, check_ref_name
from n4a_store.refs.refs import ANY, Expect, Ref, RefChange, from_row
from n4a_store.repo.commit import CommitPlan
from n4a_store.storage.rows import ReflogRow, RefRow

__all__ = ["PlannedRefs"]


class PlannedRefs(ABC):
    """The part of a transaction that plans changes of refs and pins, and notes what they held."""

    _plan: CommitPlan
    _known: IdTable
    _seen: dict[str, RefRow]

    @abstractmethod
    def _check_open(self) -> None:
        """Refuse a transaction that has ended."""

    @abstractmethod
    def _allow(self, child: TreeEntry | ObjectId | None) -> TreeEntry:
        """Make sure that ``child`` may be named."""

    def set_ref(self, name: str, target: ObjectId | TreeEntry, expect: Expect = ANY) -> None:
        """Plan to point a ref at an object.

        Args:
            name: The full name of the ref.
            target: An object of this transaction or of the store.
            expect: What the ref must hold when the transaction commits: an id; None, that it
                does not exist; :data:`ANY`, whatever.

        Raises:
            InvalidNameError: ``name`` cannot be the name of a ref.
            ObjectNotFoundError: The object does not exist.
        """
        self._check_open()
        checked = check_ref_name(name)
        self._change(checked, RefChange(self._allow(target), expect))

    def delete_ref(self, name: str, expect: Expect = ANY) -> None:
        """Plan to delete a ref. Its object stays as long as anything else reaches it.

        Raises:
            InvalidNameError: ``name`` cannot be the name of a ref.
        """
        self._check_open()
        self._change(check_ref_name(name), RefChange(None, expect))

    def _change(self, name: str, change: RefChange) -> None:
        if self._plan.held_for:
            raise InvalidInputError(
                "a worker's transaction changes no refs: its run does, when it adopts the pack"
            )
        self._plan.changes[name] = change

    def restore_ref(self, row: ReflogRow, entry: TreeEntry | None, expect: Expect) -> None:
        """Plan to set a ref back to the old side of a reflog entry, which keeps it alive.

        Args:
            row: The entry; the commit fails when it is gone by then.
            entry: Its old side; None deletes the ref.
            expect: What the ref must hold when the transaction commits.
        """
        self._check_open()
        if entry is not None:
            # The entry is a root itself, and the commit makes sure that it is there: what it
            # reaches stands in live packs.
            self._known[entry.oid.raw] = entry.kind
        self._plan.undoes.append(row)
        self._change(row.name, RefChange(entry, expect))

    def set_pin(self, name: str, target: ObjectId | TreeEntry) -> None:
        """Plan to keep an object and its closure alive without a ref; errors as `set_ref`."""
        self._check_open()
        self._plan.pins[check_name_component(name, "pin")] = self._allow(target)

    def delete_pin(self, name: str) -> None:
        """Plan to remove a pin; fine when there is none."""
        self._check_open()
        self._plan.pins[check_name_component(name, "pin")] = None

    def adopt_seen(self, ref: str, oid: ObjectId) -> bool:
        """Adopt what a ref held when this transaction began, provided that it was ``oid``.

        For a ref that it was told to look at then, which was after its lease was taken: what it
        reached cannot be dropped either. The commit notices if it has moved since.

        Returns:
            Whether it was; if not, nothing is adopted. No when it is asked again: whoever asks
            again has been told that the ref has moved.
        """
        self._check_open()
        row = self._seen.pop(ref, None)
        if row is None or row.oid != oid.raw:
            return False
        self._known[row.oid] = self._reached(row).kind
        return True

    def seen_ref(self, name: str) -> Ref | None:
        """What a ref held when this transaction began, for one that it was told to look at."""
        row = self._seen.get(name)
        return None if row is None else from_row(row)

    def _reached(self, row: RefRow) -> TreeEntry:
        """The root that a ref holds, from which something is about to be adopted."""
        name, entry = row.name, from_row(row).entry
        if self._plan.adopted.setdefault(name, entry.oid.raw) != entry.oid.raw:
            # It moved while we were adopting from it: no single value can vouch for both.
            self._plan.adopted[name] = b""
        return entry

"""From ids to numbers, for as many ids as a store has.

A dictionary takes some 200 bytes for each of a million ids. This takes 48: what was set last stands
in a small dictionary, and goes from there into sorted arrays, each at least twice as long as the
next, so that a look-up searches a handful of them at most.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from n4a_store.objects.oid import OID_BYTES
from n4a_store.packs.index import sorted_places

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["IdTable"]

_RECENT = 131_072
_HEAD = 8


class _Run:
    """Ids, sorted, and the number of each; read without numpy, whose scalars are slow.

    Args:
        ids: Their bytes, shape (ids, 32), sorted; no id twice.
        values: A number for each.
    """

    __slots__ = ("_bytes", "_keys", "_values", "ids", "values")

    def __init__(self, ids: NDArray[np.uint8], values: NDArray[np.uint64]) -> None:
        self.ids, self.values = ids, values
        self._keys = ids.view(">u8")[:, 0].astype("=u8").data
        self._bytes = ids.data.cast("B")
        self._values = values.data

    def __len__(self) -> int:
        return len(self.values)

    def get(self, oid: bytes) -> int | None:
        key = int.from_bytes(oid[:_HEAD], "big")
        keys = self._keys
        at = bisect_left(keys, key)
        while at < len(keys) and keys[at] == key:
            if self._bytes[OID_BYTES * at : OID_BYTES * (at + 1)] == oid:
                found: int = self._values[at]
                return found
            at += 1
        return None


class IdTable:
    """A mapping from ids (32 bytes) to numbers from 0 to 2^64 - 1; what is set stays.

    Args:
        most_recent: How many ids the dictionary may hold.
    """

    __slots__ = ("_limit", "_runs", "recent")

    def __init__(self, most_recent: int = _RECENT) -> None:
        self._limit = most_recent
        self.recent: dict[bytes, int] = {}
        """What was set last: to be asked directly where each call counts."""
        self._runs: list[_Run] = []

    def get(self, oid: bytes) -> int | None:
        """The number of an id, None when it has none."""
        found = self.recent.get(oid)
        if found is None and self._runs:
            for run in reversed(self._runs):  # what was set again stands in a later one
                found = run.get(oid)
                if found is not None:
                    break
        return found

    def __getitem__(self, oid: bytes) -> int:
        found = self.get(oid)
        if found is None:
            raise KeyError(oid)
        return found

    def __contains__(self, oid: bytes) -> bool:
        return oid in self.recent or (bool(self._runs) and self.get(oid) is not None)

    def __setitem__(self, oid: bytes, value: int) -> None:
        self.recent[oid] = value
        if len(self.recent) >= self._limit:
            self._sort()

    def add(self, oid: bytes) -> bool:
        """Give an id a number, unless it has one; whether it had none."""
        if oid in self:
            return False
        self[oid] = 0
        return True

    def absorb(self, other: IdTable) -> None:
        """Take over what ``other`` has, which has no id of those that stand here."""
        self._runs.extend(other._runs)
        for oid, value in other.recent.items():
            self[oid] = value

    def _sort(self) -> None:
        """Empty the dictionary into a run, and merge it with those that are not much longer."""
        import numpy as np

        count = len(self.recent)
        ids = np.frombuffer(b"".join(self.recent), dtype=np.uint8).reshape(count, OID_BYTES)
        values = np.fromiter(self.recent.values(), np.uint64, count)
        self.recent.clear()
        while self._runs and len(self._runs[-1]) < 2 * len(values):
            older = self._runs.pop()
            ids = np.concatenate((older.ids, ids))
            values = np.concatenate((older.values, values))
        order = sorted_places(ids)
        ids, values = ids[order], values[order]
        # Of two equal ids the later one counts, and the sort has left it behind the other.
        last = np.append((ids[1:] != ids[:-1]).any(axis=1), True)
        self._runs.append(_Run(ids[last], values[last]))

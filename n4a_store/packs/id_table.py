"""From ids to numbers, for as many ids as a store has.

A dictionary takes 120 to 200 bytes for each of a million ids. This takes 48 at rest, and 120 for
the moment in which it merges: what was set last stands in a small dictionary, and goes from there
into sorted arrays, each at least twice as long as the next, so that a look-up searches a handful of
them at most.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import TYPE_CHECKING

from n4a_store.objects.oid import OID_BYTES
from n4a_store.packs.index import sorted_places

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["IdTable"]

_RECENT = 131_072
_HEAD = 8
_FEW = 32  # so many are looked up one by one sooner than by numpy


class _Run:
    """Ids, sorted, and the number of each; read without numpy, whose scalars are slow.

    Args:
        ids: Their bytes, shape (ids, 32), sorted; no id twice.
        values: A number for each.
    """

    __slots__ = ("_bytes", "_keys", "_values", "heads", "ids", "values")

    def __init__(self, ids: NDArray[np.uint8], values: NDArray[np.uint64]) -> None:
        self.ids, self.values = ids, values
        self.heads = ids.view(">u8")[:, 0].astype("=u8")
        self._keys = self.heads.data
        self._bytes = ids.data.cast("B")
        self._values = values.data

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, at: int) -> bytes:
        return bytes(self._bytes[OID_BYTES * at : OID_BYTES * (at + 1)])

    def get(self, oid: bytes) -> int | None:
        key = int.from_bytes(oid[:_HEAD], "big")
        keys = self._keys
        at = bisect_left(keys, key)
        if at == len(keys) or keys[at] != key:
            return None
        if self[at] != oid:
            # Whoever writes a tree may name ids that share their head: no walk through them.
            at = bisect_left(self, oid, at, bisect_right(keys, key, at))
            if at == len(keys) or self[at] != oid:
                return None
        found: int = self._values[at]
        return found


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

    def lacking(self, oids: Iterable[bytes]) -> list[bytes]:
        """Those of ``oids`` that have no number, in their order."""
        recent = self.recent
        absent = [oid for oid in oids if oid not in recent]
        if not self._runs or not absent:
            return absent
        if len(absent) < _FEW:
            return [oid for oid in absent if self.get(oid) is None]
        import numpy as np

        # Of nearly all ids not even the first bytes stand in a run: that is seen of all at once.
        table = np.frombuffer(b"".join(absent), dtype=np.uint8).reshape(-1, OID_BYTES)
        heads = table.view(">u8")[:, 0].astype("=u8")
        alike = np.zeros(len(absent), dtype=bool)
        for run in self._runs:
            places = np.searchsorted(run.heads, heads)
            alike |= run.heads[np.minimum(places, len(run) - 1)] == heads
        return [
            oid
            for oid, is_alike in zip(absent, alike.tolist(), strict=True)
            if not is_alike or self.get(oid) is None
        ]

    def __setitem__(self, oid: bytes, value: int) -> None:
        self.recent[oid] = value
        if len(self.recent) >= self._limit:
            self._sort()

    def set_all(self, oids: Iterable[bytes], value: int) -> None:
        """Set many to one number."""
        self.recent.update(dict.fromkeys(oids, value))
        if len(self.recent) >= self._limit:
            self._sort()

    def add(self, oid: bytes) -> bool:
        """Give an id a number, unless it has one; whether it had none."""
        if oid in self:
            return False
        self[oid] = 0
        return True

    def forget_from(self, value: int) -> bool:
        """Forget the ids that were set last, each to more than the one before, from ``value`` on.

        Returns:
            Whether all of them could be forgotten: those that are sorted already stay.
        """
        recent = self.recent
        while recent:
            oid, number = recent.popitem()
            if number < value:
                recent[oid] = number
                return True
        return not any(len(run) and int(run.values.max()) >= value for run in self._runs)

    def absorb(self, other: IdTable) -> None:
        """Take over what ``other`` has, which has no id of those that stand here."""
        self._runs.extend(other._runs)
        self._runs.sort(key=len, reverse=True)  # those that were here keep their order
        for oid, value in other.recent.items():
            self[oid] = value

    def _sort(self) -> None:
        """Empty the dictionary into a run, and merge it with those that are not much longer.

        Nothing is forgotten before the new run is there.
        """
        import numpy as np

        count = len(self.recent)
        kept = len(self._runs)
        total = count
        while kept and len(self._runs[kept - 1]) < 2 * total:
            kept -= 1
            total += len(self._runs[kept])
        merged = self._runs[kept:]
        recent = np.frombuffer(b"".join(self.recent), dtype=np.uint8).reshape(count, OID_BYTES)
        ids = np.concatenate([*(run.ids for run in merged), recent])
        values = np.concatenate(
            [*(run.values for run in merged), np.fromiter(self.recent.values(), np.uint64, count)]
        )
        order = sorted_places(ids)
        ids, values = ids[order], values[order]
        words = ids.view(">u8")
        # Of equal ids the last one counts, and the sort leaves it behind the others.
        same = (words[1:] == words[:-1]).all(axis=1)
        if same.any():
            last = np.append(~same, True)
            ids, values = ids[last], values[last]
        self._runs[kept:] = [_Run(ids, values)]
        self.recent.clear()

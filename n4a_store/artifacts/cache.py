"""A cache of loaded objects: least recently used first out, bounded by count and by bytes.

It holds whatever was put in, ``None`` and other falsy objects too; whether something is there is
never told from its value. May be shared by threads.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from operator import index
from typing import Any, SupportsIndex

from n4a_store.artifacts.keyed import Keyed
from n4a_store.errors import InvalidInputError
from n4a_store.storage import forks

__all__ = ["MISSING", "CacheInfo", "ObjectCache"]


class _Missing:
    """The type of :data:`MISSING`."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()
"""What :meth:`ObjectCache.get` gives for what is not there."""


@dataclass(frozen=True, slots=True)
class CacheInfo(Keyed):
    """How a cache is doing.

    Args:
        size: Objects in it.
        max_size: Objects that it holds at most.
        bytes: Bytes of their payloads.
        max_bytes: Bytes that it holds at most.
        hits: Look-ups that found something.
        misses: Look-ups that did not.
        evictions: Objects that made way for others.
    """

    size: int
    max_size: int
    bytes: int
    max_bytes: int
    hits: int
    misses: int
    evictions: int

    @property
    def hit_rate(self) -> float:
        """The share of look-ups that found something; 0 before the first."""
        looked = self.hits + self.misses
        return self.hits / looked if looked else 0.0

    def keys(self) -> tuple[str, ...]:
        """The names of the values."""
        return (*Keyed.keys(self), "hit_rate")


class ObjectCache:
    """See the module.

    Args:
        max_size: Objects that it holds at most; 0 holds none.
        max_bytes: Bytes that it holds at most; a larger object is not kept at all.
    """

    def __init__(self, max_size: int, max_bytes: int) -> None:
        self._max_size = check_size(max_size)
        self._max_bytes = max_bytes
        self._items: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._mutex = threading.RLock()
        self._bytes = self._hits = self._misses = self._evictions = 0
        forks.tell_in_child(self)

    def _forget_threads(self) -> None:
        """In a forked child: a thread that is not here may have been in the middle of a change."""
        self._mutex = threading.RLock()
        self._bytes = sum(size for _, size in self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: Hashable) -> Any:
        """What is under ``key``, or :data:`MISSING`."""
        with self._mutex:
            item = self._items.get(key)
            if item is None:
                self._misses += 1
                return MISSING
            self._hits += 1
            if key in self._items:  # still: a signal handler may have kept others meanwhile
                self._items.move_to_end(key)
            return item[0]

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """Keep ``value``, whose payload has ``size`` bytes."""
        if not self._max_size:
            return
        with self._mutex:
            self._remove(key)
            if size <= self._max_bytes and self._max_size:
                # What a signal handler has put there in between is counted, and goes.
                if key in self._items:
                    self._bytes -= self._items[key][1]
                self._items[key] = (value, size)
                self._bytes += size
            self._shrink()

    def _remove(self, key: Hashable) -> None:
        item = self._items.pop(key, None)
        if item is not None:
            self._bytes -= item[1]

    def _shrink(self) -> None:
        while self._items and (len(self._items) > self._max_size or self._bytes > self._max_bytes):
            _, (_, size) = self._items.popitem(last=False)
            self._bytes -= size
            self._evictions += 1

    def resize(self, max_size: int) -> None:
        """Hold at most ``max_size`` objects from now on.

        Raises:
            InvalidInputError: Not a number from 0.
        """
        with self._mutex:
            self._max_size = check_size(max_size)
            self._shrink()

    def clear(self) -> None:
        """Forget everything, the statistics too."""
        with self._mutex:
            self._items.clear()
            self._bytes = self._hits = self._misses = self._evictions = 0

    def info(self) -> CacheInfo:
        """How it is doing."""
        with self._mutex:
            return CacheInfo(
                len(self._items),
                self._max_size,
                self._bytes,
                self._max_bytes,
                self._hits,
                self._misses,
                self._evictions,
            )


def check_size(size: SupportsIndex) -> int:
    """A number of objects.

    Raises:
        InvalidInputError: Not a number from 0.
    """
    try:
        number = -1 if isinstance(size, bool) else index(size)
    except TypeError:
        number = -1
    if number < 0:
        raise InvalidInputError(f"a cache size is a number from 0, not {size!r:.80}")
    return number

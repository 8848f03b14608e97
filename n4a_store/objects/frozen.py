"""A map that nobody changes: what frozen values hold.

A ``dict`` to whoever reads it, :mod:`json`, :func:`copy.deepcopy` and :func:`dataclasses.asdict`
included, which a mapping proxy is not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Generic, NoReturn, TypeVar

__all__ = ["FrozenMap"]

_K = TypeVar("_K")
_V = TypeVar("_V")


class FrozenMap(dict[_K, _V], Generic[_K, _V]):
    """See the module. Equal to a ``dict`` with the same items, and a NaN in it to any NaN.

    Raises:
        TypeError: Whenever it is to be changed.
    """

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("this map is part of a frozen value: copy it with dict(...) to change it")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __eq__(self, other: object) -> bool:
        # A NaN that was stored and read back is another object, and still the same parameter.
        if not isinstance(other, Mapping):
            return NotImplemented
        return dict.__eq__(self, other) is True or _same(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other if isinstance(other, Mapping) else NotImplemented

    __hash__ = None

    def __reduce__(self) -> tuple[Any, ...]:
        return (FrozenMap, (dict(self),))

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenMap[_K, _V]:
        from copy import deepcopy

        return FrozenMap({key: deepcopy(value, memo) for key, value in self.items()})

    def copy(self) -> dict[_K, _V]:
        """The same items in a map that can be changed."""
        return dict(self)

    @classmethod
    def of(cls, items: Mapping[_K, _V]) -> FrozenMap[_K, _V]:
        """``items``, as they are now."""
        return items if type(items) is cls else cls(items)


def _same(one: object, other: object) -> bool:
    """Whether two plain values are equal, where a NaN equals a NaN."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other

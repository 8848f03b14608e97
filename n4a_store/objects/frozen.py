"""A map that nobody changes: what frozen values hold.

A ``dict`` to whoever reads it, :mod:`json`, :func:`copy.deepcopy` and :func:`dataclasses.asdict`
included, which a mapping proxy is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, NoReturn, TypeVar

__all__ = ["FrozenMap"]

_K = TypeVar("_K")
_V = TypeVar("_V")


class FrozenMap(dict[_K, _V], Generic[_K, _V]):
    """See the module. Equal to a ``dict`` with the same items.

    Raises:
        TypeError: Whenever it is to be changed.
    """

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("this map is part of a frozen value: copy it with dict(...) to change it")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

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

"""Frozen results that also answer by key.

A result is a frozen dataclass; runners written for the roadmap's dictionaries read the same
fields as ``result["name"]``. Both doors show one value, and neither can change it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

__all__ = ["Keyed"]


class Keyed:
    """Reading by key for a dataclass: ``result["name"]``, ``in``, ``keys()``, ``dict(result)``."""

    __slots__ = ()

    def keys(self) -> tuple[str, ...]:
        """The names of the fields, in their order."""
        return tuple(field.name for field in fields(self))  # type: ignore[arg-type]

    def __getitem__(self, name: str) -> object:
        if name not in self.keys():
            raise KeyError(name)
        return getattr(self, name)

    def __contains__(self, name: object) -> bool:
        return name in self.keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def get(self, name: str, default: object = None) -> object:
        """The field ``name``, or ``default`` when there is no such field."""
        return getattr(self, name) if name in self.keys() else default

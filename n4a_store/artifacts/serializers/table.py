"""The table of serializers: which one writes an object, which one reads a format.

The first in the table that handles an object writes it. The decision is by type, is never made
by trying, and a failure of the one chosen is an error: nothing falls through to the next. Entry
points of the group ``n4a_store.serializers`` come before the built-in ones, sorted by name;
pickle comes last, because it takes everything.
"""

from __future__ import annotations

import functools
import sys
from importlib import metadata
from typing import Any

from n4a_store.artifacts.serializers.arrays import ArraySerializer
from n4a_store.artifacts.serializers.base import Serializer
from n4a_store.artifacts.serializers.boosting import (
    CatBoostSerializer,
    LightGbmSerializer,
    XgboostSerializer,
)
from n4a_store.artifacts.serializers.foreign import ForeignPickle, foreign_serializers
from n4a_store.artifacts.serializers.frames import ArrowSerializer, PolarsSerializer
from n4a_store.artifacts.serializers.keras_archive import KerasSerializer
from n4a_store.artifacts.serializers.pickle5 import Pickle5Serializer
from n4a_store.artifacts.serializers.soft_import import OfLibrary
from n4a_store.artifacts.serializers.torch_archive import (
    TorchModuleSerializer,
    TorchStateSerializer,
)
from n4a_store.errors import InvalidInputError, UnsupportedFormatError

__all__ = ["ENTRY_POINT_GROUP", "SerializerTable", "default_table"]

ENTRY_POINT_GROUP = "n4a_store.serializers"


class SerializerTable:
    """An ordered choice of serializers.

    Args:
        serializers: In order of precedence. The last one takes what no other does.

    Raises:
        InvalidInputError: Two of them have the same format name.
    """

    def __init__(self, serializers: tuple[Serializer, ...]) -> None:
        # Who writes, and the library without which there is nothing for it to write: a registration
        # asks nobody in vain, which would be a tenth of its calls.
        self._writers = tuple(
            (one.library if isinstance(one, OfLibrary) else None, one)
            for one in serializers
            if not isinstance(one, ForeignPickle)
        )
        self._by_format: dict[str, Serializer] = {}
        for serializer in serializers:
            if self._by_format.setdefault(serializer.format, serializer) is not serializer:
                raise InvalidInputError(
                    f"two serializers call their format {serializer.format!r}",
                    hint="a format's name is never shared; rename one or uninstall it",
                )

    @property
    def formats(self) -> tuple[str, ...]:
        """The names of the formats, in order of precedence."""
        return tuple(self._by_format)

    def known(self, name: str) -> Serializer | None:
        """The serializer that reads format ``name``, or None."""
        return self._by_format.get(name)

    def for_object(self, obj: Any, format_hint: str | None = None) -> Serializer:
        """The serializer that writes ``obj``.

        Args:
            obj: What is to be written.
            format_hint: The name of a format, to have that one and no other.

        Raises:
            InvalidInputError: No such format, or its serializer does not handle the object.
        """
        if format_hint is not None:
            return self._hinted(obj, format_hint)
        modules = sys.modules
        for library, serializer in self._writers:
            if (library is None or library in modules) and serializer.handles(obj):
                return serializer
        raise InvalidInputError(f"no serializer handles a {type(obj).__qualname__}")

    def _hinted(self, obj: Any, format_hint: str) -> Serializer:
        serializer = self._by_format.get(format_hint) if isinstance(format_hint, str) else None
        known = ", ".join(one.format for _, one in self._writers)
        if serializer is None:
            raise InvalidInputError(f"unknown format {format_hint!r:.80}", hint=f"one of {known}")
        if isinstance(serializer, ForeignPickle):
            raise InvalidInputError(
                f"format {format_hint!r} is read where it was imported, and not written",
                hint=f"leave format_hint out and the table chooses; written are: {known}",
            )
        if not serializer.handles(obj):
            raise InvalidInputError(
                f"format {format_hint!r} does not handle a {type(obj).__qualname__}",
                hint=f"leave format_hint out and the table chooses; written are: {known}",
            )
        return serializer

    def for_format(self, name: str) -> Serializer:
        """The serializer that reads format ``name``.

        Raises:
            UnsupportedFormatError: None here does.
        """
        serializer = self._by_format.get(name)
        if serializer is None:
            raise UnsupportedFormatError(
                f"format {name!r:.80} has no serializer here",
                hint="install the package that brings it; known: " + ", ".join(self._by_format),
            )
        return serializer


@functools.cache
def default_table() -> SerializerTable:
    """The table of this process: entry points, then what ships with the store."""
    points = sorted(metadata.entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name)
    return SerializerTable(
        (
            *(_loaded(point) for point in points),
            ArraySerializer(),
            XgboostSerializer(),
            LightGbmSerializer(),
            CatBoostSerializer(),
            PolarsSerializer(),
            ArrowSerializer(),
            # A keras model over torch is a torch module too.
            KerasSerializer(),
            TorchStateSerializer(),
            TorchModuleSerializer(),
            *foreign_serializers(),
            Pickle5Serializer(),
        )
    )


def _loaded(point: metadata.EntryPoint) -> Serializer:
    made = point.load()()
    if not isinstance(made, Serializer):
        raise InvalidInputError(
            f"entry point {point.name!r} ({point.value}) is not a serializer",
            hint="a class with format, extension, needs_trust, handles, dumps and loads",
        )
    return made

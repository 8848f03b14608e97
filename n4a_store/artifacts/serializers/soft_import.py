"""Libraries that may not be here: seen without importing them, imported when a payload asks.

An object of a library that nobody has imported does not exist, so choosing a serializer never
imports anything. Reading does, and tells a missing library from one that refuses the payload.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from n4a_store.errors import SerializationError, StoreError

__all__ = ["OfLibrary", "imported", "reading"]


class OfLibrary:
    """A serializer of one library's objects: not even asked before somebody has imported that.

    Attributes:
        library: Its name, as it is imported.
    """

    library: str


def imported(library: str) -> Any:
    """The library when somebody has imported it, else None."""
    return sys.modules.get(library)


@contextmanager
def reading(library: str, form: str) -> Iterator[Any]:
    """The library, while a payload of format ``form`` is read with it.

    Raises:
        SerializationError: It is not installed, or it raised anything of its own.
    """
    try:
        yield importlib.import_module(library)
    except ModuleNotFoundError as error:
        raise SerializationError(
            f"needs {error.name}, which is not installed here",
            hint=f"pip install {library}"
            if error.name == library
            else "install the library that the record's format_version names",
        ) from error
    except (StoreError, MemoryError):
        raise
    except Exception as error:
        # The library's own errors, of whatever class.
        raise SerializationError(
            f"cannot be read as {form}: {type(error).__name__}: {error}",
            hint=f"is {library} of the version that the record's format_version names?",
        ) from error

"""What an entry of a tree may be called: text without NUL and "/", of at most 1,024 bytes.

Unicode's normal form C is made where names come in and never checked when they are read: versions
of Unicode differ.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping
from typing import TypeVar

from n4a_store.errors import InvalidInputError

__all__ = ["MANY_NAMES", "MAX_NAME_BYTES", "check_entry_name", "check_entry_names", "normal_names"]

MAX_NAME_BYTES = 1024
MANY_NAMES = 16
"""From where on it pays to look at all names of a tree together."""
_TEXT = frozenset((str,))
Child = TypeVar("Child")


def check_entry_name(name: str) -> None:
    """Refuse a name that no tree entry may have.

    Raises:
        InvalidInputError: Not text, empty, too long, or holding NUL, "/" or surrogates.
    """
    if type(name) is not str or not name:
        raise InvalidInputError(f"a tree entry needs a name, not {name!r}")
    if len(name) <= MAX_NAME_BYTES and name.isascii() and "/" not in name and "\0" not in name:
        return  # as nearly all of them
    if "/" in name or "\0" in name:
        raise InvalidInputError(f"a tree entry's name holds no '/' and no NUL: {name!r:.80}")
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        raise InvalidInputError(f"a tree entry's name is text: {name!r:.80}") from None
    if size > MAX_NAME_BYTES:
        raise InvalidInputError(
            f"a tree entry's name has {size} bytes, at most {MAX_NAME_BYTES}: {name[:40]!r}…"
        )


def _are_plain(names: Collection[str]) -> bool:
    """Whether all of them are short ASCII names, as nearly always: they need no second look."""
    if not _TEXT.issuperset(map(type, names)):
        return False
    text = "".join(names)
    plain = text.isascii() and "/" not in text and "\0" not in text and "" not in names
    return plain and max(map(len, names)) <= MAX_NAME_BYTES


def check_entry_names(names: Collection[str]) -> None:
    """As :func:`check_entry_name`, for all names of a tree."""
    if len(names) < MANY_NAMES or not _are_plain(names):
        for name in names:
            check_entry_name(name)


def normal_names(entries: Mapping[str, Child]) -> Mapping[str, Child]:
    """The same entries with their names in Unicode's NFC, so that one text is one name.

    Raises:
        InvalidInputError: Two names are one then.
    """
    if _TEXT.issuperset(map(type, entries)) and "".join(entries).isascii():
        return entries
    normal = {
        unicodedata.normalize("NFC", name) if isinstance(name, str) else name: child
        for name, child in entries.items()
    }
    if len(normal) != len(entries):
        raise InvalidInputError("two tree entries have names that differ only in their encoding")
    return normal

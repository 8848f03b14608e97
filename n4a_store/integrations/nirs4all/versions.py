"""Which nirs4all this is written for, and whether that one is here.

The seams are not a plug-in interface: upstream may move them in any release. So a version that
has not been tested is refused, before anything of it is touched.
"""

from __future__ import annotations

import functools
from importlib import metadata

from n4a_store.errors import InvalidInputError, UnsupportedFormatError

__all__ = ["FIRST", "PROGRAM", "TESTED", "UNTESTED", "check_version", "running_version"]

FIRST, UNTESTED = (1, 4, 10), (1, 4, 11)
TESTED = "nirs4all >=1.4.10,<1.4.11"
PROGRAM = "nirs4all"


def check_version() -> str:
    """The version of nirs4all that is installed.

    Raises:
        InvalidInputError: None is.
        UnsupportedFormatError: It is not in the tested range.
    """
    try:
        version = metadata.version(PROGRAM)
    except metadata.PackageNotFoundError as error:
        raise InvalidInputError(
            f"nirs4all is not installed; tested with {TESTED}",
            hint="pip install 'n4a_store[nirs4all]'",
        ) from error
    if not FIRST <= _numbers(version) < UNTESTED:
        raise UnsupportedFormatError(
            f"nirs4all {version} is here; this works with {TESTED}",
            hint="pip install 'n4a_store[nirs4all]' installs that one",
        )
    return version


@functools.cache
def running_version() -> str:
    """The version of the nirs4all that this process runs; looked up once, for it is slow.

    Raises:
        As :func:`check_version`.
    """
    return check_version()


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version; a pre-release such as 1.4.11rc1 counts as 1.4.11."""
    numbers = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
        if digits != part:
            break
    return tuple(numbers)

"""A Ctrl-C that Python could not raise where it came is not lost.

Python raises :class:`KeyboardInterrupt` wherever the program happens to be. In a callback, such as
the one with which an import gives its lock up, nobody can catch it: Python reports it as ignored
and goes on. Here it is kept instead, and raised before the program next waits for its user.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

__all__ = ["keep_interrupts", "raise_kept_interrupt"]

_kept: list[KeyboardInterrupt] = []


def keep_interrupts() -> None:
    """From now on keep an interrupt that comes where it cannot be raised."""
    sys.unraisablehook = _keep


def _keep(args: UnraisableHookArgs) -> None:
    if isinstance(args.exc_value, KeyboardInterrupt):
        _kept.append(args.exc_value)
    else:
        sys.__unraisablehook__(args)


def raise_kept_interrupt() -> None:
    """Raise what was kept, if anything was; once.

    Raises:
        KeyboardInterrupt: Somebody pressed Ctrl-C a while ago.
    """
    if _kept:
        _kept.clear()
        raise KeyboardInterrupt

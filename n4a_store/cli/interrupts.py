"""A Ctrl-C that Python could not raise where it came is not lost.

Python raises :class:`KeyboardInterrupt` wherever the program happens to be. In a callback, such as
the one with which an import gives its lock up, nobody can catch it: Python reports it as ignored
and goes on. Here it is kept instead, and raised before the program next waits for its user. And one
that comes just before the program begins to wait, when nothing looks any more, ends the wait.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

__all__ = ["keep_interrupts", "raise_kept_interrupt", "wait_for_input"]

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


def wait_for_input(terminal: int) -> None:
    """Wait until somebody has typed a line.

    Python looks for signals before it reads and when the read is cut short. One that comes in
    between would be noticed at the next line only: so the wait is for the signal as well, which
    writes into a pipe the moment it comes.

    Args:
        terminal: The descriptor of a terminal.

    Raises:
        KeyboardInterrupt: Ctrl-C came first.
    """
    import os
    import select
    import signal

    raise_kept_interrupt()
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    try:
        while terminal not in select.select([terminal, told], [], [])[0]:
            os.read(told, 1)  # some other signal
    finally:
        signal.set_wakeup_fd(before)
        os.close(told)
        os.close(tell)

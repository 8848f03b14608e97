"""Children that are forked for a test, and cannot hang it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable


def child(work: Callable[[], None]) -> int:
    """Fork; the child does ``work`` and is killed when it hangs. Its pid."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return pid


def ended(pid: int) -> int:
    """Wait for a child; its exit status."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

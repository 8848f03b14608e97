"""The time of day, as it is stored. Nothing is decided by it but how long undo is kept."""

from __future__ import annotations

import time

__all__ = ["now_us"]


def now_us() -> int:
    """Microseconds since 1970; 0 where a clock stands before that."""
    return max(time.time_ns() // 1000, 0)

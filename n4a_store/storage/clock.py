"""The time of day, as it is stored. Nothing is decided by it but how long undo is kept."""

from __future__ import annotations

import time
from datetime import UTC, datetime

__all__ = ["fits_in_utc", "now_us"]


def now_us() -> int:
    """Microseconds since 1970; 0 where a clock stands before that."""
    return max(time.time_ns() // 1000, 0)


def fits_in_utc(stamp: str) -> bool:
    """Whether a date, if ``stamp`` is one, has a place in UTC: in the years 1 to 9999."""
    if not stamp.startswith(("0001", "9999")):
        return True
    try:
        datetime.fromisoformat(stamp).astimezone(UTC)
    except ValueError:
        return True  # not a date: text like any other
    except OverflowError:
        return False
    return True

"""Counting open files, so that a test can say that none was left behind."""

from __future__ import annotations

import gc
import os


def open_files() -> int:
    """How many descriptors this process holds, garbage of other tests aside."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def none_left_behind(before: int) -> bool:
    """Whether no more than ``before`` descriptors are open; collects garbage only in doubt."""
    return len(os.listdir("/proc/self/fd")) <= before or open_files() <= before

"""Progress of a run: a callback, and the bar that stands behind it on a terminal.

The bar goes to stderr, and only when that is a terminal; nothing else in the runner writes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from n4a_store.pipeline.run_result import PipelineOutcome

__all__ = ["Progress", "ProgressCallback", "terminal_bar"]

_WIDTH = 30
_INTERVAL = 0.1


@dataclass(frozen=True, slots=True)
class Progress:
    """A pipeline has ended.

    Args:
        done, total: How many of the run's pipelines have ended, and how many there are.
        outcome: How this one ended.
    """

    done: int
    total: int
    outcome: PipelineOutcome


ProgressCallback = Callable[[Progress], None]


def terminal_bar(stream: TextIO | None = None) -> ProgressCallback | None:
    """A bar on ``stream`` (stderr), or None when it is no terminal."""
    out = sys.stderr if stream is None else stream
    if not out.isatty():
        return None
    begun = time.monotonic()
    shown = 0.0
    failed = 0

    def show(progress: Progress) -> None:
        nonlocal shown, failed
        failed += bool(progress.outcome.error)
        now = time.monotonic()
        last = progress.done == progress.total
        if now - shown < _INTERVAL and not last:
            return
        shown = now
        filled = _WIDTH * progress.done // progress.total
        left = (now - begun) / progress.done * (progress.total - progress.done)
        said = f", {failed} failed" if failed else ""
        bar = "#" * filled + "." * (_WIDTH - filled)
        out.write(f"\r[{bar}] {progress.done}/{progress.total} pipelines{said}, {left:.0f} s left ")
        out.write("\n" if last else "")
        out.flush()

    return show

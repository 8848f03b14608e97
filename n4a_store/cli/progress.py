"""Progress on a terminal, and only there: share done, amounts, time left.

Nothing is drawn in the first moment, so that quick work leaves no flicker, nor off a terminal,
under `--quiet` or with `--json`. The line is wiped when the work ends, however it ends.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from n4a_store.cli.context import App
from n4a_store.cli.terminal import (
    ASCII_ELLIPSIS,
    ELLIPSIS,
    clip,
    columns,
    encodable,
    human_count,
    human_size,
    safe,
    wants_ascii,
)

Report = Callable[[int, int], None]
"""Called with how much is done and how much there is in all: bytes, or what is counted."""

_FIRST_SECONDS = 0.5
_SECONDS_BETWEEN = 0.1
_MINUTE = 60


class _Line:
    """One line on stderr that is drawn over itself."""

    def __init__(self, app: App, what: str, counted: str) -> None:
        self._stream = app.out.stderr
        self._what = what
        self._counted = counted
        self._begun = time.monotonic()
        self._next = self._begun + _FIRST_SECONDS
        self._drawn = False

    def report(self, done: int, total: int) -> None:
        now = time.monotonic()
        if not done:  # other work came before it, which says nothing of how fast this goes
            self._begun = now
        if now < self._next or not total:
            return
        self._next = now + _SECONDS_BETWEEN
        self._drawn = True
        encoding = getattr(self._stream, "encoding", None) or "ascii"
        text = progress_text(self._what, done, total, now - self._begun, counted=self._counted)
        # A line that wrapped could not be drawn over itself.
        width = (columns(is_terminal=True) or 80) - 1
        ellipsis = ASCII_ELLIPSIS if wants_ascii(os.environ, encoding) else ELLIPSIS
        text = clip(encodable(safe(text), encoding), width, ellipsis=ellipsis)
        self._stream.write(f"\r{text}\x1b[K")
        self._stream.flush()

    def wipe(self) -> None:
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


@contextmanager
def progress(app: App, what: str, *, counted: str = "") -> Iterator[Report | None]:
    """A function to report to, or None where nothing is to be drawn.

    Args:
        app: The program.
        what: What is being done, for the beginning of the line.
        counted: What is reported, in the plural; bytes when empty.
    """
    if app.json or app.out.quiet or not app.out.stderr.isatty():
        yield None
        return
    line = _Line(app, what, counted)
    try:
        yield line.report
    finally:
        line.wipe()


def marking(app: App, what: str) -> AbstractContextManager[Report | None]:
    """Progress of marking what a store's refs reach: every reclaiming command begins with it."""
    return progress(app, f"marking {what}", counted="objects")


def progress_text(what: str, done: int, total: int, seconds: float, *, counted: str = "") -> str:
    """`checking  45%  1.2 GiB of 2.6 GiB  0:12 left`, or `… 1 204 of 3 000 objects …`."""
    share = min(done / total, 1.0)
    amounts = f"{human_size(done)} of {human_size(total)}"
    if counted:
        amounts = f"{human_count(done)} of {human_count(total)} {counted}"
    text = f"{what}  {share:4.0%}  {amounts}"
    if 0 < share < 1 and seconds > 0:
        left = int(seconds * (1 - share) / share + 0.5)
        text += f"  {left // _MINUTE}:{left % _MINUTE:02} left"
    return text

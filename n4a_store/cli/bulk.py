"""Bulk input on stdin: one record per line, or per NUL byte with `-z`."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from functools import partial

from n4a_store.cli.interrupts import raise_kept_interrupt, wait_for_input

_CHUNK = 1 << 16


def records(*, nul: bool) -> Iterator[str]:
    """The records on stdin as they come, without their ends; a last unended one counts too.

    Bytes that are not UTF-8 arrive as surrogates, which the name rules then refuse by name.
    """
    stream = sys.stdin.buffer
    assert isinstance(stream, io.BufferedIOBase)
    if stream.isatty():
        # A terminal gives a line at a time, so nothing waits in the buffer.
        wait: Callable[[], None] = partial(wait_for_input, stream.fileno())
    else:
        wait = raise_kept_interrupt
    if not nul:
        while line := _read(stream.readline, wait):
            yield line.removesuffix(b"\n").decode("utf-8", "surrogateescape")
        return
    rest = b""
    # As much as there is: a script that asks one name at a time waits for the answer, and at a
    # terminal one Ctrl-D is the end.
    while chunk := _read(partial(stream.read1, _CHUNK), wait):
        *whole, rest = (rest + chunk).split(b"\0")
        for record in whole:
            yield record.decode("utf-8", "surrogateescape")
    if rest:
        yield rest.decode("utf-8", "surrogateescape")


def _read(read: Callable[[], bytes], wait: Callable[[], None]) -> bytes:
    wait()
    return read()

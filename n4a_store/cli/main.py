"""Where the program begins. The rest is imported within, so that Ctrl-C is 130 from the start.

A stream that the caller has closed is `/dev/null` from here on: empty input, output that nobody
wants. Its number must be taken, or the next file that is opened would get it, and with it all that
is meant for the stream.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from n4a_store.cli.interrupts import keep_interrupts


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the program with `argv` (default: the process's own) and exit."""
    keep_interrupts()
    _open_closed_streams()
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str]) -> int:
    """Run the program with `argv`; return its exit code. Writes to this process's streams."""
    try:
        from n4a_store.cli.program import run as run_program
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\n")
        return 130
    return run_program(argv)


def _open_closed_streams() -> None:
    if None not in (sys.stdin, sys.stdout, sys.stderr):
        return
    number = os.open(os.devnull, os.O_RDWR)  # a new file gets the lowest number that is free
    while number <= 2:  # noqa: PLR2004 - that of stderr
        number = os.dup(number)
    os.close(number)
    for name, at, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(at, mode, encoding="utf-8"))  # noqa: SIM115

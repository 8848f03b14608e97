"""Where the program begins. The rest is imported within, so that Ctrl-C is 130 from the start."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from n4a_store.cli.interrupts import keep_interrupts


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the program with `argv` (default: the process's own) and exit."""
    keep_interrupts()
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str]) -> int:
    """Run the program with `argv`; return its exit code. Writes to this process's streams."""
    try:
        from n4a_store.cli.program import run as run_program
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\n")
        return 130
    return run_program(argv)

"""Runs the real executable many times without starting Python each time.

A helper process imports what commands import and then waits. For each call it forks; the child
gets the call's own files (or a terminal of 80 columns) as its streams, its directory and words,
and executes the installed `n4a-store` script from its first line, as a shell would. So every call
is a process of its own that runs the executable; only the interpreter was warm.
"""

from __future__ import annotations

import json
import os
import pty
import runpy
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.cli.conftest import EXECUTABLE, Result

COLUMNS = 80


class Warm:
    """Calls of the executable; use it as a context manager."""

    def __init__(self) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("N4A_")}
        for name in ("NO_COLOR", "COLUMNS"):
            kept.pop(name, None)
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.warm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            env=kept | {"TERM": "xterm"},
        )

    def __enter__(self) -> Warm:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait(60)
        self._server.stdout.close()

    def __call__(
        self,
        *argv: str | Path,
        stdin: bytes = b"",
        cwd: Path | None = None,
        terminal: bool = False,
    ) -> Result:
        """Run the executable; on a terminal both streams come out as standard output."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            (place / "in").write_bytes(stdin)
            request = {
                "argv": [str(word) for word in argv],
                "cwd": str(cwd or place),
                "folder": folder,
                "terminal": terminal,
            }
            self._server.stdin.write(json.dumps(request).encode() + b"\n")
            self._server.stdin.flush()
            code = int(self._server.stdout.readline())
            return Result(code, (place / "out").read_bytes(), (place / "err").read_bytes())


def serve() -> None:
    """Answer requests on stdin until it ends."""
    import sqlite3  # noqa: F401 - only to have it loaded

    import numpy as np  # noqa: F401

    import n4a_store.artifacts.registry
    import n4a_store.cli.program  # noqa: F401

    for line in sys.stdin.buffer:
        code = _call(json.loads(line))
        sys.stdout.buffer.write(b"%d\n" % code)
        sys.stdout.buffer.flush()


def _call(request: dict[str, Any]) -> int:
    folder = Path(request["folder"])
    files = [folder / "in", folder / "out", folder / "err"]
    for path in files[1:]:
        path.touch()
    if not request["terminal"]:
        pid = os.fork()
        if pid == 0:
            streams = [os.open(path, os.O_RDWR) for path in files]
            _run(request, streams)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    pid, terminal = pty.fork()  # its input stays open and silent: whoever reads it would wait
    if pid == 0:
        os.environ["COLUMNS"] = str(COLUMNS)
        _run(request, [])
    said = b""
    with suppress(OSError):  # Linux says EIO when the other side has gone
        while data := os.read(terminal, 65_536):
            said += data
    os.close(terminal)
    files[1].write_bytes(said)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _run(request: dict[str, Any], streams: list[int]) -> None:
    """In the child: become the executable."""
    code = 70
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        # The streams of a process that has just begun.
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
        os.chdir(request["cwd"])
        sys.argv = [str(EXECUTABLE), *request["argv"]]
        try:
            runpy.run_path(str(EXECUTABLE), run_name="__main__")
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    serve()

"""Run a program and record, in order, every call by which it changes files below a folder.

``recorder.c`` is compiled when it is needed and loaded into the program before libc, so what is
recorded is what the real code did, SQLite included. Without a C compiler there is no recording;
callers say so instead of passing.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Call", "RecorderMissing", "fail", "note", "record", "run_recorded"]

_SOURCE = Path(__file__).with_name("recorder.c")
_HEAD = struct.Struct("<IIIQQ")


class RecorderMissing(Exception):
    """This machine cannot record: the message says why."""


@dataclass(frozen=True, slots=True)
class Call:
    """One recorded call; ``recorder.c`` says what the fields hold for each kind.

    Args:
        kind: C create, W write, T truncate, F fsync, R rename, U unlink, L link, M mkdir,
            D rmdir, N note.
    """

    kind: str
    inode: int
    at: int
    a: bytes
    b: bytes

    @property
    def path(self) -> str:
        """The first path, or the text of a note."""
        return self.a.decode()

    @property
    def target(self) -> str:
        """The second path."""
        return self.b.decode()


def note(text: str) -> None:
    """In a program that is being recorded: leave a note between its calls."""
    import ctypes

    ctypes.CDLL(None).n4a_note(text.encode())


def fail(more: int, error: int) -> int:
    """In a program that is being recorded: let the call after ``more`` others fail.

    Args:
        more: How many calls succeed before it; negative: none fails.
        error: The errno.

    Returns:
        What was left of the number given before; negative when that call has failed.
    """
    import ctypes

    left: int = ctypes.CDLL(None).n4a_fail(ctypes.c_long(more), error)
    return left


def run_recorded(
    arguments: Sequence[str], root: Path, folder: Path, *, log: bool
) -> subprocess.CompletedProcess[str]:
    """Run a Python program under the recorder.

    Args:
        arguments: What follows ``python`` on the command line.
        root: An existing folder; only what happens inside counts.
        folder: For the compiled recorder and its log, outside of ``root``.
        log: Whether to write the log; without it the program can still :func:`fail`.

    Raises:
        RecorderMissing: There is no C compiler.
    """
    environ = {
        **os.environ,
        "LD_PRELOAD": str(_compile(folder)),
        "N4A_RECORD": str(folder / "calls") if log else os.devnull,
        "N4A_RECORD_ROOT": str(root),
    }
    return subprocess.run(
        [sys.executable, *arguments], env=environ, check=False, capture_output=True, text=True
    )


def _compile(folder: Path) -> Path:
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None or not sys.platform.startswith("linux"):
        raise RecorderMissing("recording system calls needs Linux and a C compiler (cc)")
    library = folder / "recorder.so"
    done = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", library, _SOURCE, "-ldl", "-lpthread"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RecorderMissing(f"{compiler} cannot compile the recorder: {done.stderr[-2000:]}")
    return library


def record(arguments: Sequence[str], root: Path, folder: Path) -> list[Call]:
    """Run a Python program and return what it did below ``root``.

    Args:
        arguments: What follows ``python`` on the command line.
        root: An existing folder; only what happens inside is recorded.
        folder: For the compiled recorder and its log, outside of ``root``.

    Raises:
        RecorderMissing: There is no C compiler, or the program cannot be recorded.
        subprocess.CalledProcessError: The program failed.
    """
    run_recorded(arguments, root, folder, log=True).check_returncode()
    log = folder / "calls"
    calls = list(_read(log.read_bytes())) if log.exists() else []
    if not any(call.kind == "F" for call in calls):
        raise RecorderMissing("this Python does not let its calls be recorded (static libc?)")
    return calls


def _read(data: bytes) -> Iterator[Call]:
    at = 0
    while at < len(data):
        kind, a_bytes, b_bytes, inode, offset = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        a, b = data[at : at + a_bytes], data[at + a_bytes : at + a_bytes + b_bytes]
        at += a_bytes + b_bytes
        yield Call(chr(kind), inode, offset, a, b)

"""A program on a pseudo-terminal of its own, typed at and listened to.

It leads a session whose terminal this is, so a typed Ctrl-C reaches it as it would from a keyboard.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

CTRL_C = b"\x03"
CTRL_D = b"\x04"
_PATIENCE = 60.0  # seconds; nothing here takes one


class Terminal:
    """A terminal with a program in it; use it as a context manager."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        columns: int = 80,
        env: Mapping[str, str] | None = None,
        stdout: int | None = None,
    ) -> None:
        self._master, self._slave = pty.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("N4A_")}
        for name in ("NO_COLOR", "COLUMNS"):
            kept.pop(name, None)
        self.said = b""
        self.process = subprocess.Popen(
            [str(word) for word in argv],
            stdin=self._slave,
            stdout=self._slave if stdout is None else stdout,
            stderr=self._slave,
            cwd=cwd,
            env=kept | {"TERM": "xterm"} | dict(env or {}),
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 - it makes one system call, no more
        )

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._slave)
        os.close(self._master)

    def type(self, keys: bytes) -> None:
        """Type, and wait until the program has taken every whole line of it."""
        echoed = len(self.said) + len(keys.replace(CTRL_D, b""))
        os.write(self._master, keys)
        end = time.monotonic() + _PATIENCE
        # The terminal hands keys on when it has echoed them, which it does at once.
        while len(self.said) < echoed:
            assert time.monotonic() < end, self.said
            self._listen(0.01)
        while self._waiting() and self.process.poll() is None:
            assert time.monotonic() < end, "nobody reads what was typed"
            self._listen(0.01)

    def hear(self, text: bytes) -> None:
        """Wait until the program has said this."""
        end = time.monotonic() + _PATIENCE
        while text not in self.said:
            assert time.monotonic() < end, self.said
            assert self.process.poll() is None or self._listen(0), self.said
            self._listen(0.05)

    def end(self) -> int:
        """Wait until the program ends; its exit code."""
        end = time.monotonic() + _PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < end, self.said
            self._listen(0.02)
        while self._listen(0):
            pass
        return self.process.returncode

    @property
    def plain(self) -> list[str]:
        """What it said without colours, with what was typed, which a terminal echoes."""
        text = re.sub(r"\x1b\[[0-9;]*[mK]", "", self.said.decode())
        return text.replace("\r\n", "\n").split("\n")[:-1]

    def _waiting(self) -> int:
        """Bytes of whole lines that were typed and not read."""
        answer = fcntl.ioctl(self._slave, termios.FIONREAD, bytes(4))
        return int.from_bytes(answer, "little")

    def _listen(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], seconds)
        if not ready:
            return False
        self.said += os.read(self._master, 65_536)
        return True


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)

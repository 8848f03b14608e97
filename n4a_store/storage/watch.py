"""Whether anything was committed since one last looked, told by two system calls.

A commit writes to the catalog's file and then, before it is acknowledged, leaves its number in
the file of the commit lock. Two equal :meth:`CatalogWatch.moment` therefore have no acknowledged
commit between them. The file's time alone would not do, because the kernel's clock stands still
for milliseconds; nor would the number, which a process may fail to leave. The catalog itself is
not opened: closing it would drop SQLite's locks.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["CatalogWatch", "Moment"]

_NOTE_BYTES = 64
Moment = tuple[int, int, int, bytes]


class CatalogWatch:
    """Watches the catalog of one store. May be shared by threads and survives a fork.

    Args:
        catalog: The catalog's file.
        commit_lock: The file of the commit lock.
    """

    def __init__(self, catalog: Path, commit_lock: Path) -> None:
        self._catalog = str(catalog)
        self._commit_lock = str(commit_lock)
        self._fd = -1

    def moment(self) -> Moment | None:
        """The state of the catalog, as something to compare; None when it cannot be told."""
        try:
            fd = self._fd
            note = os.pread(fd if fd >= 0 else self._opened(), _NOTE_BYTES, 0)
            found = os.stat(self._catalog)
        except OSError:
            return None  # whoever asks the catalog itself learns why
        return found.st_mtime_ns, found.st_size, found.st_ino, note

    def _opened(self) -> int:
        if self._fd < 0:
            fd = os.open(self._commit_lock, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            if self._fd < 0:
                self._fd = fd
            else:  # another thread was faster
                os.close(fd)
        return self._fd

    def close(self) -> None:
        """Watch no longer; closing twice is fine."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with suppress(OSError):
                os.close(fd)

    def __del__(self) -> None:
        self.close()

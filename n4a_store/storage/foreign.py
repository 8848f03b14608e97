"""Files that others have made: what is opened is the file itself, and it is believed last.

No link is followed and no pipe waited for. A large file takes no memory before its hash is known
to be the one that was declared: a sparse one of any size costs its sender nothing.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from io import BufferedReader

from n4a_store.errors import InvalidInputError
from n4a_store.storage.system import backend_errors

__all__ = ["open_foreign", "read_verified"]

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_AT_ONCE = 16 * 1024 * 1024


def open_foreign(path: str | os.PathLike[str], folder: int | None = None) -> BufferedReader:
    """A regular file, open for reading.

    Args:
        path: Where.
        folder: An open folder that the path begins in.

    Raises:
        InvalidInputError: It is a link, or no regular file.
        OSError: It cannot be opened.
    """
    try:
        fd = os.open(path, _FILE, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise InvalidInputError(f"{os.fspath(path)} is no regular file but a link") from error
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise InvalidInputError(f"{os.fspath(path)} is no regular file")
    return open(fd, "rb")


def read_verified(path: str | os.PathLike[str], sha256: str) -> bytes | None:
    """The content of a file, or None when its SHA-256 is not ``sha256``, in hex digits.

    Raises:
        InvalidInputError: It is no regular file, or does not fit into memory.
        BackendError: It cannot be read.
    """
    with backend_errors(f"read {os.fspath(path)}"), open_foreign(path) as file:
        if os.fstat(file.fileno()).st_size > _AT_ONCE:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                return None
            file.seek(0)
        try:
            data = file.read()
        except MemoryError as error:
            raise InvalidInputError(f"{os.fspath(path)} does not fit into memory") from error
    return data if hashlib.sha256(data).hexdigest() == sha256 else None

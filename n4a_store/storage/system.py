"""Every call that changes the disk or takes a lock, in one place, each announced before it runs.

An observer is told the step and the path it concerns and may raise in its stead. That is how the
test kit records a protocol, injects faults, and schedules processes step by step on the real
code; without an observer it costs one comparison. Every ``OSError`` leaves here as it is: the
callers, who know what they were doing, turn it into a :class:`BackendError`.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import resource
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from n4a_store.errors import BackendError, StoreError
from n4a_store.storage import fork_gate

__all__ = [
    "ErrorsAs",
    "Holder",
    "Observer",
    "allow_more_files",
    "as_backend_error",
    "backend_errors",
    "free_bytes",
    "has_room",
    "hint_for_opening",
    "is_broken",
    "is_full",
    "is_refusal",
    "is_short",
    "observe",
    "step",
]

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0
_GROUP_WRITE = 0o020
_REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS)
_FULL = (errno.ENOSPC, errno.EDQUOT)
Observer = Callable[[str, str], None]
Raised = TypeVar("Raised", bound=BaseException)
About = TypeVar("About")
_observer: Observer | None = None


def observe(observer: Observer | None) -> Observer | None:
    """Set the observer of this process and return the one before it."""
    global _observer
    previous, _observer = _observer, observer
    return previous


def step(name: str, path: str) -> None:
    """Announce the step ``name`` on ``path``."""
    if _observer is not None:
        _observer(name, path)


class ErrorsAs(Generic[Raised, About]):
    """A block whose errors of some kinds leave it as one of ours.

    A class and no generator: a commit enters some fifty such blocks.

    Args:
        kinds: Which errors.
        make: Makes ours of one of them, and of ``about``.
        about: What the block is about.
    """

    __slots__ = ("_about", "_kinds", "_make")

    def __init__(
        self,
        kinds: tuple[type[Raised], ...],
        make: Callable[[About, Raised], StoreError],
        about: About,
    ) -> None:
        self._kinds, self._make, self._about = kinds, make, about

    def __enter__(self) -> None:
        """Nothing is to be done before."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None and isinstance(error, self._kinds):
            raise self._make(self._about, error) from error


def backend_errors(doing: str) -> ErrorsAs[OSError, str]:
    """Turn an ``OSError`` into a :class:`BackendError` that says what was being done."""
    return ErrorsAs((OSError,), as_backend_error, doing)


def as_backend_error(doing: str, error: OSError) -> BackendError:
    """What :func:`backend_errors` makes of an error."""
    return BackendError(f"cannot {doing}: {error.strerror or error}", hint=_hint(error))


def hint_for_opening() -> str | None:
    """What to do where no file at all can be opened; None where some can."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return _hint(error)
    return None


def _hint(error: OSError) -> str | None:
    hints = {
        errno.ENOSPC: "free some space; the store is as it was before",
        errno.EDQUOT: "free some quota; the store is as it was before",
        errno.EROFS: "the file system is read-only",
        errno.EACCES: "check the permissions of the store's folder",
        errno.EPERM: "check the permissions of the store's folder",
        errno.EIO: "the disk reports an error: check its health, then run n4a-store fsck --full",
        errno.EMFILE: "raise the limit on open files (ulimit -n)",
        errno.ENFILE: "the system has too many open files: close some programs, or raise its limit",
        errno.ENOMEM: "free memory, raise the limit on it (ulimit -v), or run: n4a-store repack",
    }
    return hints.get(error.errno or 0)


def is_refusal(error: BackendError) -> bool:
    """Whether ``error`` says that this user may not write there, or that nobody may."""
    return _is_one_of(error, _REFUSALS)


def is_full(error: BackendError) -> bool:
    """Whether ``error`` says that there is no room left: on the disk, or in a quota."""
    return _is_one_of(error, _FULL)


def free_bytes(folder: str) -> int:
    """Bytes that the file system of ``folder`` has free for this user; not what a quota leaves."""
    free = os.statvfs(folder)
    return free.f_bavail * free.f_frsize


def has_room(folder: str, size: int) -> bool:
    """Whether ``size`` bytes can be written in ``folder`` now, by this user and within its quota.

    No step, because it leaves nothing: the file that it asks with never has a name. A file system
    without such files only says what it has free.
    """
    if free_bytes(folder) < size:
        return False
    try:
        fd = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        return True
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        return error.errno not in _FULL
    finally:
        os.close(fd)
    return True


def is_broken(error: BackendError) -> bool:
    """Whether ``error`` says that the disk itself is."""
    return _is_one_of(error, (errno.EIO,))


def is_short(error: BackendError) -> bool:
    """Whether ``error`` says that this process has as many files open or mapped as it may."""
    return _is_one_of(error, (errno.EMFILE, errno.ENFILE, errno.ENOMEM))


def _is_one_of(error: BackendError, numbers: tuple[int, ...]) -> bool:
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in numbers


def allow_more_files() -> None:
    """Let this process have as many files open as it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Holder(Protocol):
    """Who has a descriptor that will carry a lock, and closes its copy in a forked child."""

    _fd: int


def open_new(path: str, mode: int, holder: Holder | None = None) -> int:
    """Create ``path``, which must not exist, for reading and writing."""
    step("create", path)
    return _open(path, os.O_EXCL, mode, holder)


def open_or_create(path: str, mode: int, holder: Holder | None = None) -> int:
    """Open ``path`` for reading and writing, creating it if need be; a link is not followed."""
    step("open", path)
    # A pipe in its place is not waited for.
    return _open(path, os.O_NOFOLLOW | os.O_NONBLOCK, mode, holder)


def _open(path: str, flags: int, mode: int, holder: Holder | None) -> int:
    flags |= os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    if holder is None:
        fd = os.open(path, flags, mode)
    else:
        with fork_gate.undivided():  # no child has it without its holder
            fd = holder._fd = os.open(path, flags, mode)
    _share(fd, mode)
    return fd


def close(holder: Holder) -> None:
    """Close what it holds, if it does."""
    with fork_gate.undivided():
        # Forgotten first, and with no call in between: the number may soon be another file's.
        fd, holder._fd = holder._fd, -1
        if fd >= 0:
            os.close(fd)


def _share(fd: int, mode: int) -> None:
    """Give an own file to its group as well, where that is wanted: the umask took it away."""
    if mode & _GROUP_WRITE:
        found = os.fstat(fd)
        if found.st_uid == os.geteuid() and not found.st_mode & _GROUP_WRITE:
            os.fchmod(fd, mode)


def write(fd: int, data: bytes | bytearray | memoryview, path: str) -> None:
    """Append all of ``data``."""
    step("write", path)
    view = memoryview(data).cast("B")
    while len(view):
        view = view[os.write(fd, view) :]


def write_at(fd: int, data: bytes, offset: int, path: str) -> None:
    """Write a few bytes in place with one call."""
    step("write", path)
    os.pwrite(fd, data, offset)


def truncate(fd: int, length: int, path: str) -> None:
    """Cut a file of our own, and go on writing there."""
    step("truncate", path)
    os.ftruncate(fd, length)
    os.lseek(fd, length, os.SEEK_SET)


def fsync(fd: int, path: str) -> None:
    """Make the content of a file, or the names in a folder, survive a power cut."""
    step("fsync", path)
    os.fsync(fd)


def rename(source: str, target: str) -> None:
    """Give a file its final name."""
    step("rename", target)
    os.rename(source, target)


def link(source: str, target: str) -> None:
    """Give a file a second name."""
    step("link", target)
    os.link(source, target)


def unlink(path: str, folder: int | None = None) -> None:
    """Remove a file's name: from the open ``folder`` that it stands in, where there is one."""
    step("unlink", path)
    os.unlink(path if folder is None else os.path.basename(path), dir_fd=folder)


def mkdir(path: str, mode: int) -> None:
    """Create a folder."""
    step("mkdir", path)
    os.mkdir(path, mode)
    if mode & _GROUP_WRITE:
        os.chmod(path, mode)  # the umask and mkdir itself take group bits away


def share_file(path: str, mode: int) -> None:
    """Set the mode of a file that another library created."""
    step("chmod", path)
    os.chmod(path, mode)


def rmdir(path: str, folder: int | None = None) -> None:
    """Remove an empty folder: from the open ``folder`` that it stands in, where there is one."""
    step("rmdir", path)
    os.rmdir(path if folder is None else os.path.basename(path), dir_fd=folder)


def lock(fd: int, path: str) -> None:
    """Wait for the exclusive lock on an open file; a long wait is told of."""
    step("lock", path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        said = threading.Timer(
            PATIENCE_SECONDS, log.warning, ("waiting for %s, which another process holds", path)
        )
        said.daemon = True
        try:
            with suppress(RuntimeError):  # no thread to be had: it waits in silence
                said.start()
            fcntl.flock(fd, fcntl.LOCK_EX)
        finally:
            said.cancel()


def try_lock(fd: int, path: str) -> bool:
    """Take the exclusive lock on an open file if nobody holds it."""
    step("try-lock", path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

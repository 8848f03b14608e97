"""Locks between processes: ``flock`` on a file that stays.

``flock`` and not ``fcntl.lockf``: POSIX record locks vanish when *any* descriptor of the file is
closed in the process, even one opened by a library. A lock is dropped by closing its file, never
by ``LOCK_UN``: a forked child shares the lock, and unlocking there would unlock the parent.

A Ctrl-C may come as a lock is given back, and nobody is left who would do it. So what is held is
the lock's own, descriptor and turn among the threads alike, and goes when it goes.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from n4a_store.errors import BackendError, LockedError
from n4a_store.storage import system
from n4a_store.storage.files import file_mode, refuse_link
from n4a_store.storage.system import backend_errors

__all__ = ["FileLock"]

_NOTE_BYTES = 64
_in_process: dict[str, threading.Lock] = {}


class _OfThread(threading.local):
    """What this thread has taken, or tries to take."""

    def __init__(self) -> None:
        self.locks: list[weakref.ref[FileLock]] = []


_of_thread = _OfThread()
_locks: weakref.WeakSet[FileLock] = weakref.WeakSet()


class FileLock:
    """The exclusive lock on a file, for the length of a ``with`` block.

    Args:
        path: The lock file; created if need be, never removed.
        wait: Whether to wait for the holder or to raise at once.
        note: Written into the file for others to read: who holds it.

    Raises:
        LockedError: ``wait`` is false and somebody else holds it; the message says who.
        BackendError: The file cannot be opened, or is a link, whose target would be written to.
    """

    def __init__(
        self, path: Path, *, wait: bool = True, note: str = "", shared_group: bool = False
    ) -> None:
        self._fd = -1
        self._turns: list[bool] = []
        self._siblings: list[weakref.ref[FileLock]] = []
        self._path = path
        self._wait = wait
        self._note = note
        self._mode = file_mode(shared_group)
        # Threads of one process queue here first, so that they wait without blocking a flock.
        self._threads = _in_process.setdefault(str(path), threading.Lock())

    def __enter__(self) -> FileLock:
        if self._wait and self._is_waiting_for_itself():
            raise self._locked("this very thread, which a signal handler has interrupted")
        self._siblings = _of_thread.locks
        self._siblings.append(weakref.ref(self))
        # Taken and noted in one call: a Ctrl-C between the two would leave it taken for good.
        self._turns.extend(map(self._threads.acquire, (self._wait,)))
        if not self._turns[-1]:
            raise self._locked(f"pid {os.getpid()} (another thread)")
        try:
            with backend_errors(f"lock {self._path}"):
                _locks.add(self)
                try:
                    system.open_or_create(str(self._path), self._mode, self)
                except OSError:
                    refuse_link(self._path)
                    raise
                if self._wait:
                    system.lock(self._fd, str(self._path))
                elif not system.try_lock(self._fd, str(self._path)):
                    raise self._locked(self.read_note() or "another process")
            if self._note:
                try:
                    self.write_note(self._note)
                except BackendError:  # on a full disk it goes without, and without the last one's
                    with suppress(OSError):
                        os.ftruncate(self._fd, 0)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def __del__(self) -> None:
        # Nobody is inside any more, and its end was cut short.
        if getattr(self, "_turns", None):
            self._close()

    def give_back(self) -> None:
        """Leave it held by nobody, for who knows that nobody is inside any more."""
        self._close()

    def _close(self) -> None:
        # Whatever was done stays done, and the turn comes last: it says that something is held.
        try:
            system.close(self)
        finally:
            if self._fd < 0:
                turns, self._turns = self._turns, []
                if True in turns:
                    self._threads.release()
                with suppress(ValueError):
                    self._siblings.remove(weakref.ref(self))

    def _is_waiting_for_itself(self) -> bool:
        found = [lock for ref in _of_thread.locks if (lock := ref()) is not None]
        return any(lock._path == self._path and True in lock._turns for lock in found)

    def _close_in_child(self) -> None:
        # The child's copy would keep the lock for as long as the child lives.
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _locked(self, holder: str) -> LockedError:
        return LockedError(
            f"{self._path.name} is held by {holder}", hint="wait for it to end, then try again"
        )

    def write_note(self, note: str) -> None:
        """Leave a note in the file; what it says is for people, or for the next holder."""
        data = note.encode()[:_NOTE_BYTES].ljust(_NOTE_BYTES)
        with backend_errors(f"write {self._path}"):
            system.write_at(self._fd, data, 0, str(self._path))

    def sync_note(self) -> None:
        """Make the note survive a power cut."""
        with backend_errors(f"write {self._path}"):
            system.fsync(self._fd, str(self._path))

    def read_note(self) -> str:
        """The note in the file, empty when there is none."""
        with backend_errors(f"read {self._path}"):
            return os.pread(self._fd, _NOTE_BYTES, 0).decode(errors="replace").strip()


def forget_in_child() -> None:
    """After a fork: whatever a thread of the parent held is neither held nor waited for here."""
    for lock in list(_locks):
        lock._close_in_child()
    _of_thread.locks.clear()
    for name in list(_in_process):
        _in_process[name] = threading.Lock()


os.register_at_fork(after_in_child=forget_in_child)

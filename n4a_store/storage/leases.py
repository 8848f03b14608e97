"""Leases: a file that its owner holds ``flock``'d for as long as it lives.

The kernel drops the lock when the owner dies, however it dies; so whether a lease is alive is
never a guess about pids or clocks. Creating one is create, lock, *check that it still has its
name*: gc may have taken the unlocked file for a dead one's and removed it in between.

A lease holds a *generation*: every pack condemned at a later generation must stay while it
lives. It is written after the lock is taken and the generation has been read; until then the
file is empty, and an empty or unreadable lease that is locked counts as older than everything.
A writer that keeps its lease from one transaction to the next lets it rest in between, and makes
it unreadable before it begins again.

Content, 48 bytes, little-endian::

    "N4LS"  u8 version  u8 role  u16 zero  u64 generation  u64 created (µs)  u64 pid  u8[8] epoch
    u32 zero  u32 CRC-32 of the bytes above
"""

from __future__ import annotations

import enum
import logging
import os
import re
import struct
import uuid
import weakref
import zlib
from dataclasses import dataclass
from pathlib import Path

from n4a_store.errors import BackendError
from n4a_store.storage import forks, system
from n4a_store.storage.clock import now_us
from n4a_store.storage.files import file_mode, list_folder, refuse_link
from n4a_store.storage.system import backend_errors

__all__ = ["Lease", "LeaseInfo", "LeaseRole", "is_lease_id", "list_leases", "probe_lease"]

log = logging.getLogger(__name__)

_FIELDS = struct.Struct("<4sBBHQQQ8sI")
_CRC = struct.Struct("<I")
_MAGIC = b"N4LS"
_VERSION = 1
_ATTEMPTS = 1000
_ID = re.compile("[0-9a-f]{32}")
LEASE_BYTES = _FIELDS.size + _CRC.size
EPOCH_BYTES = 8


class LeaseRole(enum.IntEnum):
    """What the owner does."""

    WRITER = 1
    READER = 2
    RUN = 3
    RESTING = 4
    """Of a writer between two transactions."""

    @property
    def pins(self) -> bool:
        """Whether its owner relies on packs that were live at its generation."""
        return self not in (LeaseRole.RUN, LeaseRole.RESTING)


@dataclass(frozen=True, slots=True)
class LeaseInfo:
    """A lease as another process sees it.

    Args:
        lease_id: Its name.
        alive: Whether its owner lives.
        generation: What it pins: None when unreadable, which counts as everything.
        role: What its owner does, None when unreadable.
        pid: A label for people, nothing more.
        created_us: When it was taken, microseconds since 1970; None when unreadable.
    """

    lease_id: str
    alive: bool
    generation: int | None
    role: LeaseRole | None
    pid: int | None
    created_us: int | None


class Lease:
    """A lease of this process.

    Args:
        folder: Where leases stand.
        role: What it is for.
        shared_group: Whether the group may write.

    Raises:
        BackendError: The folder cannot be written.
    """

    def __init__(self, folder: Path, role: LeaseRole, *, shared_group: bool = False) -> None:
        self.role = role
        self.generation: int | None = None
        self._epoch = bytes(EPOCH_BYTES)
        self._pid = os.getpid()
        self._forks = forks.behind()
        self._fd = -1
        _open_leases.add(self)
        with backend_errors(f"take a lease in {folder}"):
            for _ in range(_ATTEMPTS):
                self.lease_id = uuid.uuid4().hex
                self.path = folder / self.lease_id
                try:
                    fd = system.open_new(str(self.path), file_mode(shared_group), self)
                    system.lock(fd, str(self.path))
                    linked = os.fstat(fd).st_nlink > 0
                except BaseException:
                    system.close(self)
                    raise
                if linked:
                    break
                system.close(self)
            else:
                raise BackendError(f"leases in {folder} keep disappearing as they are taken")

    def publish(self, generation: int, epoch: bytes) -> None:
        """Write what this lease pins."""
        self._epoch = epoch
        self._write(self.role, generation)
        self.generation = generation

    def rest(self) -> None:
        """Pin nothing for now; :meth:`claim` ends the rest."""
        if self.generation is not None:
            self._write(LeaseRole.RESTING, self.generation)

    def claim(self) -> None:
        """Count as older than everything, like a lease that has not been published yet."""
        if self.generation is not None:
            self.generation = None
            with backend_errors(f"write lease {self.path}"):
                system.write_at(self._fd, bytes(LEASE_BYTES), 0, str(self.path))

    def _write(self, role: LeaseRole, generation: int) -> None:
        fields = _FIELDS.pack(
            _MAGIC,
            _VERSION,
            role,
            0,
            generation,
            now_us(),
            self._pid,
            self._epoch,
            0,
        )
        with backend_errors(f"write lease {self.path}"):
            system.write_at(self._fd, fields + _CRC.pack(zlib.crc32(fields)), 0, str(self.path))

    @property
    def held(self) -> bool:
        """Whether this process still holds it."""
        # Asked at every put, so without a system call.
        return self._fd >= 0 and self._forks == forks.behind()

    @property
    def owned(self) -> bool:
        """As :attr:`held`, by the process's number: after a fork that Python was not told of, too.

        Asked where being wrong would do damage.
        """
        return self._fd >= 0 and self._pid == os.getpid()

    def release(self) -> None:
        """Give it up: remove the name while it is still locked, then close.

        In a forked child this only closes the child's copy: the lease is the parent's.
        """
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        try:
            if self._pid == os.getpid():
                try:
                    system.unlink(str(self.path))
                except FileNotFoundError:
                    pass  # the whole store has been removed
                except OSError as error:
                    # gc removes what is left: an unlocked lease belongs to the dead.
                    log.warning("lease %s could not be removed: %s", self.path, error)
        finally:
            os.close(fd)

    def __del__(self) -> None:
        # Whoever loses a transaction without ending it must not pin garbage for good.
        if getattr(self, "_fd", -1) >= 0 and self._pid == os.getpid():
            log.warning("lease %s was never released", self.path.name)
            self.release()


_open_leases: weakref.WeakSet[Lease] = weakref.WeakSet()


def _close_in_child() -> None:
    # The child's copies would keep the parent's leases alive after the parent has died.
    for lease in list(_open_leases):
        lease.release()


os.register_at_fork(after_in_child=_close_in_child)


def probe_lease(path: Path, *, remove_dead: bool = False) -> LeaseInfo | None:
    """Look at a lease from outside; None when it is gone.

    Args:
        path: Its file.
        remove_dead: Remove it, while holding its lock, when its owner is dead. What no writer of
            leases can have left is not removed.

    Raises:
        BackendError: It cannot be opened, or is a link, so nothing is known about its owner.
    """
    with backend_errors(f"look at lease {path}"):
        try:
            fd = _open_to_probe(path)
        except FileNotFoundError:
            return None
        except OSError:
            refuse_link(path)
            raise
        try:
            alive = not system.try_lock(fd, str(path))
            data = os.pread(fd, LEASE_BYTES + 1, 0)
            if remove_dead and not _is_lease(path.name, data):
                log.warning("%s is no lease: left alone", path)
                remove_dead = False
            if not alive and remove_dead:
                try:
                    system.unlink(str(path))
                except FileNotFoundError:
                    return None
        finally:
            os.close(fd)
    generation = role = pid = created = None
    if (
        len(data) == LEASE_BYTES
        and zlib.crc32(data[: _FIELDS.size]) == _CRC.unpack_from(data, _FIELDS.size)[0]
    ):
        magic, version, role_number, _, generation, created, pid, _, _ = _FIELDS.unpack_from(data)
        if magic == _MAGIC and version == _VERSION and role_number in tuple(LeaseRole):
            role = LeaseRole(role_number)
        else:
            generation = pid = created = None
    return LeaseInfo(path.name, alive, generation, role, pid, created)


def _open_to_probe(path: Path) -> int:
    own = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, os.O_RDWR | own)
    except PermissionError:
        # Another user's: on a local disk a lock can be tried through any descriptor.
        return os.open(path, os.O_RDONLY | own)


def is_lease_id(name: str) -> bool:
    """Whether a lease may have this name."""
    return _ID.fullmatch(name) is not None


def _is_lease(name: str, data: bytes) -> bool:
    """Whether a file may be what an owner left: written, claimed, or lost in a power cut."""
    sound = data.startswith(_MAGIC) or not any(data)
    return is_lease_id(name) and len(data) <= LEASE_BYTES and sound


def list_leases(folder: Path) -> list[LeaseInfo]:
    """All leases in ``folder``, the dead included.

    Raises:
        BackendError: One of them cannot be looked at.
    """
    found = (probe_lease(folder / name) for name in list_folder(folder))
    return [info for info in found if info is not None]

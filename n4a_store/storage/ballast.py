"""The ballast: room on the disk that only deletions may use.

Whoever wants to delete on a disk without a byte left needs some bytes first: for a lease, for the
catalog's journal. So each store keeps a file of them that nobody reads. A deletion that finds no
room removes it, and puts it back when it has ended; what adds to the store never touches it. The
file means nothing: whoever has to may remove it by hand, and the next gc makes it anew.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from n4a_store.storage import system
from n4a_store.storage.files import file_mode
from n4a_store.storage.layout import StoreLayout
from n4a_store.storage.system import backend_errors

__all__ = ["Ballast"]

log = logging.getLogger(__name__)

_CHUNK_BYTES = 64 * 1024
_PLENTY = 4  # times the ballast: so much must be free before a missing one is made


@dataclass(frozen=True, slots=True)
class Ballast:
    """The ballast of one store.

    Args:
        layout: Where the store stands.
        least_bytes: Its size, to which that of the catalog is added: a transaction keeps in its
            journal what it changes of it. 0: there is none.
        shared_group: Whether the group may write.
    """

    layout: StoreLayout
    least_bytes: int
    shared_group: bool = False

    @contextmanager
    def room_to_delete(self) -> Iterator[None]:
        """A block that deletes: on a full disk the ballast makes room for it.

        Whatever happens to the ballast, the block is run and its errors are its own.
        """
        wanted = self._wanted_bytes()
        given_up = wanted > 0 and not self._has_room(wanted) and self._give_up()
        try:
            yield
        finally:
            if given_up or (wanted > 0 and self._is_worth_making(wanted)):
                self.fill()

    def free_bytes(self) -> int:
        """Bytes that are free beside those that a deletion may need itself.

        Raises:
            BackendError: It cannot be told.
        """
        with backend_errors(f"look at {self.layout.root}"):
            return system.free_bytes(str(self.layout.root)) - self._wanted_bytes()

    def fill(self) -> None:
        """Make it as large as it is to be; on a full disk, as large as it can be."""
        path, wanted = str(self.layout.ballast), self._wanted_bytes()
        if wanted == 0:
            return
        try:
            fd = system.open_or_create(path, file_mode(self.shared_group))
        except OSError as error:
            log.warning("no ballast: %s", error)
            return
        try:
            found = os.fstat(fd)
            # Some other file that was put or linked there is not written to.
            if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
                missing = wanted - os.lseek(fd, 0, os.SEEK_END)
                while missing > 0:
                    # What cannot be compressed takes room on every file system.
                    system.write(fd, os.urandom(min(missing, _CHUNK_BYTES)), path)
                    missing -= _CHUNK_BYTES
        except OSError as error:
            log.info("less ballast than there was: %s", error)
        finally:
            os.close(fd)

    def _wanted_bytes(self) -> int:
        if self.least_bytes == 0:
            return 0
        try:
            return self.least_bytes + os.stat(self.layout.catalog).st_size
        except OSError:
            return self.least_bytes

    def _has_room(self, size: int) -> bool:
        try:
            return system.has_room(str(self.layout.root), size)
        except OSError:  # it cannot be told; then the deletion will tell
            return True

    def _give_up(self) -> bool:
        """Remove it; whether there was one."""
        try:
            system.unlink(str(self.layout.ballast))
        except OSError:
            return False
        log.warning("%s: the disk is full: deleting in the room kept for it", self.layout.root)
        return True

    def _is_worth_making(self, wanted: int) -> bool:
        """Whether it is missing or far too small, and there is plenty of room for it."""
        try:
            size = os.lstat(self.layout.ballast).st_size
        except FileNotFoundError:
            size = 0
        except OSError:
            return False
        return size < wanted // 2 and self._has_room(_PLENTY * wanted)

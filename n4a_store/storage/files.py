"""Files written so that a crash leaves them whole or absent, and files mapped for reading.

The order is always: write, fsync the file, rename it into place, fsync the folder. ``durable``
switches the fsyncs off for stores that were told so; the order stays.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from n4a_store.errors import BackendError
from n4a_store.storage import system
from n4a_store.storage.mapping import map_descriptor
from n4a_store.storage.system import as_backend_error, backend_errors

__all__ = [
    "AppendFile",
    "link_file",
    "make_folder",
    "map_file",
    "move_file",
    "read_ends",
    "read_text",
    "refuse_link",
    "remove_file",
    "remove_if_empty",
    "remove_tree",
    "replace_file",
    "sync_file",
    "sync_folder",
]

_SMALL_FILE = 65_536
_DEEPEST = 32
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_NO_FOLDER = (errno.ENOTDIR, errno.ELOOP)
AnyPath = str | Path
Read = TypeVar("Read")


def file_mode(shared_group: bool) -> int:
    """The mode of new files."""
    return 0o664 if shared_group else 0o644


class AppendFile:
    """A new file that grows at its end.

    Args:
        path: Where it is created; it must not exist.
        shared_group: Whether the group may write.

    Raises:
        BackendError: It cannot be created.
    """

    def __init__(self, path: AnyPath, *, shared_group: bool = False) -> None:
        self._name = str(path)
        self._fd = -1
        self._pid = os.getpid()
        with backend_errors(f"create {self._name}"):
            self._fd = system.open_new(self._name, file_mode(shared_group))

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append ``data``.

        Raises:
            BackendError: The disk refused; or this is a child of the process that began the file,
                whose end they share.
        """
        if self._pid != os.getpid():
            raise BackendError(f"{self._name} is written by the process that began it")
        with backend_errors(f"write {self._name}"):
            system.write(self._fd, data, self._name)

    def read_at(self, offset: int, length: int) -> bytes:
        """The ``length`` bytes at ``offset``, which have been written before."""
        with backend_errors(f"read {self._name}"):
            data = os.pread(self._fd, length, offset)
        if len(data) != length:
            raise BackendError(f"cannot read {self._name}: it is shorter than what was written")
        return data

    def cut(self, length: int) -> None:
        """Take back what was appended beyond ``length`` bytes.

        Raises:
            BackendError: The disk refused.
        """
        with backend_errors(f"cut {self._name}"):
            system.truncate(self._fd, length, self._name)

    def sync(self) -> None:
        """Make the content survive a power cut."""
        with backend_errors(f"sync {self._name}"):
            system.fsync(self._fd, self._name)

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __del__(self) -> None:
        self.close()


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` survive a power cut.

    Raises:
        BackendError: The file system refuses.
    """
    with backend_errors(f"sync folder {folder}"):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            system.fsync(fd, str(folder))
        finally:
            os.close(fd)


def sync_file(path: Path) -> None:
    """Make the content of a file that another library wrote survive a power cut.

    Raises:
        BackendError: The file system refuses.
    """
    with backend_errors(f"sync {path}"):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            system.fsync(fd, str(path))
        finally:
            os.close(fd)


def make_folder(folder: Path, *, shared_group: bool = False) -> bool:
    """Create one folder; False when it was there.

    Raises:
        BackendError: It cannot be created.
    """
    with backend_errors(f"create folder {folder}"):
        try:
            system.mkdir(str(folder), 0o2775 if shared_group else 0o755)
        except FileExistsError:
            return False
    return True


def move_file(source: AnyPath, target: AnyPath) -> None:
    """Give ``source`` the name ``target`` on the same file system.

    Raises:
        BackendError: It cannot be renamed.
    """
    with backend_errors(f"rename {os.path.basename(source)} to {target}"):
        system.rename(str(source), str(target))


def link_file(source: Path, target: Path) -> None:
    """Give ``source`` a second name; fine when it has it already.

    Raises:
        BackendError: The file system refuses.
    """
    with backend_errors(f"link {target}"), suppress(FileExistsError):
        system.link(str(source), str(target))


def replace_file(path: Path, data: bytes, *, durable: bool = True, mode: int = 0o644) -> None:
    """Write a whole small file so that readers see the old content or the new.

    Raises:
        BackendError: It cannot be written; the old content is still there.
    """
    target = str(path)
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    with backend_errors(f"write {target}"):
        fd = system.open_new(temporary, mode)
        try:
            try:
                system.write(fd, data, temporary)
                if durable:
                    system.fsync(fd, temporary)
            finally:
                os.close(fd)
            system.rename(temporary, target)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
    if durable:
        sync_folder(path.parent)


def remove_file(path: Path) -> bool:
    """Remove a file's name; False when it was gone already.

    Raises:
        BackendError: It cannot be removed.
    """
    with backend_errors(f"remove {path}"):
        try:
            system.unlink(str(path))
        except FileNotFoundError:
            return False
    return True


def remove_if_empty(folder: Path) -> bool:
    """Remove a folder that holds nothing; False when it holds something or is gone.

    Raises:
        BackendError: It cannot be removed, or is no folder.
    """
    with backend_errors(f"remove folder {folder}"):
        try:
            system.rmdir(str(folder))
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False
    return True


def remove_tree(folder: Path) -> None:
    """Remove a folder and all that is in it; fine when it is gone already.

    No link is followed: one that stands in it, or in its place, is removed, and what it leads to
    stays. A folder that is being emptied is held open, so that nothing can take its place.

    Raises:
        BackendError: Something in it cannot be removed.
    """
    with backend_errors(f"remove folder {folder}"):
        _remove_tree(str(folder), None, 0)


def _remove_tree(path: str, parent: int | None, depth: int) -> None:
    if depth > _DEEPEST:
        raise BackendError(f"{path} lies too deep to be a store's", hint="remove it by hand")
    name = path if parent is None else os.path.basename(path)
    try:
        fd = os.open(name, _FOLDER, dir_fd=parent)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in _NO_FOLDER or not _is_link(name, parent):
            raise
        with suppress(FileNotFoundError):
            system.unlink(path, parent)
        return
    try:
        with os.scandir(fd) as entries:
            found = list(entries)
        for entry in found:
            inner = os.path.join(path, entry.name)
            if entry.is_dir(follow_symlinks=False):
                _remove_tree(inner, fd, depth + 1)
            else:
                with suppress(FileNotFoundError):
                    system.unlink(inner, fd)
    finally:
        os.close(fd)
    with suppress(FileNotFoundError):
        system.rmdir(path, parent)


def _is_link(name: str, parent: int | None) -> bool:
    return stat.S_ISLNK(os.lstat(name, dir_fd=parent).st_mode)


def refuse_link(path: Path) -> None:
    """Refuse a link in the place of something of a store; what is missing is no link.

    Raises:
        BackendError: It is one. Whatever is deleted behind it would be somebody else's.
    """
    if path.is_symlink():
        raise BackendError(
            f"{path} is a link, which no part of a store may be",
            hint="put what belongs to the store in its place; a store as a whole may be a link",
        )


def list_folder(folder: Path) -> Iterator[str]:
    """The names in ``folder``, which is no link.

    Raises:
        BackendError: It cannot be read, or is a link. A missing folder is such a case: an empty
            answer would let gc believe that there is nothing.
    """
    with backend_errors(f"list {folder}"):
        try:
            fd = os.open(folder, _FOLDER)
        except OSError as error:
            if error.errno in _NO_FOLDER:
                refuse_link(folder)
            raise
        try:
            names = os.listdir(fd)
        finally:
            os.close(fd)
    return iter(sorted(names))


def read_text(path: Path) -> str | None:
    """The text of a small file, or None when there is none.

    Raises:
        BackendError: It is there and cannot be read, or is no regular file, or not UTF-8 text of
            reasonable size.
    """
    with backend_errors(f"read {path}"):
        try:
            fd = os.open(path, _FILE)
        except FileNotFoundError:
            return None
        try:
            _size_of(fd, path)
            with open(fd, "rb", closefd=False) as file:
                data = file.read(_SMALL_FILE + 1)
        finally:
            os.close(fd)
    if len(data) > _SMALL_FILE:
        raise BackendError(f"{path} is larger than {_SMALL_FILE} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BackendError(
            f"{path} is not UTF-8 text: {error}", hint="restore it, or write it anew"
        ) from error


def map_file(path: AnyPath) -> memoryview:
    """The bytes of a file, mapped read-only; they stay while the view does.

    Raises:
        FileNotFoundError: There is no such file: the caller knows whether that is an error.
        BackendError: It cannot be mapped, or is no regular file.
    """
    return _open_and(path, _map)


def _map(fd: int, size: int) -> memoryview:
    if size == 0:
        return memoryview(b"")
    return map_descriptor(fd, size)


def read_ends(path: AnyPath, first: int, last: int) -> tuple[bytes, bytes, int]:
    """The first and the last bytes of a file, and how many it has; it is not mapped.

    Raises:
        FileNotFoundError: There is no such file: the caller knows whether that is an error.
        BackendError: It cannot be read, or is no regular file.
    """

    def read(fd: int, size: int) -> tuple[bytes, bytes, int]:
        return os.pread(fd, first, 0), os.pread(fd, last, max(size - last, 0)), size

    return _open_and(path, read)


def _open_and(path: AnyPath, read: Callable[[int, int], Read]) -> Read:
    """What ``read`` makes of an open file and its size.

    A missing file stays a :class:`FileNotFoundError`; a pipe is not waited for. Where too many
    files are open, more are allowed.
    """
    for attempt in range(2):
        try:
            fd = os.open(path, _FILE)
            try:
                return read(fd, _size_of(fd, path))
            finally:
                os.close(fd)
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno != errno.EMFILE or attempt:
                raise as_backend_error(f"read {path}", error) from error
            system.allow_more_files()
    raise AssertionError("unreachable")


def _size_of(fd: int, path: AnyPath) -> int:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise BackendError(f"cannot read {path}: it is no regular file")
    return found.st_size

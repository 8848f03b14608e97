"""What a workspace of nirs4all keeps beside its catalog and artifacts, and a prediction may need.

No link is followed, and none is passed over in silence: one in a workspace that somebody else has
made may lead to any file of whoever reads it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from n4a_store.storage.foreign import open_foreign
from n4a_store.storage.system import backend_errors

__all__ = ["files_beside"]

_FOLDERS = ("arrays", "native_results")


def files_beside(root: Path) -> Iterator[tuple[str, bytes | None]]:
    """Each file's name below ``root``, and its content; None for what is neither file nor folder.

    Hidden files and folders are left out.

    Raises:
        BackendError: Something cannot be read.
    """
    for name in _FOLDERS:
        top = root / name
        with backend_errors(f"look at {top}"):
            try:
                is_folder = stat.S_ISDIR(top.lstat().st_mode)
            except FileNotFoundError:
                continue
        if is_folder:
            yield from _below(root, top)
        else:
            yield name, None


def _below(root: Path, top: Path) -> Iterator[tuple[str, bytes | None]]:
    with backend_errors(f"read {top}"):
        for where, folders, files, fd in os.fwalk(top, onerror=_raise):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(name for name in [*folders, *files] if not name.startswith(".")):
                path = Path(where, name).relative_to(root).as_posix()
                try:
                    mode = os.lstat(name, dir_fd=fd).st_mode
                    data = _content(name, fd) if stat.S_ISREG(mode) else None
                except FileNotFoundError:
                    continue  # whoever trains there has taken it away
                if not stat.S_ISDIR(mode):
                    yield path, data


def _content(name: str, folder: int) -> bytes:
    with open_foreign(name, folder) as file:
        return file.read()


def _raise(error: OSError) -> NoReturn:
    raise error

"""Creating a store: built whole under another name, then renamed into place.

A crash leaves either nothing at that path or a complete store; a leftover of an attempt has a
name that begins with a dot and is nobody's store.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from contextlib import suppress
from pathlib import Path

from n4a_store.errors import BackendError, InvalidInputError
from n4a_store.repo.format import StoreFormat
from n4a_store.settings import Settings
from n4a_store.storage import system
from n4a_store.storage.ballast import Ballast
from n4a_store.storage.catalog import Catalog
from n4a_store.storage.files import (
    file_mode,
    make_folder,
    remove_tree,
    replace_file,
    sync_file,
    sync_folder,
)
from n4a_store.storage.filesystem import check_filesystem
from n4a_store.storage.layout import StoreLayout
from n4a_store.storage.system import backend_errors

__all__ = ["create_store"]

_OLD_SECONDS = 86_400


def create_store(layout: StoreLayout, settings: Settings) -> None:
    """Create an empty store at ``layout.root``.

    Raises:
        InvalidInputError: There is something at that path.
        BackendError: It cannot be created; nothing is left of the attempt.
    """
    root = layout.root
    with backend_errors(f"create {root}"):
        _check_free(root)
        near = _nearest_folder(root.parent)
    check_filesystem(near, allow=settings.allow_network_filesystem)
    made = _make_parents(root.parent, near, settings.shared_group)
    _remove_old_drafts(root)
    draft = StoreLayout(root.with_name(f".{root.name}.{os.urandom(4).hex()}.new"))
    try:
        make_folder(draft.root, shared_group=settings.shared_group)
        for folder in draft.folders():
            make_folder(folder, shared_group=settings.shared_group)
            sync_folder(folder)
        mode = file_mode(settings.shared_group)
        Catalog.create(draft.catalog)
        if settings.shared_group:
            with backend_errors(f"share {draft.catalog}"):
                system.share_file(str(draft.catalog), mode)
        sync_file(draft.catalog)
        replace_file(draft.format, StoreFormat().encode().encode(), mode=mode)
        sync_folder(draft.root)
        _publish(draft.root, root)
    except BaseException:
        remove_tree(draft.root)
        for folder in reversed(made):
            with suppress(OSError):  # somebody else uses it already
                system.rmdir(str(folder))
        raise
    for folder in (root.parent, *(path.parent for path in made)):
        sync_folder(folder)
    Ballast(layout, settings.ballast_bytes, settings.shared_group).fill()


def _remove_old_drafts(root: Path) -> None:
    """Remove what was left of attempts that were killed more than a day ago: nobody used it.

    Only what looks like a draft in every way: whatever else somebody has called so is theirs.
    """
    name = re.compile(rf"\.{re.escape(root.name)}\.[0-9a-f]{{8}}\.new")
    with suppress(OSError, BackendError):
        for draft in map(StoreLayout, root.parent.iterdir()):
            found = draft.root.lstat() if name.fullmatch(draft.root.name) else None
            if found is None or not stat.S_ISDIR(found.st_mode):
                continue
            parts = {path.name for path in (*draft.folders(), draft.catalog, draft.format)}
            parts.add(f"{draft.catalog.name}-journal")
            is_old = time.time() - found.st_mtime > _OLD_SECONDS
            if is_old and parts.issuperset(os.listdir(draft.root)):
                remove_tree(draft.root)


def _check_free(root: Path) -> None:
    if "\0" in str(root):
        raise InvalidInputError(f"{str(root)!r} cannot be the path of a folder")
    if root.is_symlink() or root.exists():
        if (root / "format").exists():
            raise _there_already(root)
        if not root.is_dir() or any(root.iterdir()):
            raise InvalidInputError(
                f"{root} exists and is not empty", hint="choose a folder that does not exist"
            )


def _nearest_folder(folder: Path) -> Path:
    """The first folder upwards that exists."""
    while not folder.exists():
        folder = folder.parent
    return folder


def _make_parents(folder: Path, near: Path, shared_group: bool) -> list[Path]:
    """Create the missing folders from ``near`` down to ``folder``; return those that were made."""
    missing = [path for path in (folder, *folder.parents) if path.is_relative_to(near)][:-1]
    return [path for path in reversed(missing) if make_folder(path, shared_group=shared_group)]


def _publish(draft: Path, root: Path) -> None:
    with backend_errors(f"create {root}"):
        try:
            system.rename(str(draft), str(root))
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise _there_already(root) from error
            raise


def _there_already(root: Path) -> InvalidInputError:
    return InvalidInputError(
        f"there is a store in {root} already", hint="open it, or choose another folder"
    )

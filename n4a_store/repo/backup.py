"""Backup: a whole second store, taken beside running writers and gc.

The order is the recipe: take a lease, copy the catalog, then copy the packs that the copy lists as
live. The lease, which is older than the copy, keeps each of these packs on the disk until it has
been copied. Every pack is verified on its way: a backup of a damaged pack would be found out only
when it is needed.

Packs that are condemned, being dropped or held for a run are left out, and the copy's catalog no
longer lists them: no ref reaches them, and a run does not live on in a copy.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from n4a_store.errors import CorruptionError, InvalidInputError
from n4a_store.packs.reader import PackReader
from n4a_store.storage.catalog import Catalog
from n4a_store.storage.files import (
    AppendFile,
    make_folder,
    map_file,
    move_file,
    read_text,
    remove_tree,
    replace_file,
    sync_file,
    sync_folder,
)
from n4a_store.storage.layout import StoreLayout
from n4a_store.storage.rows import PackRow, PackState

if TYPE_CHECKING:
    from n4a_store.repo.store import Store

__all__ = ["Backup", "backup"]

_CHUNK = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Backup:
    """A finished backup.

    Args:
        path: Where it stands; it can be opened as a store.
        sequence: The newest operation in it.
        packs: How many packs were copied.
        stored_bytes: Their size.
    """

    path: Path
    sequence: int
    packs: int
    stored_bytes: int


def backup(store: Store, target: str | os.PathLike[str]) -> Backup:
    """Copy a store to ``target``, which must not exist; writers and gc may go on meanwhile.

    The copy appears whole or not at all.

    Raises:
        InvalidInputError: There is something at ``target``, or no folder to put it in.
        CorruptionError: A pack is damaged or missing; the message names it.
        BackendError: The disk refused.
    """
    path = Path(target).absolute()
    if path.exists() or path.is_symlink():
        raise InvalidInputError(f"{path} exists", hint="choose a name that is free")
    if not path.parent.is_dir():
        raise InvalidInputError(f"there is no folder {path.parent}", hint="create it first")
    draft = StoreLayout(path.with_name(f".{path.name}.{os.urandom(4).hex()}.new"))
    try:
        # A session of its own, so that the lease is older than the copy of the catalog.
        with store.session():
            made = _copy(store, draft, path)
        move_file(draft.root, path)
        sync_folder(path.parent)
    except BaseException:
        remove_tree(draft.root)
        raise
    return made


def _copy(store: Store, draft: StoreLayout, path: Path) -> Backup:
    for folder in (draft.root, *draft.folders()):
        make_folder(folder)
    store.catalog.copy_to(draft.catalog)
    rows, sequence = _forget_the_dead(draft, store)
    for row in rows:
        _copy_pack(store, row, draft.pack(row.id))
    for source, copy in ((store.layout.config, draft.config), (store.layout.format, draft.format)):
        text = read_text(source)
        if text is not None:
            replace_file(copy, text.encode())
    sync_file(draft.catalog)
    for folder in (*draft.folders(), draft.root):
        sync_folder(folder)
    return Backup(path, sequence, len(rows), sum(row.stored_bytes for row in rows))


def _forget_the_dead(draft: StoreLayout, store: Store) -> tuple[list[PackRow], int]:
    """Strike from the copy's catalog every pack that is not live; the others, and its number."""
    catalog = Catalog(draft.catalog, draft.commit_lock, store.settings.durability)
    try:
        with catalog.read() as reader:
            reader.verify()
        with catalog.write() as writer:
            for row in writer.packs():
                if row.state is not PackState.LIVE:
                    writer.delete(row)
            return writer.packs(), writer.sequence()
    finally:
        catalog.close()


def _copy_pack(store: Store, row: PackRow, target: Path) -> None:
    try:
        data = map_file(store.layout.pack(row.id))
    except FileNotFoundError:
        raise CorruptionError(
            f"pack {row.id} is missing: the backup was not made", hint="run: n4a-store fsck"
        ) from None
    PackReader(data, row.id).verify_bytes()
    file = AppendFile(target)
    try:
        for at in range(0, len(data), _CHUNK):
            file.write(data[at : at + _CHUNK])
        file.sync()
    finally:
        file.close()

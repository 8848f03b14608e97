"""The packs that one transaction writes: grown under ``txn/``, published into ``packs/``.

Nothing is created before the first object. A pack that reaches a limit is sealed and the next
one begun, so that memory stays bounded however much is put. ``publish`` is steps 4 of the
transaction's protocol: fsync each file, rename it, fsync the folder.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from n4a_store.errors import BackendError
from n4a_store.objects.oid import BytesLike
from n4a_store.odb.database import SMALL_OBJECTS
from n4a_store.packs.entry import Codec, EntryHeader, decode_header
from n4a_store.packs.format import HEADER_BYTES
from n4a_store.packs.reader import PackReader, StoredObject, decode_entry
from n4a_store.packs.writer import PackWriter
from n4a_store.settings import Durability, Settings
from n4a_store.storage.files import (
    AppendFile,
    make_folder,
    map_file,
    move_file,
    remove_file,
    remove_tree,
    sync_folder,
)
from n4a_store.storage.layout import StoreLayout
from n4a_store.storage.rows import PackRow, PackState

__all__ = ["PackBuilder"]

log = logging.getLogger(__name__)


class PackBuilder:
    """The packs of one writer.

    Args:
        owner: The epoch and the lease that the packs are named after.
        first: The number of the first pack; no two packs of one owner share one.
        has_folder: Whether the owner's folder under ``txn/`` is there already.
    """

    def __init__(
        self,
        layout: StoreLayout,
        settings: Settings,
        owner: str,
        *,
        first: int = 0,
        has_folder: bool = False,
    ) -> None:
        self._layout = layout
        self._settings = settings
        self._owner = owner
        self._durable = settings.durability is not Durability.NONE
        self._most_objects = settings.pack_max_objects
        self._most_bytes = settings.pack_max_bytes
        self._lease_id = owner.rpartition("-")[2]
        self.has_folder = has_folder
        self._count = first
        self._file: AppendFile | None = None
        self._writer: PackWriter | None = None
        self._sealed: list[PackRow] = []
        self._ids: dict[str, list[bytes]] = {}  # of small packs that have been sealed
        self._readers: dict[str, PackReader] = {}
        self._published: list[str] = []
        self._broken = False
        self._abandoned = False
        self._pid = os.getpid()

    def _pack_id(self) -> str:
        return f"{self._owner}-{self._count}"

    @property
    def folder(self) -> Path:
        """Where they grow."""
        return self._layout.transaction(self._lease_id)

    def _path(self, pack_id: str) -> str:
        if pack_id in self._published:
            return self._layout.pack_name(pack_id)
        return self._layout.growing_pack_name(self._lease_id, pack_id)

    def _begin(self) -> PackWriter:
        if self._writer is None:
            if self._pid != os.getpid():
                raise BackendError(f"{self.folder} is written by the process that began it")
            if not self.has_folder:
                make_folder(self.folder, shared_group=self._settings.shared_group)
                self.has_folder = True
            self._file = AppendFile(
                self._path(self._pack_id()),
                shared_group=self._settings.shared_group,
            )
            self._writer = PackWriter(
                self._file.write, self._settings.compression_level, self._file.cut
            )
        return self._writer

    @property
    def next_number(self) -> int:
        """The number that the owner's next pack can have."""
        return self._count + (self._writer is not None)

    @property
    def leaves_files(self) -> bool:
        """Whether something of it stands under ``txn/``."""
        return self._abandoned or self._file is not None or len(self._published) < len(self._sealed)

    def add(self, oid: bytes, kind: int, data: BytesLike, item_size: int = 1) -> bool:
        """Append an object that is in none of these packs, or in the one that is being written.

        Returns:
            False where ``data`` has changed since its id was computed; then nothing is added.
        """
        # As `_whole` does, which would cost as much as a small object.
        if self._broken:
            self._refuse()
        try:
            writer = self._begin() if self._writer is None else self._writer
            added = writer.add(oid, kind, data, item_size)
            if writer.reaches(self._most_objects, self._most_bytes):
                self._seal()
            else:
                writer.keep()
        except BaseException:
            self._recover()
            raise
        return added

    def add_all(self, kind: int, objects: Sequence[tuple[bytes, BytesLike, int]]) -> list[bytes]:
        """As :meth:`add`, for several of one kind: id (each once), bytes and item size of each.

        Returns:
            The ids of those whose bytes have changed, which were not added.
        """
        changed: list[bytes] = []
        if not objects:
            return changed  # nor is a file begun
        with self._whole():
            writer = self._begin() if self._writer is None else self._writer
            new = writer.lacking([one[0] for one in objects])
            if len(new) < len(objects):
                known = set(new)
                objects = [one for one in objects if one[0] in known]
            for oid, data, item_size in objects:
                writer = self._begin() if self._writer is None else self._writer
                if not writer.add_new(oid, kind, data, item_size):
                    changed.append(oid)
                if writer.reaches(self._most_objects, self._most_bytes):
                    self._seal()
        return changed

    def add_stored(self, entry: StoredObject) -> None:
        """Append an object as it is encoded in another pack."""
        self._append(entry.header, entry.header.codec, entry.stored)

    def add_delta(self, header: EntryHeader, stored: BytesLike, base: bytes) -> None:
        """Append an object as a delta against ``base``, which :meth:`can_be_base`.

        Args:
            header: Of the object as it stands elsewhere, however encoded.
            stored: The delta.
        """
        self._append(header, Codec.DELTA, stored, base)

    def _append(
        self, header: EntryHeader, codec: int, stored: BytesLike, base: bytes | None = None
    ) -> None:
        with self._whole():
            writer = self._begin()
            writer.add_stored(
                header.oid, header.kind, codec, header.item_size, stored, header.raw_length, base
            )
            if writer.reaches(self._most_objects, self._most_bytes):
                self._seal()

    def holds(self, oid: bytes) -> bool:
        """Whether the pack that is being written holds an object."""
        return self._writer is not None and oid in self._writer

    def can_be_base(self, oid: bytes) -> bool:
        """Whether that pack holds an object, and not as a delta: then a delta may use it."""
        return self._writer is not None and self._writer.can_be_base(oid)

    @property
    def is_between_packs(self) -> bool:
        """Whether the next object begins a new pack, so that it :meth:`holds` nothing."""
        return self._writer is None

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Undo what fails half-way or is interrupted; a pack where that fails must not be used.

        What is whole is kept as it ends, never as the next begins: a Ctrl-C before that would
        undo what somebody has been told is there.
        """
        if self._broken:
            self._refuse()
        try:
            yield
            if self._writer is not None:
                self._writer.keep()
        except BaseException:
            self._recover()
            raise

    def _recover(self) -> None:
        """Undo what was added last; what others had put into the growing pack is whole."""
        self._broken = True  # unless it can be undone
        writer = self._writer
        if writer is None:  # it could not even begin, or has been sealed
            self._pass_over()
            self._broken = False
        elif self._pid == os.getpid():
            try:
                self._broken = not writer.rewind()
            except BackendError as error:
                log.warning("a write cannot be undone: %s", error)

    def _refuse(self) -> NoReturn:
        raise BackendError(
            f"a write to {self.folder} failed before: this transaction cannot go on",
            hint="abort it and begin another",
        )

    def _seal(self) -> None:
        if self._writer is None or self._file is None:
            return
        footer = self._writer.seal()
        pack_id = self._pack_id()
        if self._durable:
            self._file.sync()
        self._file.close()
        self._sealed.append(
            PackRow(
                pack_id, PackState.LIVE, 0, "", footer.objects, self._writer.size, footer.raw_bytes
            )
        )
        if footer.objects <= SMALL_OBJECTS:
            self._ids[pack_id] = self._writer.ids()
        self._file = self._writer = None
        self._count += 1

    def ids_in(self, pack_id: str) -> list[bytes]:
        """What a small pack that has been sealed holds; nothing for another."""
        return self._ids.get(pack_id, [])

    def read(self, oid: bytes) -> tuple[int, BytesLike] | None:
        """An object of these packs, verified; None when it is not in them."""
        growing = self._growing(oid)
        if growing is not None:
            return growing.header.kind, decode_entry(growing.header, growing.stored)
        sealed = self._in_sealed(oid)
        return None if sealed is None else sealed[0].read_at(sealed[1])

    def header(self, oid: bytes) -> EntryHeader | None:
        """How an object stands in these packs; None when it is not in them."""
        growing = self._growing(oid)
        if growing is not None:
            return growing.header
        sealed = self._in_sealed(oid)
        return None if sealed is None else sealed[0].header_at(sealed[1])

    def _growing(self, oid: bytes) -> StoredObject | None:
        """An object of the pack that is being written."""
        if self._writer is None or self._file is None:
            return None
        found = self._writer.locate(oid)
        if found is None:
            return None
        offset, length = found
        # Reading never writes: a forked child shares the file with its parent, and what
        # it appended there would be in the middle of the parent's pack.
        waiting = self._writer.unflushed(offset, length)
        entry = memoryview(waiting or self._file.read_at(offset, length))
        # The header counts from the start of its pack, the bytes at hand from its own.
        header = decode_header(entry, 0, length)
        return StoredObject(header, entry[header.payload : header.end])

    def _in_sealed(self, oid: bytes) -> tuple[PackReader, int] | None:
        """The pack that has been sealed with an object, and its position there."""
        for row in self._sealed:
            reader = self._readers.get(row.id)
            if reader is None:
                reader = PackReader(map_file(self._path(row.id)), row.id)
                self._readers[row.id] = reader
            position = reader.find(oid)
            if position >= 0:
                return reader, position
        return None

    def publish(self) -> list[PackRow]:
        """Seal, sync and rename everything; the rows to be committed.

        What was published before stays where it is, so that more can be put and published.

        Raises:
            BackendError: The disk refused. What has been renamed already has no row and is
                nobody's: gc removes it once this writer's lease is gone.
        """
        if self._writer is not None and self._writer.size == HEADER_BYTES:
            self.close()
        with self._whole():
            self._seal()
        waiting = self._sealed[len(self._published) :]
        for row in waiting:
            target = self._layout.pack_name(row.id)
            if os.path.lexists(target):
                # A rename would replace it without a word, and with it what others rely on.
                raise BackendError(f"there is a pack {row.id} already: its id was used twice")
            move_file(self._path(row.id), target)
            self._published.append(row.id)
        if waiting and self._durable:
            sync_folder(self._layout.packs)
        return list(self._sealed)

    def retract(self) -> None:
        """Remove what was published, when it is certain that no row names it."""
        for pack_id in self._published:
            remove_file(self._layout.pack(pack_id))
        self._published.clear()

    def discard(self) -> None:
        """Remove what has not been published: whoever ran out of room must not keep the disk full.

        For a builder that has its folder to itself. What cannot be removed is left to gc.
        """
        self.close()
        try:
            remove_tree(self.folder)
        except BackendError as error:
            log.warning("%s stays until the next gc: %s", self.folder, error)

    def close(self) -> None:
        """Close the file that is being written."""
        if self._file is not None:
            self._pass_over()
        self._file = self._writer = None

    def _pass_over(self) -> None:
        """Never use a number again under which a file may stand, begun and left."""
        self._abandoned = True
        self._count += 1
        if self._file is not None:
            self._file.close()
            self._file = None

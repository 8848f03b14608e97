"""Writing a pack: append entries to a sink, then seal it with index and footer.

The sink gets bytes in order and is never asked to seek, so a pack can be written to a file, a
pipe or memory. A payload is hashed by the caller before it comes here: a duplicate never does.
"""

from __future__ import annotations

from collections.abc import Callable

from blake3 import blake3

from n4a_store.objects.oid import BytesLike
from n4a_store.packs.compression import DEFAULT_LEVEL, compress
from n4a_store.packs.entry import Codec, encode_header
from n4a_store.packs.format import ALIGNMENT, HEADER, Footer
from n4a_store.packs.id_table import IdTable
from n4a_store.packs.index import Columns, encode_index, fanout_bits_for

__all__ = ["PackWriter"]

_BUFFER_BYTES = 1024 * 1024


class PackWriter:
    """One pack being written.

    Args:
        sink: Takes all the bytes it is given, in order.
        level: The zstd level for payloads that are worth compressing.
    """

    def __init__(self, sink: Callable[[BytesLike], None], level: int = DEFAULT_LEVEL) -> None:
        self._sink = sink
        self._level = level
        self._hasher = blake3()
        self._buffer = bytearray(HEADER)
        self._flushed = 0
        self._columns = Columns()
        self._places = IdTable()  # of each object among the columns
        self._sealed = False
        self.raw_bytes = 0

    def __len__(self) -> int:
        return len(self._columns)

    def __contains__(self, oid: bytes) -> bool:
        return oid in self._places

    @property
    def size(self) -> int:
        """How many bytes have been written so far, the unflushed included."""
        return self._flushed + len(self._buffer)

    @property
    def flushed(self) -> int:
        """How many bytes the sink has been given."""
        return self._flushed

    def reaches(self, objects: int, size: int) -> bool:
        """Whether it holds so many objects, or has so many bytes."""
        return len(self._columns.kinds) >= objects or self._flushed + len(self._buffer) >= size

    def add(self, oid: bytes, kind: int, data: BytesLike, item_size: int = 1) -> None:
        """Append an object whose id is ``oid``, unless the pack holds it already."""
        if oid not in self._places:
            codec, stored_item_size, stored = compress(data, item_size, self._level)
            self.add_stored(oid, kind, codec, stored_item_size, stored, len(data))

    def add_stored(
        self,
        oid: bytes,
        kind: int,
        codec: Codec | int,
        item_size: int,
        stored: BytesLike,
        raw_length: int,
        base: bytes | None = None,
    ) -> None:
        """Append an object that is already encoded, as it stands in another pack.

        Args:
            base: Of a delta, the object that it was made against, which is in this pack.
        """
        if oid in self._places:
            return
        if base is not None and base not in self._places:
            raise ValueError(f"the base {base.hex()[:12]} of a delta must be in its pack")
        buffer = self._buffer
        offset = self._flushed + len(buffer)
        length = len(stored)
        header = encode_header(offset, kind, codec, item_size, length, raw_length, oid, base)
        buffer += header
        if length < _BUFFER_BYTES:
            buffer += stored
            if len(buffer) >= _BUFFER_BYTES:
                self.flush()
        else:
            self.flush()
            self._emit(stored)
        columns = self._columns
        self._places[oid] = len(columns.kinds)
        columns.append(oid, offset, len(header) + length, kind)
        self.raw_bytes += raw_length

    def _append(self, data: BytesLike) -> None:
        if len(data) >= _BUFFER_BYTES:
            self.flush()
            self._emit(data)
            return
        self._buffer += data
        if len(self._buffer) >= _BUFFER_BYTES:
            self.flush()

    def _emit(self, data: BytesLike) -> None:
        self._sink(data)
        self._hasher.update(data)
        self._flushed += len(data)

    def flush(self) -> None:
        """Hand everything written so far to the sink."""
        if self._buffer:
            self._emit(bytes(self._buffer))
            self._buffer.clear()

    def unflushed(self, offset: int, length: int) -> bytes:
        """The entry of ``length`` bytes at ``offset``; empty when the sink has been given it.

        An entry is given whole or not at all.
        """
        start = offset - self._flushed
        return bytes(self._buffer[start : start + length]) if start >= 0 else b""

    def locate(self, oid: bytes) -> tuple[int, int] | None:
        """Where the entry of ``oid`` begins and how long it is, or None."""
        at = self._places.get(oid)
        return None if at is None else (self._columns.offsets[at], self._columns.lengths[at])

    def kind_of(self, oid: bytes) -> int | None:
        """The kind of ``oid``, or None when it is not in this pack."""
        at = self._places.get(oid)
        return None if at is None else self._columns.kinds[at]

    def seal(self) -> Footer:
        """Write index and footer; nothing can be added afterwards."""
        if self._sealed:
            raise RuntimeError("this pack is sealed")
        self._sealed = True
        self._append(bytes(-self.size % ALIGNMENT))
        index_offset = self.size
        index = encode_index(self._columns)
        self._append(index)
        footer = Footer(
            objects=len(self._columns),
            index_offset=index_offset,
            index_length=len(index),
            raw_bytes=self.raw_bytes,
            fanout_bits=fanout_bits_for(len(self._columns)),
            index_hash=blake3(index).digest(),
        )
        self._append(footer.encode_head())
        self.flush()
        pack_hash = self._hasher.digest()
        self._append(Footer.encode_tail(pack_hash))
        self.flush()
        return footer

"""Writing a pack: append entries to a sink, then seal it with index and footer.

The sink gets bytes in order and is never asked to seek, so a pack can be written to a file, a
pipe or memory. A payload is hashed by the caller before it comes here: a duplicate never does. An
array of the caller's may have been written to since, by another thread: what has been written is
hashed again, and what is not the object any more is not added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from blake3 import blake3

from n4a_store.objects.oid import BytesLike, begin_hash, raw_hash
from n4a_store.packs.compression import COMPRESS_FROM, DEFAULT_LEVEL, compress
from n4a_store.packs.entry import ENTRY_HEADER_BYTES, Codec, encode_header, encode_tiny
from n4a_store.packs.format import ALIGNMENT, FOOTER_BYTES, HEADER, Footer
from n4a_store.packs.id_table import IdTable
from n4a_store.packs.index import Columns, encode_index, fanout_bits_for

__all__ = ["PackWriter"]

_BUFFER_BYTES = 1024 * 1024
_MOST_HEADER = ENTRY_HEADER_BYTES + ALIGNMENT  # with what aligns a payload behind it
_MOST_SPARE = 4
_spare: list[bytearray] = []
"""Buffers of sealed packs: a new one costs a page fault for each 4 KiB. To take one and to put one
back are single steps, so threads need no lock for it."""


class _ChangedError(Exception):
    """What is being written is not what its id says any more."""


class PackWriter:
    """One pack being written.

    Args:
        sink: Takes all the bytes it is given, in order.
        level: The zstd level for payloads that are worth compressing.
        cut: Takes back what the sink was given beyond so many bytes; None where it cannot.
    """

    def __init__(
        self,
        sink: Callable[[BytesLike], None],
        level: int = DEFAULT_LEVEL,
        cut: Callable[[int], None] | None = None,
    ) -> None:
        self._sink = sink
        self._cut = cut
        self._level = level
        self._hasher = blake3()
        self._buffer = _take_buffer()
        self._view = memoryview(self._buffer)
        self._view[: len(HEADER)] = HEADER
        self._used = len(HEADER)
        self._flushed = 0
        self._columns = Columns()
        self._places = IdTable()  # of each object among the columns
        self._deltas = IdTable()
        self._sealed = False
        self.raw_bytes = 0
        self.keep()

    def __len__(self) -> int:
        return len(self._columns)

    def __contains__(self, oid: bytes) -> bool:
        return oid in self._places

    @property
    def size(self) -> int:
        """How many bytes have been written so far, the unflushed included."""
        return self._flushed + self._used

    @property
    def flushed(self) -> int:
        """How many bytes the sink has been given."""
        return self._flushed

    def reaches(self, objects: int, size: int) -> bool:
        """Whether it holds so many objects, or has so many bytes."""
        return len(self._columns.kinds) >= objects or self._flushed + self._used >= size

    def keep(self) -> None:
        """Let :meth:`rewind` come back to this moment."""
        # One step: what interrupts it comes before or after.
        self._kept: tuple[int, int, int, int, blake3 | None] = (
            self._flushed,
            self._used,
            len(self._columns.kinds),
            self.raw_bytes,
            None,
        )

    def rewind(self) -> bool:
        """Undo what has been added since :meth:`keep`, half-way or whole.

        Returns:
            Whether it could; else the pack must not be used any more.

        Raises:
            BackendError: What the sink was given cannot be taken back.
        """
        flushed, used, count, raw_bytes, hasher = self._kept
        if self._sealed or not self._places.forget_from(count):
            return False
        if hasher is not None:
            if self._cut is None:
                return False
            self._cut(flushed)
            self._hasher, self._flushed = hasher.copy(), flushed
        self._columns.cut(count)
        self._used, self.raw_bytes = used, raw_bytes
        return True

    def add(self, oid: bytes, kind: int, data: BytesLike, item_size: int = 1) -> bool:
        """As :meth:`add_new`, unless the pack holds the object already."""
        return oid in self._places or self.add_new(oid, kind, data, item_size)

    def lacking(self, oids: Iterable[bytes]) -> list[bytes]:
        """Those of ``oids`` that the pack does not hold."""
        return self._places.lacking(oids)

    def add_new(self, oid: bytes, kind: int, data: BytesLike, item_size: int = 1) -> bool:
        """Append an object that the pack does not hold: :meth:`lacking` told the caller so.

        Returns:
            False where ``data`` has changed since its id was computed; then nothing is added.
        """
        if type(data) is not bytes:
            return self._add_changeable(oid, kind, data, item_size)
        if len(data) >= COMPRESS_FROM:
            codec, stored_item_size, stored = compress(data, item_size, self._level)
            self.add_stored(oid, kind, codec, stored_item_size, stored, len(data))
            return True
        # Where there are a million objects they are tiny, and the calls are what counts.
        entry = encode_tiny(kind, data, oid)
        begin, length = self._used, len(entry)
        end = begin + length
        if end <= _BUFFER_BYTES:
            self._view[begin:end] = entry
            self._used = end
        else:
            self._append(entry)
        self._note(oid, self._flushed + self._used - length, length, kind, len(data))
        return True

    def _add_changeable(self, oid: bytes, kind: int, data: BytesLike, item_size: int) -> bool:
        """:meth:`add_new` for what somebody else may be writing to."""

        def settle(data: BytesLike) -> bytes:
            copy = bytes(data)
            if raw_hash(kind, copy) != oid:
                raise _ChangedError
            return copy

        size = len(data)
        is_large = size > _BUFFER_BYTES - _MOST_HEADER
        try:
            if size < COMPRESS_FROM or (is_large and self._cut is None):
                return self.add_new(oid, kind, settle(data), item_size)
            codec, stored_item_size, stored = compress(data, item_size, self._level, settle)
        except _ChangedError:
            return False
        if stored is not data:
            self.add_stored(oid, kind, codec, stored_item_size, stored, size)
            return True
        if is_large:
            return self._add_large(oid, kind, data)
        # As nearly always. The pack's buffer is where it is copied to anyway.
        if self._used + _MOST_HEADER + size > _BUFFER_BYTES:
            self.flush()
        begin = self._used
        offset = self._flushed + begin
        header = encode_header(offset, kind, Codec.RAW, 0, size, size, oid)
        middle = begin + len(header)
        end = middle + size
        self._view[begin:middle] = header
        self._view[middle:end] = data
        with self._view[middle:end] as written:
            if raw_hash(kind, written) != oid:
                return False
        self._used = end
        self._note(oid, offset, end - begin, kind, size)
        return True

    def _add_large(self, oid: bytes, kind: int, data: BytesLike) -> bool:
        """:meth:`_add_changeable` for what no buffer holds, raw: piece by piece.

        A copy of all of it would take as much memory again, and there are arrays that leave none.
        """
        assert self._cut is not None
        self.flush()
        offset, size = self._flushed, len(data)
        before, found = self._hasher.copy(), begin_hash(kind)
        self._emit(encode_header(offset, kind, Codec.RAW, 0, size, size, oid))
        for begin in range(0, size, _BUFFER_BYTES):
            some = data[begin : begin + _BUFFER_BYTES]
            with self._view[: len(some)] as piece:
                piece[:] = some
                found.update(piece)
                self._emit(piece)
        if found.digest() != oid:
            self._cut(offset)
            self._hasher, self._flushed = before, offset
            return False
        self._note(oid, offset, self._flushed - offset, kind, size)
        return True

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
            base: Of a delta, the object that it was made against, which :meth:`can_be_base`.
        """
        if oid in self._places:
            return
        if base is not None:
            if not self.can_be_base(base):
                at = base.hex()[:12]
                raise ValueError(f"the base {at} of a delta must be in its pack, no delta itself")
            self._deltas.add(oid)
        begin = self._used
        offset = self._flushed + begin
        length = len(stored)
        header = encode_header(offset, kind, codec, item_size, length, raw_length, oid, base)
        middle = begin + len(header)
        end = middle + length
        if end <= _BUFFER_BYTES:  # as nearly always
            self._view[begin:middle] = header
            self._view[middle:end] = stored
            self._used = end
        else:
            self._append(header, stored)
        self._note(oid, offset, end - begin, kind, raw_length)

    def can_be_base(self, oid: bytes) -> bool:
        """Whether a delta may be made against ``oid``: the pack holds it, and not as a delta."""
        return oid in self._places and oid not in self._deltas

    def _note(self, oid: bytes, offset: int, length: int, kind: int, raw_length: int) -> None:
        columns = self._columns
        self._places[oid] = len(columns.kinds)
        columns.append(oid, offset, length, kind)
        self.raw_bytes += raw_length

    def _append(self, *parts: BytesLike) -> None:
        """Write parts that stay together: all of them are buffered, or the sink is given all."""
        size = sum(map(len, parts))
        if self._used + size > _BUFFER_BYTES:
            self.flush()
        for part in parts:
            if size > _BUFFER_BYTES:
                self._emit(part)
            else:
                end = self._used + len(part)
                self._view[self._used : end] = part
                self._used = end

    def _emit(self, data: BytesLike) -> None:
        if self._kept[4] is None:
            self._kept = (*self._kept[:4], self._hasher.copy())
        self._sink(data)
        self._hasher.update(data)
        self._flushed += len(data)

    def flush(self) -> None:
        """Hand everything written so far to the sink, which keeps none of it."""
        if self._used:
            with self._view[: self._used] as written:
                self._emit(written)
            self._used = 0
            if not self._sealed:
                self._kept = (self._flushed, 0, *self._kept[2:4], None)

    def unflushed(self, offset: int, length: int) -> bytes:
        """The entry of ``length`` bytes at ``offset``; empty when the sink has been given it.

        An entry is given whole or not at all.
        """
        start = offset - self._flushed
        return bytes(self._view[start : start + length]) if start >= 0 else b""

    def locate(self, oid: bytes) -> tuple[int, int] | None:
        """Where the entry of ``oid`` begins and how long it is, or None."""
        at = self._places.get(oid)
        return None if at is None else (self._columns.offsets[at], self._columns.lengths[at])

    def ids(self) -> list[bytes]:
        """What it holds, in the order in which it came."""
        return self._columns.each_id()

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
        # The hash is of all that stands before it, and the buffer has room for both: one write.
        with self._view[: self._used] as written:
            self._hasher.update(written)
        tail = Footer.encode_tail(self._hasher.digest())
        self._view[self._used : self._used + len(tail)] = tail
        self._used += len(tail)
        with self._view[: self._used] as written:
            self._sink(written)
        self._flushed, self._used = self.size, 0
        self._view.release()
        if len(_spare) < _MOST_SPARE:
            _spare.append(self._buffer)
        return footer


def _take_buffer() -> bytearray:
    size = _BUFFER_BYTES + FOOTER_BYTES
    try:
        buffer = _spare.pop()
    except IndexError:
        return bytearray(size)
    return buffer if len(buffer) == size else bytearray(size)

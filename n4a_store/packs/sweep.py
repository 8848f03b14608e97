"""Reading every object of a pack, for checks: in file order, and at half the cost of one by one.

The headers of thousands of entries are compared with the index at once, by numpy. What stands in
the pack raw is then hashed in place; the rest, and whatever looks odd, is read like any object,
by the reader that says what is wrong with it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from n4a_store.errors import CorruptionError
from n4a_store.objects.oid import OID_BYTES, BytesLike, Kind, raw_hash
from n4a_store.packs.entry import ENTRY_HEADER_BYTES, Codec
from n4a_store.packs.reader import PackReader

__all__ = ["read_all"]

_AT_ONCE = 8_192
_HEADER = np.dtype(
    [("stored", "<u8"), ("kind", "u1"), ("codec", "u1"), ("item", "u1"), ("padding", "u1"),
     ("raw", "<u8"), ("oid", "u1", OID_BYTES), ("crc", "<u4")]
)  # fmt: skip
_OID_AT = ENTRY_HEADER_BYTES - 4 - OID_BYTES
_CRC_AT = ENTRY_HEADER_BYTES - 4
_IS_KIND = np.isin(np.arange(256), [int(kind) for kind in Kind])


def read_all(
    reader: PackReader, skip: NDArray[np.bool_] | None = None
) -> Iterator[tuple[int, int, BytesLike | CorruptionError]]:
    """Position, kind and verified bytes of every object, or what is wrong with it.

    Args:
        skip: What has been verified already, by position.
    """
    index, data, limit = reader.index, reader.data, reader.footer.index_offset
    offsets = np.frombuffer(index.offsets, dtype="<u8").astype(np.int64)
    kinds = np.frombuffer(index.kinds, dtype=np.uint8)
    keys = np.frombuffer(index.key_bytes, dtype="<u8").astype(">u8").view(np.uint8).reshape(-1, 8)
    tails = np.frombuffer(index.tail_bytes, dtype=np.uint8).reshape(-1, OID_BYTES - 8)
    flat = np.frombuffer(data, dtype=np.uint8)
    order = np.argsort(offsets, kind="stable")
    if skip is not None:
        order = order[~skip[order]]
    for first in range(0, len(order), _AT_ONCE):
        some = order[first : first + _AT_ONCE]
        at = offsets[some]
        inside = (at >= 0) & (at <= limit - ENTRY_HEADER_BYTES)
        rows = flat[np.where(inside, at, 0)[:, None] + np.arange(ENTRY_HEADER_BYTES)]
        header = rows.view(_HEADER).reshape(-1)
        starts = at + ENTRY_HEADER_BYTES + header["padding"]
        room = np.maximum(limit - starts, 0).astype(np.uint64)
        plain = (
            inside
            & (header["codec"] == int(Codec.RAW))
            & (header["item"] == 0)
            & (header["stored"] == header["raw"])
            & (header["stored"] <= room)
            & (header["padding"] < 64)  # noqa: PLR2004 - as decode_header has it
            & (header["kind"] == kinds[some])
            & _IS_KIND[header["kind"]]
            & (header["oid"][:, :8] == keys[some]).all(axis=1)
            & (header["oid"][:, 8:] == tails[some]).all(axis=1)
        )
        heads = rows.tobytes()
        ends = np.where(plain, starts + np.where(plain, header["stored"], 0).astype(np.int64), 0)
        fields = zip(
            some.tolist(), plain.tolist(), header["kind"].tolist(), header["crc"].tolist(),
            starts.tolist(), ends.tolist(), strict=True,
        )  # fmt: skip
        for row, (position, is_plain, kind, crc, start, end) in enumerate(fields):
            head = heads[ENTRY_HEADER_BYTES * row : ENTRY_HEADER_BYTES * (row + 1)]
            if is_plain and zlib.crc32(head[:_CRC_AT]) == crc:
                payload = data[start:end]
                if raw_hash(kind, payload) == head[_OID_AT:_CRC_AT]:
                    yield position, kind, payload
                    continue
            try:
                yield position, *reader.read_at(position)
            except CorruptionError as error:
                yield position, kind, error

"""One skeleton for one object: what pickle leaves to chance, taken out of the stream.

Two things in a protocol-5 stream depend on how an object came about and not on what it is:

- **Frames** (PEP 3154) are cut where the pickler's buffer happened to be full. They are removed;
  a stream without frames is a valid pickle.
- **Strings are memoised by identity.** ``"criterion"`` as an attribute's name and the same text
  in a tuple are one object after a fit (Python interns identifiers) and two after a load (the
  unpickler interns attribute names only). Here every distinct text is written once and fetched
  from the memo afterwards. Strings are immutable, so nothing can tell the difference.

Both are pure functions of bytes. Sharing between mutable objects stays exactly as it is.
"""

from __future__ import annotations

import re
from typing import Any

from n4a_store.errors import SerializationError

__all__ = ["by_value", "has_repeated_strings", "unframe"]

_PROTO = b"\x80\x05"
_FRAME = 0x95
_FRAME_HEADER = 9
# Opcode -> width of the length that follows it.
_STRINGS = {0x8C: 1, 0x58: 4, 0x8D: 8}  # SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
_MEMOIZE, _BINGET, _LONG_BINGET = 0x94, 0x68, 0x6A
_LENGTHS = {
    **_STRINGS,
    0x43: 1,  # SHORT_BINBYTES
    0x42: 4,  # BINBYTES
    0x8E: 8,  # BINBYTES8
    0x96: 8,  # BYTEARRAY8
    0x8A: 1,  # LONG1
    0x8B: 4,  # LONG4
}
# Opcode -> bytes of argument.
_FIXED = {
    0x80: 1,  # PROTO
    0x4B: 1,  # BININT1
    0x4D: 2,  # BININT2
    0x4A: 4,  # BININT
    0x47: 8,  # BINFLOAT
    0x82: 1,  # EXT1
    0x83: 2,  # EXT2
    0x84: 4,  # EXT4
    **dict.fromkeys(b"(.012NabdeosQRu)]}t", 0),
    **dict.fromkeys(b"\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x97\x98", 0),
}
_BINGET_MAX = 0xFF
_GETS = tuple(bytes((_BINGET, index)) for index in range(_BINGET_MAX + 1))
# Whatever neither names the memo nor has a length: nearly every second opcode, in runs.
_RUN = re.compile(
    rb"(?:[(.012NabdeosQRu)\]}t\x81\x85-\x89\x8f-\x93\x97\x98]|[\x80K\x82].|[M\x83]..|[J\x84]....|G.{8})+",
    re.DOTALL,
)


def unframe(stream: bytes) -> bytes:
    """A protocol-5 stream without its frames."""
    length = int.from_bytes(stream[3:11], "little") if stream[2:3] == b"\x95" else -1
    if 2 + _FRAME_HEADER + length == len(stream):  # one frame: nearly always
        return _PROTO + stream[2 + _FRAME_HEADER :]
    parts, at = [_PROTO], 2
    while at < len(stream):
        op = stream[at]
        if op == _FRAME:
            size = int.from_bytes(stream[at + 1 : at + 9], "little")
            parts.append(stream[at + 9 : at + 9 + size])
            at += 9 + size
        elif op in _LENGTHS:
            width = _LENGTHS[op]
            size = 1 + width + int.from_bytes(stream[at + 1 : at + 1 + width], "little")
            parts.append(stream[at : at + size])
            at += size
        else:
            # Fewer than four bytes between two large objects, or at the end, get no frame.
            size = 2 if op == _BINGET else 1 + _FIXED.get(op, 0)
            parts.append(stream[at : at + size])
            at += size
    return b"".join(parts)


def has_repeated_strings(memo: dict[int, tuple[int, Any]]) -> bool:
    """Whether a pickler's memo holds two strings of the same value."""
    strings = [obj for _, obj in memo.values() if type(obj) is str]
    return len(set(strings)) != len(strings)


def by_value(stream: bytes) -> bytes:
    """An unframed stream in which every distinct string is written once.

    Raises:
        SerializationError: An opcode that protocol 5 does not write.
    """
    out = bytearray()
    places: list[int] = []  # old memo index -> new one
    known: dict[bytes, int] = {}  # a string with its opcode -> new memo index
    count = 0  # of new memo indices
    at, end = 0, len(stream)
    while at < end:
        op = stream[at]
        if op in _LENGTHS:
            width = _LENGTHS[op]
            stop = at + 1 + width + int.from_bytes(stream[at + 1 : at + 1 + width], "little")
            piece = stream[at:stop]
            if op in _STRINGS and stream[stop] == _MEMOIZE:
                stop += 1
                place = known.get(piece)
                if place is not None:
                    places.append(place)
                    out += _GETS[place] if place <= _BINGET_MAX else _get(place)
                else:
                    known[piece] = count
                    places.append(count)
                    count += 1
                    out += piece
                    out.append(_MEMOIZE)
            else:
                out += piece
            at = stop
        elif op == _MEMOIZE:
            places.append(count)
            count += 1
            out.append(op)
            at += 1
        elif op == _BINGET:
            place = places[stream[at + 1]]
            out += _GETS[place] if place <= _BINGET_MAX else _get(place)
            at += 2
        elif op == _LONG_BINGET:
            place = places[int.from_bytes(stream[at + 1 : at + 5], "little")]
            out += _GETS[place] if place <= _BINGET_MAX else _get(place)
            at += 5
        elif (run := _RUN.match(stream, at)) is not None:
            out += run[0]
            at = run.end()
        else:
            raise SerializationError(f"opcode {op:#04x} at {at} is not one of protocol 5")
    return bytes(out)


def _get(index: int) -> bytes:
    if index <= _BINGET_MAX:
        return bytes((_BINGET, index))
    return bytes((_LONG_BINGET,)) + index.to_bytes(4, "little")

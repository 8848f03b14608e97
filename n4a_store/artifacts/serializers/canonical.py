"""One skeleton for one object: what pickle leaves to chance, taken out of the stream.

Two things in a protocol-5 stream depend on how an object came about and not on what it is:

- **Frames** (PEP 3154) are cut where the pickler's buffer happened to be full. They are removed;
  a stream without frames is a valid pickle.
- **Strings are memoised by identity.** ``"criterion"`` as an attribute's name and the same text
  in a tuple are one object after a fit (Python interns identifiers) and two after a load (the
  unpickler interns attribute names only). Here every distinct text is written once and fetched
  from the memo afterwards. Strings are immutable, so nothing can tell the difference.

Both are pure functions of bytes; the pickler's memo only says which of its places hold strings, so
that nobody has to count them. Sharing between mutable objects stays exactly as it is.
"""

from __future__ import annotations

import functools
import re
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

from n4a_store.errors import SerializationError

__all__ = ["by_value", "unframe"]

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
# Opcodes without an argument, and those with one of a fixed width that is no place in the memo.
_BARE = rb"[(.012NabdeosQRu)\]}t\x81\x85-\x89\x8f-\x94\x97\x98]*+"
_WITH_ARGUMENT = rb"[\x80K\x82].|[M\x83]..|[J\x84]....|G.{8}"
_STEP = 16


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


def by_value(stream: bytes, memo: Mapping[int, tuple[int, Any]]) -> bytes:
    """An unframed stream in which every distinct string is written once.

    Args:
        stream: What a pickler has written.
        memo: A copy of the pickler's memo: place and object, by the object's identity.

    Raises:
        SerializationError: An opcode that protocol 5 does not write.
    """
    strings = [entry for entry in memo.values() if type(entry[1]) is str]
    if len({text for _, text in strings}) == len(strings):
        return stream
    strings.sort()
    firsts: dict[str, int] = {}
    again: dict[int, int] = {}  # the places that go, in order, and those that take their part
    for place, text in strings:
        first = firsts.setdefault(text, place)
        if first != place:
            again[place] = first
    return _written_once(stream, again, {_put(text): at for at, text in strings if at in again})


def _written_once(stream: bytes, again: dict[int, int], repeated: dict[bytes, int]) -> bytes:
    """``stream`` without the places in ``again``, where the ``repeated`` strings stand."""
    gone = list(again)
    gets: dict[int, bytes] = {}

    def get(place: int) -> bytes:
        at = again.get(place, place)
        return gets.setdefault(place, _get(at - bisect_left(gone, at)))

    met: set[bytes] = set()
    run = _run(min(gone[0], _BINGET_MAX + 1) // _STEP).match
    out: list[bytes] = []
    at, end = 0, len(stream)
    while (same := run(stream, at)) is not None:
        out.append(same[0])
        at = same.end()
        if at == end:
            break
        op = stream[at]
        if op == _BINGET:
            place = stream[at + 1]
            out.append(gets.get(place) or get(place))
            at += 2
        elif op == _LONG_BINGET:
            out.append(get(int.from_bytes(stream[at + 1 : at + 5], "little")))
            at += 5
        elif op in _LENGTHS:
            stop = at + 1 + _LENGTHS[op]
            stop += int.from_bytes(stream[at + 1 : stop], "little")
            if op in _STRINGS and stream[stop] == _MEMOIZE:
                stop += 1
            piece = stream[at:stop]
            at = stop
            if piece in met:
                piece = get(repeated[piece])
            elif piece in repeated:
                met.add(piece)
            out.append(piece)
        else:
            raise SerializationError(f"opcode {op:#04x} at {at} is not one of protocol 5")
    return b"".join(out)


@functools.cache
def _run(steps: int) -> re.Pattern[bytes]:
    """Opcodes that stay: those without a length that fetch nothing from place 16 x ``steps`` on.

    Most fetches are of names and classes at the beginning, before anything goes.
    """
    low = rb"h[\x00-\x%02x]|" % (steps * _STEP - 1) if steps else b""
    return re.compile(b"%b(?:(?:%b%b)%b)*+" % (_BARE, low, _WITH_ARGUMENT, _BARE), re.DOTALL)


def _get(place: int) -> bytes:
    if place <= _BINGET_MAX:
        return bytes((_BINGET, place))
    return bytes((_LONG_BINGET,)) + place.to_bytes(4, "little")


def _put(text: str) -> bytes:
    """A string as a pickler writes and memoises it."""
    data = text.encode("utf-8", "surrogatepass")
    op = next(op for op, width in _STRINGS.items() if not len(data) >> 8 * width)
    return b"%c%b%b%c" % (op, len(data).to_bytes(_STRINGS[op], "little"), data, _MEMOIZE)

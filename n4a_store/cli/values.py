"""Blobs and canonical values as text for people: never raw bytes, never endless."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from n4a_store import errors

_SHOWN_BYTES = 256
_ROW = 16


def blob_lines(data: bytes) -> Iterator[str]:
    """What a blob holds, for a terminal: text, a canonical value, or the start of a hex dump."""
    text = _text(data)
    if text is not None:
        yield from text.splitlines()
        return
    value = _value(data)
    if value is not None:
        yield from value_lines(value)
        return
    for start in range(0, min(len(data), _SHOWN_BYTES), _ROW):
        row = data[start : start + _ROW]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)  # noqa: PLR2004
        yield f"{start:08x}  {row.hex(' '):<{3 * _ROW}} {shown}"
    if len(data) > _SHOWN_BYTES:
        yield f"… {len(data) - _SHOWN_BYTES} more bytes; send it to a file or a pipe for all"


def value_lines(value: object, indent: int = 0) -> Iterator[str]:
    """A canonical value as indented lines, one fact each."""
    pad = "  " * indent
    if isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(item, Mapping | list) and item:
                yield f"{pad}{key}:"
                yield from value_lines(item, indent + 1)
            else:
                yield f"{pad}{key}: {scalar(item)}"
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, Mapping | list) and item:
                yield f"{pad}-"
                yield from value_lines(item, indent + 1)
            else:
                yield f"{pad}- {scalar(item)}"
    else:
        yield f"{pad}{scalar(value)}"


def scalar(value: object) -> str:
    """One plain value as text; bytes as the hex of their start."""
    if isinstance(value, bytes):
        return value.hex() if len(value) <= 2 * _ROW else f"{value[:_ROW].hex()}… {len(value)} B"
    if isinstance(value, str):
        return value
    return repr(value)


def _text(data: bytes) -> str | None:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if all(ch.isprintable() or ch in "\n\t" for ch in text) else None


def _value(data: bytes) -> object:
    from n4a_store.objects.codec import decode_value

    try:
        value = decode_value(data)
    except errors.CorruptionError:
        return None
    return value if isinstance(value, Mapping | list) else None

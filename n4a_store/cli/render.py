"""Where output goes: data to stdout, everything else to stderr, and no raw name to a terminal.

Every string that passes through `Output` is made safe here, so no command can forget to.
JSON output is one object with `"schema": 1`; within a schema fields are only ever added.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO

from n4a_store.cli import terminal

JSON_SCHEMA = 1
_NARROWEST = 8  # cells; a narrower column says nothing, so the line wraps instead
_STYLES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "cyan": "36",
}


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of text with a style, applied after the text was made safe."""

    text: str
    style: str


@dataclass(frozen=True, slots=True)
class Column:
    """A table column. A flexible one gives way when the terminal is narrow.

    With `tail`, what is cut away is the middle: names that begin alike differ in their ends.
    """

    title: str
    right: bool = False
    flexible: bool = False
    style: str = ""
    tail: bool = False


Part = str | Span


class Literal(str):
    """Text that is written as it is: ours, or typed on the command line for that purpose."""

    __slots__ = ()


class Output:
    """The two streams of a command, and how to write on them."""

    def __init__(self, *, color: str = "auto", quiet: bool = False) -> None:
        self.stdout: IO[str] = sys.stdout
        self.stderr: IO[str] = sys.stderr
        self.quiet = quiet
        self._color = color
        self._failures: list[dict[str, object]] = []

    def line(self, *parts: Part) -> None:
        """One line of data on stdout."""
        self._write(self.stdout, parts)

    def fields(self, *fields: str, separator: str = "\t", end: str = "\n") -> None:
        """One record of plumbing output; each field is made safe, the separators are ours.

        Records that end with NUL are for programs: off a terminal their fields stay as they are.
        """
        if end == "\0" and not self.is_terminal():
            self.raw((separator.join(fields) + end).encode("utf-8", "surrogateescape"))
            return
        text = separator.join(
            field if isinstance(field, Literal) else terminal.safe(field) for field in fields
        )
        self.stdout.write(terminal.encodable(text, _encoding(self.stdout)) + end)

    def raw(self, data: bytes | memoryview) -> None:
        """Bytes on stdout, as they are."""
        self.stdout.flush()
        self.stdout.buffer.write(data)  # type: ignore[attr-defined]

    def note(self, *parts: Part) -> None:
        """One line of narration on stderr; `--quiet` drops it."""
        if not self.quiet:
            self._tell(*parts)

    def error(self, message: str, hint: str | None = None) -> None:
        """`error: …`, then `hint: …`, on stderr."""
        self._tell(Span("error:", "red"), " " + message)
        if hint:
            self._tell(Span("hint:", "cyan"), " " + hint)

    def failed(self, dataset: str, where: str, message: str, hint: str | None) -> None:
        """An error that concerns one dataset and ends nothing; JSON lists it under `errors`."""
        self.error(where + message, hint)
        self._failures.append({"dataset": dataset or None, "message": message, "hint": hint})

    def warning(self, message: str, hint: str | None = None) -> None:
        """`warning: …` on stderr; shown even under `--quiet`."""
        self._tell(Span("warning:", "yellow"), " " + message)
        if hint:
            self._tell(Span("hint:", "cyan"), " " + hint)

    def _tell(self, *parts: Part) -> None:
        """On stderr, after the data that came before it, where both go into one pipe."""
        self.stdout.flush()
        self._write(self.stderr, parts)

    def json(self, command: str, payload: dict[str, object]) -> None:
        """One JSON object on stdout: the envelope, then the command's own fields."""
        import json

        envelope: dict[str, object] = {"schema": JSON_SCHEMA, "command": command}
        if self._failures:
            envelope["errors"] = self._failures
        # ASCII only: JSON's own escapes keep every name harmless on a terminal.
        document = json.dumps(envelope | plain_fields(payload), indent=2, ensure_ascii=True)
        self.stdout.write(document + "\n")

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
        """A table with a header; on a terminal its flexible columns shrink to fit."""
        # Before anything is measured: a glyph's ASCII form may take more cells.
        ascii_only = self._ascii_only(self.stdout)
        make = terminal.plain_glyphs if ascii_only else str
        cells = [[make(terminal.safe(cell)) for cell in row] for row in rows]
        titles = [column.title for column in columns]
        widths = [
            max(terminal.width(row[i]) for row in [titles, *cells]) for i in range(len(columns))
        ]
        self._shrink(columns, widths)
        if any(titles):
            self._row(columns, widths, titles, header=True)
        for row in cells:
            self._row(columns, widths, row, header=False)

    def is_terminal(self) -> bool:
        """Whether stdout is a terminal."""
        return self.stdout.isatty()

    def width(self) -> int | None:
        """Cells a line on stdout may take; None where nothing should be cut."""
        return terminal.columns(is_terminal=self.is_terminal())

    def _shrink(self, columns: Sequence[Column], widths: list[int]) -> None:
        limit = self.width()
        flexible = [i for i, column in enumerate(columns) if column.flexible]
        if limit is None or not flexible:
            return
        excess = sum(widths) + 2 * (len(widths) - 1) - limit
        while excess > 0:
            widest = max(flexible, key=lambda i: widths[i])
            if widths[widest] <= _NARROWEST:
                return
            widths[widest] -= 1
            excess -= 1

    def _row(
        self, columns: Sequence[Column], widths: list[int], row: Sequence[str], *, header: bool
    ) -> None:
        parts: list[Part] = []
        ascii_only = self._ascii_only(self.stdout)
        ellipsis = terminal.ASCII_ELLIPSIS if ascii_only else terminal.ELLIPSIS
        for i, (column, size) in enumerate(zip(columns, widths, strict=True)):
            text = terminal.clip(row[i], size, tail=column.tail, ellipsis=ellipsis)
            pad = " " * (size - terminal.width(text))
            last = i == len(columns) - 1
            text = pad + text if column.right else text if last else text + pad
            style = "dim" if header else column.style
            parts.append(Span(text, style) if style else text)
            if not last:
                parts.append("  ")
        self._write(self.stdout, parts, strip=True)

    def _write(self, stream: IO[str], parts: Sequence[Part], *, strip: bool = False) -> None:
        encoding, colored = _encoding(stream), self._colored(stream)
        ascii_only = self._ascii_only(stream)
        texts: list[str] = []
        for part in parts:
            text = terminal.safe(part if isinstance(part, str) else part.text)
            text = terminal.plain_glyphs(text) if ascii_only else text
            text = terminal.encodable(text, encoding)
            if isinstance(part, Span) and colored and part.style:
                text = f"\x1b[{_STYLES[part.style]}m{text}\x1b[0m"
            texts.append(text)
        line = "".join(texts)
        stream.write((line.rstrip() if strip else line) + "\n")

    def _ascii_only(self, stream: IO[str]) -> bool:
        return terminal.wants_ascii(os.environ, _encoding(stream))

    def _colored(self, stream: IO[str]) -> bool:
        if self._color != "auto":
            return self._color == "always"
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            return False
        return stream.isatty()


def plain_fields(payload: dict[str, object]) -> dict[str, object]:
    """`payload` with every value as JSON can hold it."""
    return {key: plain(value) for key, value in payload.items()}


def plain(value: object) -> object:
    """`value` as plain JSON: dataclasses as objects, ids as hex, enums by value."""
    from enum import Enum

    if isinstance(value, Enum):
        label = getattr(value, "label", None)
        return label if isinstance(label, str) else value.value
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        # JSON has no NaN or infinity; their names say more than a null would.
        return value if value - value == 0 else str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        import base64

        return {"base64": base64.b64encode(value).decode("ascii")}
    return _plain_compound(value)


def _plain_compound(value: object) -> object:
    import dataclasses
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    if isinstance(hex_form := getattr(value, "hex", None), str):
        return hex_form
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, AbstractSet):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    return str(value)


def _encoding(stream: IO[str]) -> str:
    return getattr(stream, "encoding", None) or "ascii"

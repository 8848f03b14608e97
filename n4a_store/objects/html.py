"""Small HTML tables for notebooks. Pure: facts in, text out, everything escaped.

Control, format and bidirectional characters come out as visible escapes, as they do in the
commands: a name cannot reorder what a notebook shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["facts_html", "size_text", "table_html"]

_KIB = 1024


def facts_html(title: str, facts: Iterable[tuple[str, object]]) -> str:
    """A title and facts, one a row."""
    rows = "".join(
        f"<tr><th>{_safe(name)}</th><td>{_safe(value)}</td></tr>" for name, value in facts
    )
    return f"<div><b>{_safe(title)}</b><table>{rows}</table></div>"


def table_html(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A title and a table."""
    head = "".join(f"<th>{_safe(name)}</th>" for name in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{_safe(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<div><b>{_safe(title)}</b><table><tr>{head}</tr>{body}</table></div>"


def size_text(size: float) -> str:
    """Bytes for people, in binary units."""
    unit = "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < _KIB or unit == "TiB":
            break
        size /= _KIB
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def _safe(value: object) -> str:
    text = str(value)
    shown = "".join(
        ch if ch.isprintable() else ch.encode("unicode_escape").decode("ascii") for ch in text
    )
    return escape(shown)

"""Text that is safe to show: nothing a name contains can steer, reorder or hide on a terminal.

Control, escape, format (bidi included), surrogate and invisible characters come out as visible
escapes; widths are counted in terminal cells; sizes are binary and labelled.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping

# Letters by category, yet drawn as nothing: they would make two names look alike.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_ASCII_GLYPHS = str.maketrans(
    {
        "…": "...",
        "×": "x",
        "Δ": "d",
        "·": "-",
        "→": "->",
        "←": "<-",
        "├": "|",
        "└": "`",
        "─": "-",
        "│": "|",
        "●": "*",
        "✓": "ok",
        "✗": "x",
        "≤": "<=",
        "≥": ">=",
    }
)
# What Python's locale coercion puts into LC_CTYPE.
_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")
ELLIPSIS, ASCII_ELLIPSIS = "…", "..."
_KIB = 1024
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def safe(text: str) -> str:
    """`text` with every character that could act on a terminal written as an escape."""
    if text.isprintable() and _INVISIBLE.isdisjoint(text):
        return text
    return "".join(ch if ch.isprintable() and ch not in _INVISIBLE else _escape(ch) for ch in text)


def _escape(ch: str) -> str:
    return ch.encode("unicode_escape").decode("ascii")


def wants_ascii(environ: Mapping[str, str], encoding: str) -> bool:
    """Whether our own glyphs are to be ASCII on a stream of this encoding.

    Python writes UTF-8 where the user's locale is C, because it cannot know better; a terminal
    that was declared to be of another charset would show our glyphs as rubbish. Names are data,
    and stay what Python makes of them. `PYTHONUTF8` and `PYTHONIOENCODING` are explicit: they win.
    """
    if not _is_utf_8(encoding):
        return True
    if environ.get("PYTHONUTF8") or environ.get("PYTHONIOENCODING", "").partition(":")[0]:
        return False
    names = ("LC_ALL", "LC_CTYPE", "LANG")
    all_, ctype, lang = (environ.get(name, "") for name in names)
    if not all_ and ctype in _COERCED and lang:
        ctype = ""  # Python put it there, because LANG says C (PEP 538)
    locale = all_ or ctype or lang
    charset = locale.partition(".")[2].partition("@")[0]
    # Without a charset, 'de_DE' says nothing and Python knows better; C and POSIX say ASCII.
    return locale in ("C", "POSIX") or bool(charset and not _is_utf_8(charset))


def _is_utf_8(charset: str) -> bool:
    return charset.lower().replace("-", "").replace("_", "") == "utf8"


def plain_glyphs(text: str) -> str:
    """`text` with our glyphs as ASCII, and all else as it is."""
    return text if text.isascii() else text.translate(_ASCII_GLYPHS)


def encodable(text: str, encoding: str) -> str:
    """`text` as `encoding` can write it: our glyphs become ASCII, anything else an escape."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return plain_glyphs(text).encode(encoding, "backslashreplace").decode(encoding)
    return text


def width(text: str) -> int:
    """Terminal cells that `text` occupies (wide East Asian characters take two)."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(ch) else 2 if unicodedata.east_asian_width(ch) in "WF" else 1
        for ch in text
    )


def clip(text: str, cells: int, *, tail: bool = False, ellipsis: str = ELLIPSIS) -> str:
    """`text` cut to at most `cells` cells, with an ellipsis for what was cut away.

    That is its end, or with `tail` its middle.
    """
    if width(text) <= cells:
        return text
    if tail:
        head = clip(text, cells - (cells - len(ellipsis)) // 2, ellipsis=ellipsis)
        return head + _last_cells(text, cells - width(head))
    kept: list[str] = []
    used = len(ellipsis)
    for ch in text:
        used += width(ch)
        if used > cells:
            break
        kept.append(ch)
    return "".join(kept) + ellipsis if cells >= len(ellipsis) else ""


def _last_cells(text: str, cells: int) -> str:
    kept, used = "", 0
    for ch in reversed(text):
        used += width(ch)
        if used > cells:
            break
        kept = ch + kept
    return kept


def human_size(size: float) -> str:
    """`size` in bytes for people: `512 B`, `12.3 MiB`; binary units, always labelled."""
    if abs(size) < _KIB:
        return f"{int(size)} B"
    value, unit = float(size), ""
    for unit in _UNITS:  # noqa: B007
        value /= _KIB
        if round(abs(value), 1) < _KIB:
            break
    return f"{value:.1f} {unit}"


def human_count(number: int) -> str:
    """`number` with its thousands apart: `1 204`."""
    return f"{number:,}".replace(",", " ")


def counted(number: int, plural: str) -> str:
    """A number of things: `1 pack`, `1 204 packs`."""
    return f"{human_count(number)} {plural.removesuffix('s') if number == 1 else plural}"


def columns(*, is_terminal: bool) -> int | None:
    """How many cells a line may take; None off a terminal, where nothing is cut.

    `$COLUMNS` is obeyed in both cases: whoever sets it asks for that width.
    """
    value = os.environ.get("COLUMNS", "")
    if value.isdigit() and int(value) > 0:
        return max(int(value), 40)
    if not is_terminal:
        return None
    try:
        known = os.get_terminal_size().columns
    except OSError:
        known = 0
    return max(known, 40) if known else 80  # a container's or a serial terminal says 0

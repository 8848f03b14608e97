"""Reading our own Markdown: links, headings and fenced blocks, enough of them to check a page.

Text inside fences and code spans is not a link and not a heading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

_FENCE = re.compile(r"^\s*(`{3,}|~{3,})\s*(.*)$")
_CODE_SPAN = re.compile(r"(`+).+?\1")
_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_REFERENCE = re.compile(r"^\s*\[[^\]]+\]:\s*(\S+)")
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: the line it begins on, what stands after the fence, and its text."""

    line: int
    info: str
    text: str


def pages() -> list[Path]:
    """Every page of the project: those beside the README and those under docs."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def _scan(text: str) -> Iterator[tuple[int, str, Block | None]]:
    """Every line of prose, and every fenced block once it is closed."""
    fence, info, began = "", "", 0
    inside: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        found = _FENCE.match(line)
        if fence:
            if found and found[1].startswith(fence) and not found[2]:
                yield number, "", Block(began, info, "\n".join(inside) + "\n")
                fence, inside = "", []
            else:
                inside.append(line)
        elif found:
            fence, info, began = found[1], found[2].strip(), number
        else:
            yield number, line, None
    if fence:
        raise ValueError(f"the fence of line {began} is never closed")


def blocks(text: str) -> list[Block]:
    """The fenced blocks, in order."""
    return [block for _, _, block in _scan(text) if block is not None]


def links(text: str) -> list[tuple[int, str]]:
    """Line and target of every link."""
    found = []
    for number, line, block in _scan(text):
        if block is None:
            prose = _CODE_SPAN.sub("", line)
            found += [(number, target) for target in _LINK.findall(prose)]
            found += [(number, target) for target in _REFERENCE.findall(prose)]
    return found


def anchors(text: str) -> set[str]:
    """The fragment of every heading, by the rule that code hosts follow."""
    made: dict[str, int] = {}
    found = set()
    for _, line, block in _scan(text):
        heading = _HEADING.match(line) if block is None else None
        if heading is None:
            continue
        slug = re.sub(r"[^\w\- ]", "", heading[1].lower()).replace(" ", "-")
        count = made.get(slug, 0)
        made[slug] = count + 1
        found.add(f"{slug}-{count}" if count else slug)
    return found

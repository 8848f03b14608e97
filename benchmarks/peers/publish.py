"""From JSON lines to what the documentation shows of them: two tables and three pictures.

    python -m benchmarks.peers.publish RESULTS.jsonl

keeps the lines in ``benchmarks/published/``, draws the pictures into ``docs/explanation/pictures/``
and writes the tables between their marks in ``docs/explanation/performance.md``. A test makes sure
that page and pictures say what the lines say.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.peers.pictures import PICTURES, draw
from benchmarks.peers.table import collect, tables

__all__ = ["LINES", "PAGE", "PICTURES_FOLDER", "published", "read_lines", "with_tables"]

ROOT = Path(__file__).resolve().parents[2]
LINES = ROOT / "benchmarks" / "published" / "peers-small.jsonl"
PAGE = ROOT / "docs" / "explanation" / "performance.md"
PICTURES_FOLDER = ROOT / "docs" / "explanation" / "pictures"
_BEGIN, _END = "<!-- the tables of benchmarks/published -->", "<!-- end of the tables -->"


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The turns of a run of the driver."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def published(lines: list[dict[str, Any]]) -> Mapping[str, str]:
    """The pictures by file name."""
    ratios = collect(lines)
    return {f"{picture.figure}.svg": draw(picture, ratios) for picture in PICTURES}


def with_tables(page: str, lines: list[dict[str, Any]]) -> str:
    """The page with the tables of these lines between the marks.

    Raises:
        ValueError: It has no marks.
    """
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"the page has no {_BEGIN} … {_END}")
    against_floor, against_best = tables(collect(lines))
    shown = f"\n\n{against_floor}\n\nAgainst the best peer in each column:\n\n{against_best}\n\n"
    return before + begin + shown + end + after


def main() -> None:
    """Publish a file of results."""
    text = Path(sys.argv[1]).read_text("utf-8")
    LINES.parent.mkdir(exist_ok=True)
    LINES.write_text(text, encoding="utf-8")
    lines = read_lines(LINES)
    PICTURES_FOLDER.mkdir(exist_ok=True)
    for name, svg in published(lines).items():
        (PICTURES_FOLDER / name).write_text(svg, encoding="utf-8")
    PAGE.write_text(with_tables(PAGE.read_text("utf-8"), lines), encoding="utf-8")


if __name__ == "__main__":
    main()

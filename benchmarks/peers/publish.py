"""From JSON lines to what the documentation shows of them: two tables and three pictures.

    python -m benchmarks.peers.publish RESULTS.jsonl

keeps the lines in ``benchmarks/published/``, a file for each form of the workload, and writes the
tables between the marks of that form in ``docs/explanation/performance.md``. The small form is
drawn as well, into ``docs/explanation/pictures/``. A test makes sure that page and pictures say
what the lines say.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.peers.pictures import PICTURES, draw
from benchmarks.peers.table import collect, tables

__all__ = ["FORMS", "PAGE", "PICTURES_FOLDER", "lines_of", "published", "read_lines", "with_tables"]

ROOT = Path(__file__).resolve().parents[2]
FORMS = ("small", "full")
PAGE = ROOT / "docs" / "explanation" / "performance.md"
PICTURES_FOLDER = ROOT / "docs" / "explanation" / "pictures"
_DRAWN = "small"


def lines_of(form: str) -> Path:
    """The published lines of a form of the workload."""
    return ROOT / "benchmarks" / "published" / f"peers-{form}.jsonl"


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The turns of a run of the driver."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def published(lines: list[dict[str, Any]]) -> Mapping[str, str]:
    """The pictures by file name."""
    ratios = collect(lines)
    return {f"{picture.figure}.svg": draw(picture, ratios) for picture in PICTURES}


def with_tables(page: str, form: str, lines: list[dict[str, Any]]) -> str:
    """The page with the tables of these lines between the marks of their form.

    Raises:
        ValueError: It has no marks.
    """
    first = f"<!-- the tables of benchmarks/published/peers-{form}.jsonl -->"
    before, begin, rest = page.partition(first)
    _, end, after = rest.partition("<!-- end of the tables -->")
    if not (begin and end):
        raise ValueError(f"the page has no {first} … <!-- end of the tables -->")
    after = end + after
    against_floor, against_best = tables(collect(lines))
    shown = f"\n\n{against_floor}\n\nAgainst the best peer in each column:\n\n{against_best}\n\n"
    return before + begin + shown + after


def main() -> None:
    """Publish a file of results."""
    text = Path(sys.argv[1]).read_text("utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    form: str = lines[0]["form"]
    lines_of(form).parent.mkdir(exist_ok=True)
    lines_of(form).write_text(text, encoding="utf-8")
    if form == _DRAWN:
        PICTURES_FOLDER.mkdir(exist_ok=True)
        for name, svg in published(lines).items():
            (PICTURES_FOLDER / name).write_text(svg, encoding="utf-8")
    PAGE.write_text(with_tables(PAGE.read_text("utf-8"), form, lines), encoding="utf-8")


if __name__ == "__main__":
    main()

"""What the documentation shows of the benchmarks is what was measured."""

from __future__ import annotations

from benchmarks.peers.publish import (
    LINES,
    PAGE,
    PICTURES_FOLDER,
    published,
    read_lines,
    with_tables,
)


def test_the_tables_of_the_page_are_those_of_the_lines() -> None:
    page = PAGE.read_text(encoding="utf-8")
    shown = with_tables(page, read_lines(LINES))
    assert shown == page, "run: python -m benchmarks.peers.publish benchmarks/published/…"
    assert "| n4a_store balanced" in shown


def test_the_pictures_are_those_of_the_lines() -> None:
    drawn = published(read_lines(LINES))
    stored = {path.name: path.read_text(encoding="utf-8") for path in PICTURES_FOLDER.iterdir()}
    assert stored == drawn

"""What the documentation shows of the benchmarks is what was measured."""

from __future__ import annotations

import pytest

from benchmarks.peers.publish import (
    FORMS,
    PAGE,
    PICTURES_FOLDER,
    lines_of,
    published,
    read_lines,
    with_tables,
)


@pytest.mark.parametrize("form", FORMS)
def test_the_tables_of_the_page_are_those_of_the_lines(form: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    lines = read_lines(lines_of(form))
    assert {line["form"] for line in lines} == {form}
    shown = with_tables(page, form, lines)
    assert shown == page, "run: python -m benchmarks.peers.publish benchmarks/published/…"
    assert "| n4a_store balanced" in shown


def test_the_pictures_are_those_of_the_lines() -> None:
    drawn = published(read_lines(lines_of("small")))
    stored = {path.name: path.read_text(encoding="utf-8") for path in PICTURES_FOLDER.iterdir()}
    assert stored == drawn

"""Every link inside the project leads somewhere, and every page can be reached from the index."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.markdown import ROOT, anchors, links, pages

INDEX = ROOT / "docs" / "index.md"


def broken_links(page: Path) -> list[str]:
    """What is wrong with the links of one page. Other people's sites are not visited."""
    broken = []
    for line, target in links(page.read_text(encoding="utf-8")):
        parts = urlsplit(target)
        if parts.scheme:
            if parts.scheme not in ("https", "mailto"):
                broken.append(f"line {line}: {target} is not https")
            continue
        goal = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if not goal.is_relative_to(ROOT):
            broken.append(f"line {line}: {target} leaves the project")
        elif not goal.exists():
            broken.append(f"line {line}: {target} does not exist")
        elif parts.fragment and parts.fragment not in anchors(goal.read_text(encoding="utf-8")):
            broken.append(f"line {line}: {target} has no such heading")
    return broken


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_every_page_under_docs_can_be_reached_from_the_index() -> None:
    reached: set[Path] = set()
    todo = [INDEX]
    while todo:
        page = todo.pop()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        for _, target in links(page.read_text(encoding="utf-8")):
            if not urlsplit(target).scheme and urlsplit(target).path:
                todo.append((page.parent / urlsplit(target).path).resolve())
    under_docs = {page for page in pages() if page.is_relative_to(ROOT / "docs")}
    assert sorted(str(page.relative_to(ROOT)) for page in under_docs - reached) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a](nowhere.md)", "line 1: nowhere.md does not exist"),
        ("\n[a](README.md#no-such-heading)", "line 2: README.md#no-such-heading has no such"),
        ("[a](#no-such-heading)", "has no such heading"),
        ("[a](../elsewhere.md)", "leaves the project"),
        ("[a](http://example.org)", "is not https"),
        ("[a]: nowhere.md", "does not exist"),
    ],
)
def test_the_checker_sees_a_broken_link(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.docs.test_links.ROOT", tmp_path)
    (tmp_path / "README.md").write_text("# A heading\n")
    page = tmp_path / "page.md"
    page.write_text(text)
    (broken,) = broken_links(page)
    assert said in broken


def test_the_checker_leaves_code_and_good_links_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.docs.test_links.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "# Two `words`: here\n[a](#two-words-here) `[b](nowhere.md)`\n"
        "```\n[c](nowhere.md)\n# not a heading\n```\n[d](page.md) [e](https://example.org)\n"
    )
    assert broken_links(page) == []
    assert anchors(page.read_text()) == {"two-words-here"}

"""The reference pages of the commands are what their help says."""

from __future__ import annotations

import importlib.util

from tests.docs.markdown import ROOT

FOLDER = ROOT / "docs" / "reference" / "commands"


def generated() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("generate", FOLDER / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pages: dict[str, str] = module.pages()
    return pages


def test_the_pages_are_those_of_the_commands() -> None:
    stored = {page.name: page.read_text(encoding="utf-8") for page in FOLDER.glob("*.md")}
    made = generated()
    assert set(stored) == set(made)
    stale = [name for name, text in made.items() if stored[name] != text]
    assert stale == [], "run: python docs/reference/commands/generate.py"
    assert len(made) > 40

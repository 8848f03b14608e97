"""The roadmap's page names modules and tests that there are."""

from __future__ import annotations

import re

import pytest

from tests.docs.markdown import ROOT

PAGE = (ROOT / "docs" / "reference" / "roadmap.md").read_text(encoding="utf-8")
TESTS = {path.name: path.read_text(encoding="utf-8") for path in ROOT.glob("tests/*/**/test_*.py")}


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([\w/]+\.py::\w+)`", PAGE))))
def test_the_tests_exist(name: str) -> None:
    path, _, function = name.partition("::")
    assert f"def {function}(" in TESTS[path.rpartition("/")[2]]


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(\w+/[\w/]+\.py)`", PAGE))))
def test_the_files_exist(path: str) -> None:
    assert (ROOT / path).is_file() or (ROOT / "n4a_store" / path).is_file()

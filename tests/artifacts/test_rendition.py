"""The YAML rendition: it reads back as it was, and no character in it acts unseen."""

from __future__ import annotations

import unicodedata

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from n4a_store.artifacts.rendition import render


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", '"plain"'),
        ("öl \u7389\u7c73 \U0001f33d", '"öl \u7389\u7c73 \U0001f33d"'),
        ("a\u202eb", '"a\\u202eb"'),
        ("\u2066x\u2069", '"\\u2066x\\u2069"'),
        ("\u200f\u200b\u3164", '"\\u200f\\u200b\\u3164"'),
        ("\U000e0041", '"\\U000e0041"'),
        ("\x1b[2J\x9b", '"\\u001b[2J\\u009b"'),
        ("\u2028\ufeff", '"\\u2028\\ufeff"'),
    ],
)
def test_what_would_act_unseen_is_escaped(text: str, shown: str) -> None:
    page = render({"name": text, "items": [{"params": {text: [text]}}]})
    assert page.splitlines()[0] == f"name: {shown}"
    assert yaml.safe_load(page) == {"name": text, "items": [{"params": {text: [text]}}]}


@given(st.text())
def test_any_text_reads_back_and_shows_itself(text: str) -> None:
    page = render({"name": text, "items": []})
    assert yaml.safe_load(page)["name"] == text
    hidden = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert not hidden & {unicodedata.category(ch) for ch in page.replace("\n", "")}

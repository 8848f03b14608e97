"""Names cannot act on a terminal, and what is shown fits it."""

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from n4a_store.cli.terminal import (
    clip,
    columns,
    counted,
    encodable,
    human_count,
    human_size,
    safe,
    wants_ascii,
    width,
)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain-name_1", "plain-name_1"),
        ("spektrum-für-öl", "spektrum-für-öl"),
        ("玉米", "玉米"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\rb\nc\td", "a\\rb\\nc\\td"),
        ("abc\u202efed", "abc\\u202efed"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\u3164", "\\u3164"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("c1\x9b31m", "c1\\x9b31m"),
        ("bad\udc80byte", "bad\\udc80byte"),
    ],
)
def test_names_are_shown_without_acting(name: str, shown: str) -> None:
    assert safe(name) == shown


@given(st.text())
def test_no_control_format_or_surrogate_character_survives(text: str) -> None:
    assert not {"Cc", "Cf", "Cs", "Zl", "Zp"} & {unicodedata.category(ch) for ch in safe(text)}


@given(st.text(), st.integers(min_value=1, max_value=40))
def test_clip_never_exceeds_its_cells(text: str, cells: int) -> None:
    for tail in (False, True):
        assert width(clip(safe(text), cells, tail=tail)) <= cells
    shown = clip(safe(text), cells)
    assert width(shown) <= cells
    if width(safe(text)) <= cells:
        assert shown == safe(text)


def test_wide_and_combining_characters_are_measured_in_cells() -> None:
    assert width("玉米") == 4
    assert width("e\u0301") == 1
    assert clip("玉米玉米", 5) == "玉米…"


def test_with_its_tail_what_is_cut_away_is_the_middle() -> None:
    assert clip("0001_pls-da_8496f1:2:6:0", 15, tail=True) == "0001_pl…1:2:6:0"
    assert clip("玉米玉米玉米", 7, tail=True) == "玉…玉米"
    assert clip("0001_pls:0", 10, tail=True) == "0001_pls:0"


def test_one_thing_is_not_many() -> None:
    shown = [counted(number, "packs") for number in (0, 1, 2, 1204)]
    assert shown == ["0 packs", "1 pack", "2 packs", "1 204 packs"]


def test_ascii_terminals_get_ascii() -> None:
    assert encodable("12 → 3 … Δ", "ascii") == "12 -> 3 ... d"
    assert encodable("für", "ascii") == "f\\xfcr"
    assert encodable("für", "utf-8") == "für"


@pytest.mark.parametrize(
    ("environ", "encoding", "ascii_only"),
    [
        ({}, "utf-8", False),
        ({"LANG": "de_DE.UTF-8"}, "utf-8", False),
        ({"LANG": "de_DE"}, "utf-8", False),
        ({"LC_ALL": "C"}, "utf-8", True),
        ({"LC_ALL": "", "LANG": "POSIX"}, "utf-8", True),
        ({"LC_ALL": "C.utf8", "LANG": "C"}, "utf-8", False),
        ({"LC_ALL": "de_DE.ISO-8859-1", "LANG": "de_DE.UTF-8"}, "utf-8", True),
        ({"LC_CTYPE": "en_US.UTF-8", "LANG": "C"}, "utf-8", False),
        ({"LC_CTYPE": "C.UTF-8", "LANG": "C"}, "utf-8", True),  # Python did that to LANG=C
        ({"LC_CTYPE": "C.UTF-8"}, "utf-8", False),
        ({"LC_ALL": "C", "PYTHONUTF8": "1"}, "utf-8", False),
        ({"LC_ALL": "C", "PYTHONIOENCODING": "utf-8:strict"}, "utf-8", False),
        ({"LC_ALL": "C", "PYTHONIOENCODING": ":strict"}, "utf-8", True),
        ({"LANG": "de_DE.UTF-8"}, "ascii", True),
    ],
)
def test_the_locale_says_what_the_terminal_is(
    environ: dict[str, str], encoding: str, ascii_only: bool
) -> None:
    assert wants_ascii(environ, encoding) is ascii_only


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1024 * 1024 - 1, "1.0 MiB"),
        (12.3 * 1024**2, "12.3 MiB"),
        (5 * 1024**5, "5.0 PiB"),
        (5000 * 1024**5, "5000.0 PiB"),
    ],
)
def test_sizes_are_binary_and_labelled(size: float, shown: str) -> None:
    assert human_size(size) == shown


def test_counts_keep_their_thousands_apart() -> None:
    assert human_count(1204) == "1 204"


def test_only_a_terminal_limits_the_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert columns(is_terminal=False) is None
    monkeypatch.setenv("COLUMNS", "72")
    assert columns(is_terminal=False) == 72
    assert columns(is_terminal=True) == 72
    monkeypatch.setenv("COLUMNS", "3")
    assert columns(is_terminal=True) == 40


@pytest.mark.parametrize(("said", "taken"), [(0, 80), (3, 40), (72, 72)])
def test_a_terminal_that_does_not_know_its_width_cuts_nothing_short(
    monkeypatch: pytest.MonkeyPatch, said: int, taken: int
) -> None:
    """It was taken for one of 40 columns, and the ids in it were cut."""
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(os, "get_terminal_size", lambda: os.terminal_size((said, 0)))
    assert columns(is_terminal=True) == taken

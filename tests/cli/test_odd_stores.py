"""Stores of a later version, or configured wrongly: refused by name, with the page's code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from blake3 import blake3

from tests.cli.conftest import Cli, SmallStore

LATER = "teleport-2"


def change_format(store: Path, line: str, *, sealed: bool = True) -> None:
    """Put a line in the place of the one with its first word, under a valid checksum."""
    file = store / "format"
    body = file.read_text(encoding="utf-8").rpartition("checksum ")[0]
    word = line.partition(" ")[0]
    lines = [line if old.partition(" ")[0] == word else old for old in body.splitlines()]
    assert line in lines
    body = "".join(f"{text}\n" for text in lines)
    checksum = blake3(body.encode()).hexdigest()[:16] if sealed else "0" * 16
    file.write_text(f"{body}checksum {checksum}\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("line", "words", "said"),
    [
        ("n4a_store 2", "show-ref", "format version 2"),
        (f"required_read {LATER}", "show-ref", f"to read this store a program must know: {LATER}"),
        ("hash sha3", "cat-file -t production", "sha3"),
        (f"required_write {LATER}", "update-ref refs/tags/new production", f"write to .*{LATER}"),
        (f"required_write {LATER}", "hash-object -w --stdin", LATER),
        (f"required_gc {LATER}", "prune", f"collect garbage in .*{LATER}"),
        (f"required_gc {LATER}", "artifacts gc --force", LATER),
    ],
)
def test_a_later_format_is_15_and_nothing_is_changed(
    line: str, words: str, said: str, executable: Cli, own: SmallStore
) -> None:
    change_format(own.path, line)
    before = {path: path.read_bytes() for path in own.path.rglob("*") if path.is_file()}
    result = executable("--store", own.path, *words.split()).failed(15, "hint: upgrade n4a_store")
    assert re.search(said, result.err), result.err
    assert result.out == ""
    after = {path: path.read_bytes() for path in own.path.rglob("*") if path.is_file()}
    assert after.keys() - before.keys() == set()
    assert all(after[path] == before[path] for path in before if "catalog" not in path.name)


def test_what_a_later_format_still_allows_is_done(executable: Cli, own: SmallStore) -> None:
    change_format(own.path, f"required_write {LATER}")
    assert "refs/tags/production" in executable("--store", own.path, "show-ref").ok().out


def test_a_later_format_is_told_from_a_damaged_one(executable: Cli, own: SmallStore) -> None:
    change_format(own.path, f"required_read {LATER}", sealed=False)
    executable("--store", own.path, "show-ref").failed(4, "its checksum fails")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (b"undo_window_days = 3\n# caf\xe9\n", "config is not UTF-8 text"),
        (b"undo_window_dayz = 3\n", "undo_window_days"),
        (b"undo_window_days = three\n", "not valid TOML"),
        (b"undo_window_days = -1\n", "undo_window_days"),
    ],
)
def test_a_mistake_in_the_config_file_is_2(
    config: bytes, said: str, executable: Cli, own: SmallStore
) -> None:
    (own.path / "config").write_bytes(config)
    result = executable("--store", own.path, "show-ref").failed(2, said)
    assert "hint: " in result.err

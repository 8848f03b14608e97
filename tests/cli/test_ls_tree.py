"""ls-tree."""

from pathlib import Path

import pytest

from tests.cli.conftest import Cli, SmallStore


def test_a_tree_and_a_run(executable: Cli, small: SmallStore) -> None:
    at = ("--store", small.path, "ls-tree")
    assert executable(*at, "production").ok().lines == [
        f"blob {small.binary}\tbinary",
        f"blob {small.greeting}\tgreeting",
    ]
    assert executable(*at, "20261123_d4e5f6").ok().lines == [f"tree {small.pipeline}\t0001_pls"]


def test_recursive_long_and_names(cli: Cli, small: SmallStore) -> None:
    at = ("ls-tree", "--store", small.path)
    assert cli(*at, "-rl", small.first).ok().lines == [
        f"blob {small.binary}     768\t0001_pls/binary",
        f"blob {small.greeting}       6\t0001_pls/greeting",
    ]
    assert cli(*at, "-rt", "--name-only", small.first).ok().lines == [
        "0001_pls", "0001_pls/binary", "0001_pls/greeting",
    ]  # fmt: skip
    assert cli(*at, "-z", "--name-only", "production").ok().out == "binary\0greeting\0"


def test_json(cli: Cli, small: SmallStore) -> None:
    entries = cli("ls-tree", "-l", "--json", "production", "--store", small.path).ok().json
    assert entries["entries"][1] == {
        "path": "greeting", "kind": "blob", "oid": small.greeting, "size": 6,
    }  # fmt: skip


def test_names_that_could_steer_a_terminal_are_escaped(cli: Cli, own: SmallStore) -> None:
    entry = f"blob {own.greeting}\tx\x1b[2J\u202ey\0"
    tree = cli("mktree", "-z", "--store", own.path, stdin=entry).ok().out.strip()
    assert cli("ls-tree", tree, "--store", own.path).ok().out.endswith("\tx\\x1b[2J\\u202ey\n")
    # A program that asks for NUL gets the name as it is.
    assert cli("ls-tree", "-z", tree, "--store", own.path).ok().out == entry


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("0001_pls:greeting", 2, "is a blob, not a tree"),
        ("productoin", 13, "did you mean 'production'?"),
        ("", 2, "not a name"),
    ],
)
def test_bad_input(cli: Cli, small: SmallStore, name: str, code: int, said: str) -> None:
    cli("ls-tree", name, "--store", small.path).failed(code, said)


def test_an_empty_store_says_that_there_is_nothing(cli: Cli, empty: Path) -> None:
    cli("ls-tree", "production", "--store", empty).failed(13, "there are no refs yet")

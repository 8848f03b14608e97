"""update-ref, for-each-ref, reflog and check-ref-format."""

from pathlib import Path

import pytest

from tests.cli.conftest import Cli, SmallStore

ZEROS = "0" * 64


def test_compare_and_swap(executable: Cli, own: SmallStore) -> None:
    at = ("--store", own.path)
    move = (*at, "update-ref", "-m", "rollback", "refs/tags/production")
    executable(*move, own.greeting, own.pipeline).ok()
    executable(*move, own.greeting, own.pipeline).failed(14, "refs/tags/production is at")
    executable(*move, own.first, ZEROS).failed(14)
    assert executable(*at, "rev-parse", "production").out == f"{own.greeting}\n"
    assert executable(*at, "reflog", "production", "-n", "1").ok().out.endswith("\trollback\n")


def test_create_and_delete(cli: Cli, own: SmallStore) -> None:
    at = ("--store", own.path)
    cli(*at, "update-ref", "refs/tags/paper", "production@{1}", ZEROS).ok()
    cli(*at, "update-ref", "refs/tags/paper", "production", ZEROS).failed(14)
    cli(*at, "update-ref", "-d", "refs/tags/paper", own.first).failed(14)
    assert cli(*at, "update-ref", "--json", "-d", "refs/tags/paper").ok().json["changes"] == [
        {"verb": "delete", "ref": "refs/tags/paper", "new": None, "old": None}
    ]
    cli(*at, "update-ref", "-d", "refs/tags/paper").failed(13, "no ref refs/tags/paper")
    assert cli(*at, "rev-parse", "paper@{1}").ok().out == f"{own.greeting}\n"


def test_many_at_once_or_none(cli: Cli, own: SmallStore) -> None:
    at = ("--store", own.path, "update-ref", "--stdin")
    good = (
        f"create refs/tags/a {own.first}\n\nupdate refs/tags/b {own.second} {ZEROS}\n"
        f"verify refs/tags/production {own.pipeline}\ndelete refs/pipelines/0001_pls\n"
        "verify refs/tags/nowhere\n"
    )
    bad = good.replace(f"verify refs/tags/production {own.pipeline}",
                       f"verify refs/tags/production {own.first}")  # fmt: skip
    before = cli("show-ref", "--store", own.path).out
    cli(*at, stdin=bad).failed(14, "refs/tags/production is at")
    assert cli("show-ref", "--store", own.path).out == before
    cli(*at, stdin=good).ok()
    assert cli("show-ref", "--store", own.path).lines == [
        f"{own.first} refs/runs/20261122_a1b2c3",
        f"{own.second} refs/runs/20261123_d4e5f6",
        f"{own.first} refs/tags/a",
        f"{own.second} refs/tags/b",
        f"{own.pipeline} refs/tags/production",
    ]


def test_nul_fields(cli: Cli, own: SmallStore) -> None:
    at = ("--store", own.path)
    fields = (
        f"update refs/tags/a\0{own.first}\0\0create refs/tags/b\0{own.second}\0"
        f"delete refs/tags/production\0{own.pipeline}\0"
    )
    cli(*at, "update-ref", "--stdin", "-z", stdin=fields).ok()
    assert cli(*at, "show-ref", "-s", "a", "b").ok().lines == [own.first, own.second]
    cli(*at, "show-ref", "production").failed(13)


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("move refs/tags/a x", 2, "unknown verb 'move'"),
        ("create refs/tags/a", 2, "line 1: 'create' takes"),
        ("create tags/a production", 2, "not the full name"),
        ("create refs/tags/.a production", 2, "begins with '.'"),
        ("create refs/tags/a prod", 13, "names no ref or object"),
        ("delete refs/tags/a b c", 2, "'delete' takes"),
    ],
)
def test_stdin_refuses(cli: Cli, small: SmallStore, line: str, code: int, said: str) -> None:
    cli("update-ref", "--stdin", "--store", small.path, stdin=f"{line}\n").failed(code, said)


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["refs/tags/a"],
        ["refs/tags/a", "x", "y", "z"],
        ["-d", "refs/tags/a", "x", "y"],
        ["--stdin", "refs/tags/a"],
    ],
)
def test_update_ref_refuses(cli: Cli, small: SmallStore, argv: list[str]) -> None:
    cli("update-ref", *argv, "--store", small.path).failed(2, "hint: ")


def test_formats_and_order(executable: Cli, small: SmallStore) -> None:
    at = ("--store", small.path, "for-each-ref")
    assert executable(*at, "refs/tags/").ok().out == (
        f"{small.pipeline} tree\trefs/tags/production\n"
    )
    runs = executable(
        *at, "refs/runs", "--format", "%(refname:short)%09%(status) %(objectname:short)%%",
        "--sort", "-createdat",
    ).ok()  # fmt: skip
    assert runs.lines == [
        f"20261123_d4e5f6\tfailed {small.second[:8]}%",
        f"20261122_a1b2c3\tcomplete {small.first[:8]}%",
    ]


def test_count_nul_and_json(cli: Cli, small: SmallStore) -> None:
    at = ("for-each-ref", "--store", small.path)
    assert cli(*at, "--count", "1", "-z", "--format", "%(refname)").ok().out == (
        "refs/pipelines/0001_pls\0"
    )
    run = cli(*at, "refs/runs/20261122_a1b2c3", "--json").ok().json["refs"][0]
    assert run["message"] == "the first\nof two"
    assert run["dataset"] == "corn"
    sizes = cli(*at, "--sort", "objectsize", "--format", "%(objectsize)").ok().lines
    assert sizes == sorted(sizes, key=int)


def test_an_unknown_field(cli: Cli, small: SmallStore) -> None:
    at = ("for-each-ref", "--store", small.path)
    cli(*at, "--format", "%(refnam)").failed(2, "did you mean 'refname'")
    cli(*at, "--sort", "size").failed(2, "no such field: 'size'")


def test_nothing_in_an_empty_store(cli: Cli, empty: Path) -> None:
    assert cli("for-each-ref", "--store", empty).ok().out == ""
    assert cli("reflog", "--store", empty).ok().out == ""
    cli("reflog", "production", "--store", empty).failed(13, "is or was called")


def test_reflog_lists_moves_newest_first(executable: Cli, small: SmallStore) -> None:
    lines = executable("reflog", "production", "--store", small.path).ok().lines
    assert [line.split()[:3] for line in lines] == [
        ["refs/tags/production@{0}", small.greeting, small.pipeline],
        ["refs/tags/production@{1}", "-", small.greeting],
    ]
    assert [line.split("\t")[1] for line in lines] == ["second", "first"]


def test_reflog_json_and_all(cli: Cli, small: SmallStore) -> None:
    moves = cli("reflog", "--json", "--store", small.path).ok().json["moves"]
    assert {move["ref"] for move in moves} == {
        "refs/pipelines/0001_pls", "refs/runs/20261122_a1b2c3", "refs/runs/20261123_d4e5f6",
        "refs/tags/production",
    }  # fmt: skip
    assert moves[-1]["old"] is None
    cli("reflog", "a b", "--store", small.path).failed(2)


def test_check_ref_format(executable: Cli, cli: Cli) -> None:
    assert executable("check-ref-format", "--print", "refs/tags/u\u0308").ok().out == (
        "refs/tags/ü\n"
    )
    assert cli("check-ref-format", "refs/tags/a").ok().out == ""
    assert cli("check-ref-format", "refs/tags/a", "--json").ok().json["ref"] == "refs/tags/a"
    for bad in ("production", "refs/tags/a..b", "refs/tags/con", "refs/tags/a\x07", "refs/tags/"):
        cli("check-ref-format", bad).failed(2, "hint: ")


def test_one_ref_is_moved_once(cli: Cli, own: SmallStore) -> None:
    at = ("--store", own.path)
    for second in ("update refs/tags/a production", "verify refs/tags/a", "delete refs/tags/a"):
        lines = f"create refs/tags/a {own.greeting}\n{second}\n"
        cli(*at, "update-ref", "--stdin", stdin=lines).failed(2, "'refs/tags/a' is there twice")
    assert "refs/tags/a" not in cli(*at, "show-ref").ok().out


def test_a_field_that_is_never_closed(cli: Cli, small: SmallStore) -> None:
    for template in ("%(refname", "%(refname) %(", "%(refname) %(objectname"):
        cli("--store", small.path, "for-each-ref", "--format", template).failed(2, "never closed")
    assert cli("--store", small.path, "for-each-ref", "--format", "%%(x)").ok().lines[0] == "%(x)"


def test_sizes_are_numbers_in_json(cli: Cli, small: SmallStore) -> None:
    rows = cli("--store", small.path, "for-each-ref", "--json").ok().json["refs"]
    assert all(isinstance(row["objectsize"], int) and row["objectsize"] > 0 for row in rows)

"""rev-list."""

from pathlib import Path

from tests.cli.conftest import Cli, SmallStore


def test_runs_newest_first_with_their_parents(executable: Cli, small: SmallStore) -> None:
    at = ("--store", small.path, "rev-list")
    assert executable(*at, "20261123_d4e5f6").ok().lines == [small.second, small.first]
    assert executable(*at, "20261122_a1b2c3").ok().lines == [small.first]


def test_objects_come_once_with_their_path(cli: Cli, small: SmallStore) -> None:
    at = ("rev-list", "--objects", "--store", small.path)
    assert cli(*at, "--all").ok().lines == [
        small.pipeline,
        f"{small.binary} binary",
        f"{small.greeting} greeting",
        small.first,
        small.pipelines,
        small.second,
    ]
    assert cli(*at, "20261123_d4e5f6", "--count").ok().out == "5\n"


def test_json(cli: Cli, small: SmallStore) -> None:
    at = ("rev-list", "--json", "--store", small.path)
    objects = cli(*at, "--objects", "production").ok().json["objects"]
    assert objects[1] == {"oid": small.binary, "kind": "blob", "path": "binary"}
    assert cli(*at, "--count", "--all").ok().json["count"] == 2


def test_bad_input_and_nothing(cli: Cli, small: SmallStore, empty: Path) -> None:
    cli("rev-list", "--store", small.path).failed(2, "pass --all")
    cli("rev-list", "production", "--store", small.path).failed(2, "is a tree, not a run")
    cli("rev-list", "prod", "--store", small.path).failed(13)
    assert cli("rev-list", "--all", "--objects", "--store", empty).ok().out == ""


def test_names_come_on_stdin_too(executable: Cli, cli: Cli, small: SmallStore) -> None:
    at = ("--store", small.path, "rev-list")
    both = executable(*at, "--stdin", "20261122_a1b2c3", stdin="20261123_d4e5f6\n\n").ok()
    assert both.lines == [small.second, small.first]
    named = cli(*at, "--objects", "production", "20261123_d4e5f6").ok()
    read = cli(*at, "--objects", "--stdin", "-z", stdin="production\x0020261123_d4e5f6\0").ok()
    assert read.out == named.out
    assert cli(*at, "--stdin", stdin="").ok().out == ""
    cli(*at, "--stdin", stdin="nowhere\n").failed(13, "nowhere")

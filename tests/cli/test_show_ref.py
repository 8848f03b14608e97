"""show-ref."""

from pathlib import Path

from tests.cli.conftest import Cli, SmallStore


def test_all_refs_sorted(executable: Cli, small: SmallStore) -> None:
    assert executable("show-ref", "--store", small.path).ok().lines == [
        f"{small.pipeline} refs/pipelines/0001_pls",
        f"{small.first} refs/runs/20261122_a1b2c3",
        f"{small.second} refs/runs/20261123_d4e5f6",
        f"{small.pipeline} refs/tags/production",
    ]


def test_patterns_fit_whole_last_parts(cli: Cli, small: SmallStore) -> None:
    at = ("show-ref", "--store", small.path)
    assert cli(*at, "-s", "production").ok().out == f"{small.pipeline}\n"
    assert cli(*at, "tags/production").ok().lines == [f"{small.pipeline} refs/tags/production"]
    cli(*at, "duction").failed(13, "no ref fits 'duction'")
    cli(*at, "--verify", "production").failed(2, "full name of a ref")
    cli(*at, "--verify", "refs/tags/prod").failed(13)


def test_json(cli: Cli, small: SmallStore) -> None:
    refs = cli("show-ref", "production", "--json", "--store", small.path).ok().json["refs"]
    assert refs == [{"ref": "refs/tags/production", "kind": "tree", "oid": small.pipeline}]


def test_an_empty_store_and_none(cli: Cli, empty: Path, tmp_path: Path) -> None:
    assert cli("show-ref", "--store", empty).ok().out == ""
    cli("show-ref", "--store", tmp_path / "nowhere").failed(10, "no store", "hint: ")
    assert list(tmp_path.iterdir()) == []

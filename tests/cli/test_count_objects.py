"""count-objects."""

from pathlib import Path

from tests.cli.conftest import Cli, SmallStore


def test_counts(executable: Cli, small: SmallStore) -> None:
    lines = executable("count-objects", "-vH", "--store", small.path).ok().lines
    facts = dict(line.split(": ") for line in lines)
    assert facts["objects"] == "6"
    assert facts["packs"] == "2"
    assert facts["refs"] == "4"
    assert facts["packs-condemned"] == "0"
    assert facts["size-pack"].endswith(" KiB")


def test_bytes_are_those_of_the_files(cli: Cli, small: SmallStore) -> None:
    at = ("count-objects", "--store", small.path)
    taken = sum(file.stat().st_size for file in (small.path / "packs").iterdir())
    assert cli(*at).ok().out == f"6 objects in 2 packs, {taken} bytes\n"
    live = cli(*at, "--json").ok().json["stats"]["live"]
    assert (live["objects"], live["stored_bytes"]) == (6, taken)
    assert live["raw_bytes"] > 768


def test_an_empty_store_and_none(cli: Cli, empty: Path, tmp_path: Path) -> None:
    assert cli("count-objects", "--store", empty).ok().out == "0 objects in 0 packs, 0 bytes\n"
    cli("count-objects", "--store", tmp_path).failed(10)

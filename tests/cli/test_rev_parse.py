"""rev-parse."""

from pathlib import Path

import pytest

from tests.cli.conftest import Cli, SmallStore


def test_every_form_of_a_name(executable: Cli, small: SmallStore) -> None:
    names = ["production", "refs/tags/production", "production@{1}", small.binary[:10],
             "20261122_a1b2c3:0001_pls/greeting", small.first]  # fmt: skip
    result = executable("--store", small.path, "rev-parse", *names).ok()
    assert result.lines == [
        small.pipeline, small.pipeline, small.greeting, small.binary, small.greeting, small.first,
    ]  # fmt: skip


def test_short_and_stdin(cli: Cli, small: SmallStore) -> None:
    at = ("rev-parse", "--store", small.path)
    assert cli(*at, "--short", "production").ok().out == f"{small.pipeline[:8]}\n"
    assert cli(*at, "--digits", "12", "production").ok().out == f"{small.pipeline[:12]}\n"
    both = cli(*at, "--stdin", stdin=f"production\n{small.first}\n").ok()
    assert both.lines == [small.pipeline, small.first]
    assert cli(*at, "--stdin", "-z", stdin=f"production\0{small.first}").ok().out == both.out


def test_json(cli: Cli, small: SmallStore) -> None:
    names = cli("rev-parse", "production", "--json", "--store", small.path).ok().json["names"]
    assert names == [{"name": "production", "kind": "tree", "oid": small.pipeline}]


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["productino"], 13, "did you mean 'production'?"),
        (["production@{7}"], 13, "goes back to @{2}, not @{7}"),
        (["production@{x}"], 2, "neither a number nor a date"),
        (["0001_pls:3:all"], 13, "nothing at"),
        (["con\u202efig"], 2, "U+202E"),
        (["--verify", "a", "b"], 2, "exactly one name"),
        ([], 2, "missing argument 'NAME'"),
        (["0" * 64], 13, "no object"),
    ],
)
def test_bad_input(cli: Cli, small: SmallStore, argv: list[str], code: int, said: str) -> None:
    cli("rev-parse", *argv, "--store", small.path).failed(code, said)


def test_an_ambiguous_id_lists_what_it_fits(cli: Cli, empty: Path, tmp_path: Path) -> None:
    files = [tmp_path / str(number) for number in range(700)]
    for number, file in enumerate(files):
        file.write_bytes(b"%d" % number)
    stored = cli("init", tmp_path / "many").ok()
    assert stored.out == ""
    names = "".join(f"{file}\n" for file in files)
    at = ("--store", tmp_path / "many")
    ids = cli(*at, "hash-object", "-w", "--stdin-paths", stdin=names).ok().lines
    prefixes = [oid[:4] for oid in ids]
    twice = next(prefix for prefix in prefixes if prefixes.count(prefix) > 1)
    result = cli(*at, "rev-parse", twice).failed(
        13, f"'{twice}' fits 2 objects", "give more digits"
    )
    assert all(oid[:16] in result.err for oid in ids if oid.startswith(twice))

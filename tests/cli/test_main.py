"""The program as a whole: help, usage errors, interruption, pipes, and where it looks."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from n4a_store.cli.command import Entry, LazyGroup
from n4a_store.cli.program import artifacts, program
from tests.cli.conftest import Cli, Trained


def commands() -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for group, prefix in ((program, ""), (artifacts, "artifacts ")):
        assert isinstance(group, LazyGroup)
        for table in group.sections.values():
            found |= {prefix + name: entry for name, entry in table.items()}
    return found


@pytest.mark.parametrize("name", [name for name in commands() if name != "artifacts"])
def test_a_command_is_what_the_table_says(name: str) -> None:
    group = artifacts if name.startswith("artifacts ") else program
    command = group.get_command(click.Context(group), name.removeprefix("artifacts "))
    assert command is not None
    assert command.name == name.removeprefix("artifacts ")
    assert (command.help or "").splitlines()[0] == commands()[name].summary
    assert all(
        parameter.help for parameter in command.params if isinstance(parameter, click.Option)
    )


@pytest.mark.parametrize("name", [(), ("artifacts",)])
def test_help_lists_every_command_within_80_columns(executable: Cli, name: tuple[str, ...]) -> None:
    result = executable(*name, "--help").ok()
    prefix = "".join(f"{word} " for word in name)
    for command, entry in commands().items():
        if command.startswith("artifacts ") == bool(name):
            shown = rf"^  {command.removeprefix(prefix)} +{re.escape(entry.summary)}$"
            assert re.search(shown, result.out, re.MULTILINE), command
    assert max(map(len, result.lines)) <= 80


@pytest.mark.parametrize("name", [name for name in commands() if name != "artifacts"])
def test_each_help_fits_80_columns(cli: Cli, name: str) -> None:
    result = cli(*name.split(), "--help").ok()
    assert result.lines[0].startswith(f"Usage: n4a-store {name}")
    assert max(map(len, result.lines)) <= 80


def test_no_command_is_a_usage_error_that_shows_the_help(cli: Cli) -> None:
    result = cli()
    assert result.code == 2
    assert result.out == ""
    assert "Plumbing:" in result.err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["artifact"], "did you mean 'artifacts'?"),
        (["cat-fil"], "did you mean 'cat-file'?"),
        (["stats"], "did you mean 'artifacts stats'?"),
        (["artifacts", "sow"], "did you mean 'show'"),
        (["zzz"], "'n4a-store --help' lists the commands"),
        (["cat-file", "--bacth"], "did you mean '--batch'"),
        (["--jsn"], "did you mean '--json'"),
        (["rev-parse"], "see 'n4a-store rev-parse --help'"),
        (["--color", "yes", "show-ref"], "one of: auto, always, never"),
    ],
)
def test_a_typo_is_a_usage_error_with_a_way_out(cli: Cli, argv: list[str], said: str) -> None:
    cli(*argv).failed(2, "hint: ", said)


def test_the_module_is_the_program(executable: Cli) -> None:
    version = executable("--version").ok().out
    assert version.startswith("n4a-store ")


@pytest.mark.parametrize("option", ["workspace", "dataset", "store"])
def test_an_empty_place_is_refused_not_taken_for_all(cli: Cli, option: str) -> None:
    cli("fsck", f"--{option}", "").failed(2, f"--{option} is empty", "hint: ")
    cli(f"--{option}=", "artifacts", "gc", "--force").failed(2, f"--{option} is empty")


def test_an_empty_name_is_not_the_newest_run(cli: Cli, trained: Trained) -> None:
    cli("-w", trained.path, "-d", "corn", "artifacts", "show", "").failed(2, "hint: ")


def test_an_io_error_has_a_hint(cli: Cli, trained: Trained, tmp_path: Path) -> None:
    gone = tmp_path / "gone.n4b"
    corn = ("-w", trained.path, "-d", "corn")
    cli(*corn, "artifacts", "import", gone).failed(1, "no such file", "hint: check the path")

"""The artifacts commands as an argparse group, for a host program to adopt in one line.

::

    subparsers = parser.add_subparsers(dest="command")
    add_artifacts_commands(subparsers)
    ...
    args = parser.parse_args()
    sys.exit(args.func(args))

Commands and flags are those that nirs4all's users know (`-w`, `-d`, `-f/--force`, `-y`, `-v`).
Each hands its arguments to this package's own program, which does the work and says what went
wrong; nothing of it is imported before a command runs.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["add_artifacts_commands"]

_PROGRAM = "n4a-store"


@dataclass(frozen=True, slots=True)
class _Command:
    """A command: its summary, the flags beside -w, -d and -v, and what it takes by place."""

    summary: str
    flags: tuple[str, ...] = ()
    positional: str = ""
    needs_dataset: bool = False


_FLAGS = {
    "--force": ("-f", "do it; without this, only preview"),
    "--yes": ("-y", "do not ask"),
    "--now": ("", "delete what undo could bring back, too"),
    "--deep": ("", "count orphans as well"),
    "--json": ("", "answer in JSON"),
}
_COMMANDS = {
    "list-orphaned": _Command("list artifacts that no ref reaches", ("--json",)),
    "cleanup": _Command("delete orphaned artifacts", ("--force", "--now", "--json")),
    "stats": _Command("say what is stored and what it takes", ("--deep", "--json")),
    "purge": _Command(
        "remove everything of one dataset",
        ("--force", "--yes", "--now", "--json"),
        needs_dataset=True,
    ),
    "log": _Command("list runs, newest first", ("--json",)),
    "show": _Command("show a run, a pipeline or an artifact", ("--json",), positional="name"),
    "gc": _Command("drop what nothing reaches", ("--force", "--now", "--json")),
    "undo": _Command("take back the newest operation", ("--json",)),
    "verify": _Command("check every byte", ("--json",)),
}


def add_artifacts_commands(subparsers: SubParsers) -> argparse.ArgumentParser:
    """Add the group `artifacts` to a host's subparsers.

    Each command sets `func` on the parsed arguments: a function of them that runs the command
    and returns its exit code.

    Returns:
        The group's parser.
    """
    group = subparsers.add_parser("artifacts", help="look after stored artifacts")
    commands = group.add_subparsers(dest="artifacts_command", required=True)
    for name, command in _COMMANDS.items():
        parser = commands.add_parser(name, help=command.summary, description=command.summary)
        parser.add_argument("-w", "--workspace", help="workspace folder")
        parser.add_argument(
            "-d", "--dataset", help="dataset of the workspace", required=command.needs_dataset
        )
        parser.add_argument("-v", "--verbose", action="store_true", help="say more")
        for flag in command.flags:
            short, meaning = _FLAGS[flag]
            names = [short, flag] if short else [flag]
            parser.add_argument(*names, action="store_true", help=meaning)
        if command.positional:
            parser.add_argument(command.positional, nargs="?", help="what to look at")
        parser.set_defaults(func=run_artifacts_command)
    return group


def run_artifacts_command(args: argparse.Namespace) -> int:
    """Run the command that `args` were parsed for; its exit code."""
    command = _COMMANDS[args.artifacts_command]
    argv = ["artifacts", args.artifacts_command]
    for option in ("workspace", "dataset"):
        value = getattr(args, option)
        if value is not None:
            argv.append(f"--{option}={value}")
    for flag in ("--verbose", *command.flags):
        if getattr(args, flag.removeprefix("--")):
            argv.append(flag)
    if command.positional and getattr(args, command.positional) is not None:
        argv += ["--", getattr(args, command.positional)]
    (program,) = entry_points(group="console_scripts", name=_PROGRAM)
    try:
        program.load()(argv)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    return 0

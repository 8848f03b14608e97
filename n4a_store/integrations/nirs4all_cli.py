"""The artifacts commands as an argparse group, for a host program to adopt in one line.

::

    subparsers = parser.add_subparsers(dest="command")
    add_artifacts_commands(subparsers)
    ...
    args = parser.parse_args()
    args.func(args)

Commands and flags are those that nirs4all's users know (`-w`, `-d`, `-f/--force`, `-y`, `-v`).
A command that fails ends the program with its exit code (`SystemExit`), as nirs4all's own do: its
main program looks at no result. Each hands its arguments to this package's own program, which does
the work and says what went wrong; nothing of it is imported before a command runs.
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
    """A command: its summary, and what it takes beside -w, -d, -v and --json.

    Args:
        flags: Options without a value.
        values: Options with one.
        positional: What it takes by place, and how many: one, "?", "*" or "+".
    """

    summary: str
    flags: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    positional: tuple[tuple[str, str | None], ...] = ()
    needs_dataset: bool = False


_FLAGS = {
    "--force": ("-f", "do it; without this, only preview"),
    "--yes": ("-y", "do not ask"),
    "--now": ("", "delete what undo could bring back, too"),
    "--deep": ("", "count orphans as well"),
    "--trust": ("", "let it be loaded like what was trained here"),
    "--create": ("", "create the dataset if it does not exist"),
    "--delete": ("", "delete the tag"),
    "--rollback": ("", "point the tag where it pointed before"),
    "--history": ("", "list where the tag has pointed"),
    "--runs": ("", "list runs instead of pipelines"),
    "--exit-code": ("", "exit with 4 when there are differences"),
}
_VALUES = {
    "--class": ("", "class; '*' stands for anything"),
    "--type": ("", "model, transformer, splitter, ..."),
    "--param": ("", "a parameter, NAME=VALUE"),
    "--run": ("", "as it was in this run"),
    "--pipeline": ("", "of this pipeline"),
    "--since": ("", "made at or after this time"),
    "--until": ("", "made at or before this time"),
    "--format": ("", "text, mermaid, dot or svg"),
    "--output": ("-o", "the bundle to write"),
    "--files": ("", "write one readable file an artifact into this folder instead"),
    "--probe": ("", "predict on these rows (X.npy) with both and compare"),
}
_COMMANDS = {
    "list-orphaned": _Command("list artifacts that no ref reaches"),
    "cleanup": _Command("delete orphaned artifacts", ("--force", "--now")),
    "stats": _Command("say what is stored and what it takes", ("--deep",)),
    "purge": _Command(
        "remove everything of one dataset", ("--force", "--yes", "--now"), needs_dataset=True
    ),
    "log": _Command("list runs, newest first"),
    "show": _Command("show a run, a pipeline or an artifact", positional=(("name", "?"),)),
    "find": _Command(
        "find artifacts by what their records say",
        values=("--class", "--type", "--param", "--run", "--pipeline", "--since", "--until"),
    ),
    "diff": _Command(
        "say what changed between two runs, pipelines or models",
        ("--trust", "--exit-code"),
        ("--probe",),
        (("old", None), ("new", None)),
    ),
    "graph": _Command(
        "draw what an artifact was built on", (), ("--format", "--run"), (("name", None),)
    ),
    "manifest": _Command(
        "print a pipeline's manifest", (), ("--run",), positional=(("name", None),)
    ),
    "tag": _Command(
        "give a run, a pipeline or an artifact a name that stays",
        ("--force", "--delete", "--rollback", "--history"),
        positional=(("name", "?"), ("target", "?")),
    ),
    "rm": _Command("remove runs, pipelines or tags", ("--force",), positional=(("name", "+"),)),
    "du": _Command(
        "say what things take, and would free", ("--runs",), positional=(("name", "*"),)
    ),
    "why": _Command("say what keeps an object", positional=(("object", None),)),
    "export": _Command(
        "write a bundle, or readable files",
        (),
        ("--output", "--files", "--run"),
        (("name", "+"),),
    ),
    "import": _Command(
        "take a bundle in", ("--force", "--trust", "--create"), positional=(("file", None),)
    ),
    "gc": _Command("drop what nothing reaches", ("--force", "--now")),
    "undo": _Command("take back the newest operation"),
    "verify": _Command("check every byte"),
}
# Where a parsed value stands: some options bear the names of Python's own words.
_PLACE = "n4a_{}"


def add_artifacts_commands(subparsers: SubParsers) -> argparse.ArgumentParser:
    """Add the group `artifacts` to a host's subparsers.

    Each command sets `func` on the parsed arguments: a function of them that runs the command.

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
        parser.add_argument("--json", action="store_true", help="answer in JSON")
        for flag in command.flags:
            short, meaning = _FLAGS[flag]
            parser.add_argument(*filter(None, (short, flag)), action="store_true", help=meaning)
        for option in command.values:
            short, meaning = _VALUES[option]
            place = _PLACE.format(option[2:])
            parser.add_argument(*filter(None, (short, option)), dest=place, help=meaning)
        for what, count in command.positional:
            place = _PLACE.format(what)
            parser.add_argument(place, nargs=count, metavar=what, help="what it is about")
        parser.set_defaults(func=run_artifacts_command)
    return group


def run_artifacts_command(args: argparse.Namespace) -> int:
    """Run the command that `args` were parsed for; 0.

    Raises:
        SystemExit: It failed; with its exit code.
    """
    (program,) = entry_points(group="console_scripts", name=_PROGRAM)
    try:
        program.load()(_argv(args))
    except SystemExit as ended:
        if ended.code:
            raise
    return 0


def _argv(args: argparse.Namespace) -> list[str]:
    """The same command for this package's own program."""
    command = _COMMANDS[args.artifacts_command]
    argv = ["artifacts", args.artifacts_command]
    for option in ("workspace", "dataset"):
        value = getattr(args, option)
        if value is not None:
            argv.append(f"--{option}={value}")
    for flag in ("--verbose", "--json", *command.flags):
        if getattr(args, flag[2:].replace("-", "_")):
            argv.append(flag)
    for option in command.values:
        value = getattr(args, _PLACE.format(option[2:]))
        if value is not None:
            argv.append(f"{option}={value}")
    given: list[str] = []
    for name, _ in command.positional:
        value = getattr(args, _PLACE.format(name))
        given += value if isinstance(value, list) else [] if value is None else [value]
    return [*argv, "--", *given] if given else argv

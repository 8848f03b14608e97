"""Write the reference pages of the commands from their help.

Run `python docs/reference/commands/generate.py` after changing a command; a test compares the
pages with what this would write. The pages are made from the commands themselves, not from
click's screen, so that they do not change with click's version.
"""

from __future__ import annotations

from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import click

from n4a_store.cli.command import LazyGroup, global_options
from n4a_store.cli.exit_codes import ExitCode
from n4a_store.cli.program import program

HERE = Path(__file__).parent
_LITERAL = "\b"
_CODES = {
    ExitCode.OK: "done",
    ExitCode.FAILURE: "failure or I/O error",
    ExitCode.USAGE: "bad usage, or a malformed name",
    ExitCode.PARTIAL: "partly done: on other datasets, or all but what the warning names",
    ExitCode.FINDINGS: "findings: corruption, or differences under `--exit-code`",
    ExitCode.NO_STORE: "no workspace, dataset or store here",
    ExitCode.LOCKED: "locked by another process",
    ExitCode.UNTRUSTED: "untrusted content, or a bad signature",
    ExitCode.UNKNOWN_NAME: "unknown or ambiguous name",
    ExitCode.STALE_REF: "stale ref: somebody else moved it first",
    ExitCode.UNSUPPORTED_FORMAT: "unsupported format",
    ExitCode.INTERRUPTED: "interrupted (Ctrl-C)",
    ExitCode.BROKEN_PIPE: "the reader of the output left (`| head`), as the shell reports it",
}


def pages() -> dict[str, str]:
    """Every page by file name."""
    assert isinstance(program, LazyGroup)
    made = {"index.md": _index(program)}
    for path, command in _commands(program, "n4a-store"):
        made[_file(path)] = _page(path, command)
    return made


def _commands(group: LazyGroup, path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group, info_name=path)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, LazyGroup):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _file(path: str) -> str:
    return path.removeprefix("n4a-store ").replace(" ", "-") + ".md"


def _page(path: str, command: click.Command) -> str:
    context = click.Context(command, info_name=path)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    everywhere = {option.name for option in global_options(store=True)}
    rows = [
        (_flags(option), option.help or "")
        for option in command.params  # without --help, which click adds
        if isinstance(option, click.Option) and option.name not in everywhere
    ]
    lines = [f"# {path}", "", *_prose(command.help or ""), "```text", usage, "```", ""]
    if rows:
        lines += ["| option | meaning |", "| --- | --- |"]
        lines += [f"| `{_cell(flags)}` | {_cell(help_text)} |" for flags, help_text in rows]
        lines.append("")
    lines.append("[Options that every command takes, and exit codes](index.md)")
    return "\n".join(lines) + "\n"


def _prose(text: str) -> list[str]:
    """The help's paragraphs; one that stands as typed becomes a code block."""
    lines: list[str] = []
    for paragraph in cleandoc(text).split("\n\n"):
        if paragraph.startswith(_LITERAL):
            body = paragraph.removeprefix(_LITERAL).strip("\n").splitlines()
            lines += ["```text", *body, "```", ""]
        else:
            # A '<name>' is a placeholder, not HTML.
            lines += [" ".join(paragraph.split()).replace("<", "\\<"), ""]
    return lines


def _flags(option: click.Option) -> str:
    flags = ", ".join((*option.opts, *option.secondary_opts))
    if option.is_flag or option.count:
        return flags
    if option.metavar:
        return f"{flags} {option.metavar}"
    if isinstance(option.type, click.Choice):
        return f"{flags} {'|'.join(map(str, option.type.choices))}"
    return f"{flags} {option.type.name.upper().replace(' RANGE', '')}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _index(group: LazyGroup) -> str:
    lines = ["# Commands", "", "Each page is made from the command's own `--help`.", ""]
    context = click.Context(group, info_name="n4a-store")
    for title, paths in _sections(group, "n4a-store", context):
        lines += [f"## {title}", "", "| command | what it does |", "| --- | --- |"]
        lines += [f"| [`{path}`]({_file(path)}) | {summary} |" for path, summary in paths]
        lines.append("")
    lines += ["## Options that every command takes", "", "| option | meaning |", "| --- | --- |"]
    for option in global_options(store=True):
        lines.append(f"| `{_cell(_flags(option))}` | {_cell(option.help or '')} |")
    lines += [
        "",
        "They stand before or after the command. `--store` is for plumbing, which works on one",
        "store; where a command has a short flag of its own, that one wins after the command.",
        '`--json` output is one object with `"schema": 1`: fields are added, never changed.',
        "Where a command goes over several datasets and one of them fails, `errors` lists objects",
        "of `dataset`, `message` and `hint`; the others are answered for, and the exit code is",
        "3 (4 where `fsck` or `artifacts verify` finds a dataset damaged).",
        "",
        "## Exit codes",
        "",
        "| code | meaning |",
        "| --- | --- |",
        *(f"| {code.value} | {meaning} |" for code, meaning in _CODES.items()),
    ]
    return "\n".join(lines) + "\n"


def _sections(
    group: LazyGroup, path: str, context: click.Context
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    inner: list[tuple[str, LazyGroup]] = []
    for title, table in group.sections.items():
        paths: list[tuple[str, str]] = []
        for name, entry in table.items():
            command = group.get_command(context, name)
            if isinstance(command, LazyGroup):
                inner.append((f"{path} {name}", command))
            else:
                paths.append((f"{path} {name}", entry.summary))
        yield title, paths
    for inner_path, inner_group in inner:
        for title, paths in _sections(inner_group, inner_path, context):
            yield f"{inner_path.rpartition(' ')[2].capitalize()}: {title.lower()}", paths


def main() -> None:
    """Write the pages and remove those of commands that are gone."""
    made = pages()
    for old in HERE.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (HERE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""The examples of the documentation are true: Python runs, commands and options exist.

The ``python`` blocks of a page run in order, in one namespace, in an empty folder. A block that is
not meant to run says ``python no-run`` after its fence. In ``console`` blocks every line that
begins with ``$ n4a-store`` must name a command and options that there are.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import pytest

from n4a_store.cli.program import program
from tests.docs.markdown import ROOT, Block, blocks, pages


def python_blocks(page: Path) -> list[Block]:
    found = blocks(page.read_text(encoding="utf-8"))
    return [block for block in found if block.info == "python"]


def commands(page: Path) -> list[tuple[int, list[str]]]:
    """Line and words of every command of ours that a page shows."""
    found = []
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.info == "console":
            for offset, line in enumerate(block.text.splitlines(), start=1):
                if line.startswith("$ n4a-store"):
                    words = shlex.split(line.removeprefix("$ "), comments=True)
                    found.append((block.line + offset, words[1:]))
    return found


def unknown_word(words: list[str]) -> str | None:
    """The first command or option of a command line that does not exist."""
    command: click.Command = program
    known = _options(command)
    for word in words:
        if word in ("|", ">", "<", "&&"):
            break
        if word.startswith("-") and word != "-":
            name = word.split("=")[0]
            short = word[:2] in known and not word.startswith("--")
            if name not in known and not short:
                return word
        elif isinstance(command, click.Group):
            inner = command.get_command(click.Context(command), word)
            if inner is not None:
                command = inner
                known |= _options(command)
            elif not _follows_an_option(words, word):
                return word
    return None


def _options(command: click.Command) -> set[str]:
    return {
        name
        for parameter in command.get_params(click.Context(command))
        for name in (*parameter.opts, *parameter.secondary_opts)
    }


def _follows_an_option(words: list[str], word: str) -> bool:
    place = words.index(word)
    return place > 0 and words[place - 1].startswith("-")


@pytest.mark.parametrize(
    "page",
    [page for page in pages() if python_blocks(page)],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_the_python_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "example"}
    for block in python_blocks(page):
        # The blank lines give a traceback the line numbers of the page.
        source = "\n" * block.line + block.text
        exec(compile(source, str(page), "exec"), namespace)


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_a_page_shows_exists(page: Path) -> None:
    unknown = {line: unknown_word(words) for line, words in commands(page)}
    assert {line: word for line, word in unknown.items() if word is not None} == {}


def test_the_readme_shows_python_and_commands() -> None:
    # Otherwise the two tests above would pass by finding nothing.
    assert python_blocks(ROOT / "README.md")
    assert commands(ROOT / "README.md")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("demo", None),
        ("-w here artifacts stats --json", None),
        ("dmeo", "dmeo"),
        ("artifacts stats --jsno", "--jsno"),
        ("artifacts bury", "bury"),
    ],
)
def test_the_checker_knows_a_command_from_a_typo(line: str, word: str | None) -> None:
    assert unknown_word(line.split()) == word

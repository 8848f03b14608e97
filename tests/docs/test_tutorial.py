"""The tutorial is true: each command does what the page shows, in the workspace that it is about.

The workspace is the demo's, with its pipelines and names, trained on every eighth wavelength so
that it is quick. Lines of shell run in bash; ours run in this process. Below a command the page
shows what it prints: every such line must be among the lines that were printed, in this order,
but for numbers, ids and dates; `…` stands for whatever is left out.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from n4a_store.artifacts.workspace import Workspace
from n4a_store.cli.main import run
from n4a_store.demo.sweeps import SWEEPS
from n4a_store.demo.undoing import tag_best
from n4a_store.pipeline.runner import PipelineRunner
from tests.docs.markdown import ROOT, blocks

PAGE = ROOT / "docs" / "tutorials" / "first-workspace.md"
SETTING_UP = ["make demo", "source .venv/bin/activate", "cd demo-workspace"]
BEST = "0004_PLSRegression_7cb187"
EVERY = 8
_EXIT_CODE = re.compile(r"# exit code (\d+)$")


@dataclass(slots=True)
class Step:
    """A command of the page and what the page shows below it."""

    command: str
    shown: list[str] = field(default_factory=list)


def steps() -> Iterator[Step]:
    """The commands of the page, in order."""
    step = None
    for block in blocks(PAGE.read_text(encoding="utf-8")):
        if block.info != "console":
            continue
        for line in block.text.splitlines():
            if line.startswith("$ "):
                if step is not None:
                    yield step
                step = Step(line.removeprefix("$ "))
            else:
                assert step is not None
                step.shown.append(line)
    assert step is not None
    yield step


def shape(line: str) -> str:
    """A line without what differs from machine to machine: ids, dates, numbers and their width."""
    text = re.sub(r"\b\d{8}_[0-9a-f]{6}\b", "RUN", line)
    text = re.sub(r"\b[0-9a-f]{8,64}\b", "ID", text)
    text = re.sub(r"\d+(?:[ ., :]\d+)*", "0", text)
    text = re.sub(r"\b0 ?(?:B|KiB|MiB)\b", "SIZE", text)
    return " ".join(text.split())


def missing(shown: list[str], printed: list[str]) -> str | None:
    """The first line that the page shows and the command did not print there."""
    rest = iter([shape(line) for line in printed])
    for line in shown:
        if line != "…" and shape(line) not in rest:
            return line
    return None


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tutorial") / "demo-workspace"
    (sweep,) = [sweep for sweep in SWEEPS if sweep.dataset == "fermentation"]
    pipeline, X, y, _ = sweep.make()
    runner = PipelineRunner(path, progress=lambda _: None)
    for _ in range(2):
        runner.run(pipeline, X[:, ::EVERY], y, sweep.dataset, message="demo")
    tag_best(Workspace(path), sweep.dataset, BEST)
    return path


def test_every_command_prints_what_the_page_shows(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    todo = list(steps())
    assert [step.command for step in todo[: len(SETTING_UP)]] == SETTING_UP
    monkeypatch.chdir(workspace)
    monkeypatch.delenv("COLUMNS", raising=False)  # the page shows whole lines
    shell: list[str] = []
    commands = 0
    for step in todo[len(SETTING_UP) :]:
        if not step.command.startswith("n4a-store "):
            shell.append(step.command)
            continue
        if shell:
            subprocess.run(["bash", "-euc", "\n".join(shell)], check=True, timeout=60)
            shell = []
        wanted = _EXIT_CODE.search(step.command)
        code = run(shlex.split(step.command, comments=True)[1:])
        said = capsys.readouterr()
        assert code == (int(wanted[1]) if wanted else 0), (step.command, said.err)
        printed = [*said.out.splitlines(), *said.err.splitlines()]
        assert missing(step.shown, printed) is None, (step.command, printed)
        commands += 1
    assert commands > 15
    assert not shell


def test_the_check_of_what_is_shown_can_fail() -> None:
    printed = ["dropped       86 objects  193.7 KiB; 218.5 KiB freed", "kept 0 objects", "run ab"]
    assert missing(["dropped 1 objects 2 B; 3.5 MiB freed", "…", "run ab"], printed) is None
    assert missing(["dropped 1 artifacts"], printed) == "dropped 1 artifacts"
    assert missing(["run ab", "kept 0 objects"], printed) == "kept 0 objects"


def test_the_tutorial_goes_from_the_clone_to_gc_and_undo() -> None:
    told = " ".join(step.command for step in steps())
    for word in ("make demo", "tag paper", "rm ", "undo", "gc --now", "fsck --full"):
        assert word in told


def test_the_demo_makes_the_pipelines_that_the_tutorial_names(workspace: Path) -> None:
    named = set(re.findall(r"\b000\d_\w+_[0-9a-f]{6}\b", PAGE.read_text(encoding="utf-8")))
    with Workspace(workspace).store("fermentation") as store:
        left = {ref.name.removeprefix("refs/pipelines/") for ref in store.refs("refs/pipelines/")}
    # The one that the page deletes is gone by now, or the tests ran in another order.
    assert named - left <= {"0008_forest_452745"}
    assert BEST in named

"""The commands that a how-to shows do what it says, one after the other, on a real workspace."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from n4a_store.cli.main import run
from tests.cli.workspaces import train
from tests.conftest import Spectra
from tests.docs.markdown import ROOT, blocks, links

PAGES = [
    "after-a-crash",
    "keep-a-model",
    "last-months-model",
    "reclaim-nightly",
    "send-a-model",
    "what-changed",
    "where-did-my-disk-go",
]

TEN_JOBS = {
    *("where-did-my-disk-go", "keep-a-model", "last-months-model", "what-changed"),
    *("send-a-model", "save-from-my-own-runner", "stack", "nirs4all", "reclaim-nightly"),
    "after-a-crash",
}


def test_the_ten_jobs_have_a_page_and_the_index_leads_to_it() -> None:
    assert len(TEN_JOBS) == 10
    index = ROOT / "docs" / "index.md"
    linked = {target for _, target in links(index.read_text(encoding="utf-8"))}
    assert {f"howto/{job}.md" for job in TEN_JOBS} <= linked
    assert all((ROOT / "docs" / "howto" / f"{job}.md").is_file() for job in TEN_JOBS)


def test_saving_from_a_runner_takes_ten_lines() -> None:
    page = (ROOT / "docs" / "howto" / "save-from-my-own-runner.md").read_text(encoding="utf-8")
    python = [block.text for block in blocks(page) if block.info == "python"]
    assert len([line for line in python[1].splitlines() if line]) <= 10


def commands(page: Path) -> list[list[str]]:
    """The words of every command of ours that a page shows, in order."""
    found = blocks(page.read_text(encoding="utf-8"))
    lines = [line for b in found if b.info == "console" for line in b.text.splitlines()]
    return [shlex.split(line)[2:] for line in lines if line.startswith("$ n4a-store ")]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, fermentation: Spectra) -> Path:
    path = tmp_path_factory.mktemp("howto") / "workspace"
    X, y = fermentation.X[:, ::16], fermentation.y
    for message, components in (("first", 2), ("second", 3)):
        train(path, "corn", X, y, message, components)
    np.save(path / "X.npy", X)
    return path


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_how_to_succeeds(
    page: str,
    template: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(template, tmp_path / "workspace")
    monkeypatch.chdir(tmp_path / "workspace")
    shown = commands(ROOT / "docs" / "howto" / f"{page}.md")
    assert len(shown) > 1
    for argv in shown:
        words = argv[: argv.index(">")] if ">" in argv else argv
        code = run(words)
        assert code == 0, (words, capsys.readouterr().err)

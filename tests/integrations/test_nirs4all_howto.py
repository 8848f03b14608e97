"""The page docs/howto/nirs4all.md is true: its Python runs, and leaves what the page says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from n4a_store import Workspace
from tests.docs.markdown import ROOT, blocks
from tests.integrations.training import files

PAGE = ROOT / "docs" / "howto" / "nirs4all.md"
TEN_LINES = 10


def python() -> list[str]:
    found = blocks(PAGE.read_text(encoding="utf-8"))
    return [block.text for block in found if block.info == "python nirs4all"]


def test_the_first_run_takes_ten_lines() -> None:
    lines = [line for line in python()[0].splitlines() if line.strip()]
    assert len(lines) <= TEN_LINES


@pytest.mark.nirs4all
def test_the_page_runs(tmp_path: Path) -> None:
    pytest.importorskip("nirs4all", reason="needs the extra [nirs4all]")
    script = "\n".join([*python(), "assert n4a.is_installed()", "assert len(predicted) == 60"])
    environment = os.environ | {"N4A_STORE_NIRS4ALL": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert files(tmp_path / "ws") == []
    assert Workspace(tmp_path / "ws").datasets() == ["dataset"]
    assert (tmp_path / "best.n4a").stat().st_size > 1000
    assert ".PLSRegression" in done.stdout

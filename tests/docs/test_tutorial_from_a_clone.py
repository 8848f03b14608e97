"""The tutorial followed to the letter by a newcomer: a fresh clone, then every line of the page.

`test_tutorial.py` tries the page's commands in a workspace of its own, quickly; here stand the
lines above them too: `make demo`, which installs into the clone, `source` and `cd`. One shell runs
them all, one after the other, as they stand on the page.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT
from tests.docs.test_tutorial import Step, missing, steps

_MARK = "=== step"
_EXIT_CODE = re.compile(r"# exit code (\d+)$")
_MINUTES = 15


def script(todo: list[Step]) -> str:
    """The lines of the page, with a mark and the exit code after each."""
    lines = ["exec 2>&1"]
    for number, step in enumerate(todo):
        lines += [step.command, f'echo "{_MARK} {number} $?"']
    return "\n".join(lines) + "\n"


def answers(said: str) -> list[tuple[int, list[str]]]:
    """The exit code of each line of the page, and what it printed."""
    parts = re.split(rf"^{_MARK} \d+ (\d+)\n", said, flags=re.MULTILINE)
    return [
        (int(code), text.splitlines()) for text, code in zip(parts[:-1:2], parts[1::2], strict=True)
    ]


def test_what_is_said_is_told_apart_by_line() -> None:
    todo = [Step("echo one; false"), Step("x=two"), Step("echo $x")]
    done = subprocess.run(
        ["bash", "-s"], input=script(todo), capture_output=True, text=True, check=True, timeout=60
    )
    assert answers(done.stdout) == [(1, ["one"]), (0, []), (0, ["two"])]


@pytest.mark.slow
def test_a_newcomer_can_follow_every_line_from_a_fresh_clone(tmp_path: Path) -> None:
    clone = tmp_path / "n4a_store"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True, timeout=120)
    # The shell of somebody who has nothing of this project yet.
    ours = ("N4A_", "VIRTUAL_ENV", "PYTHON", "COV_", "PYTEST_", "MAKE", "COLUMNS")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    path = [part for part in env["PATH"].split(os.pathsep) if not part.startswith(str(ROOT))]
    todo = list(steps())
    done = subprocess.run(
        ["bash", "-s"],
        input=script(todo),
        cwd=clone,
        env=env | {"PATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=_MINUTES * 60,
    )
    said = answers(done.stdout)
    for step, (code, printed) in zip(todo, said, strict=False):
        wanted = _EXIT_CODE.search(step.command)
        assert code == (int(wanted[1]) if wanted else 0), (step.command, printed)
        assert missing(step.shown, printed) is None, (step.command, printed)
    assert len(said) == len(todo), done.stdout[-2000:]
    assert (clone / ".venv" / "bin" / "n4a-store").is_file()
    assert (clone / "demo-workspace" / "binaries" / "coffee").is_dir()

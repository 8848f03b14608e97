"""Completion in bash itself: the script is sourced, and asked as bash asks."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import EXECUTABLE, Trained
from tests.cli.test_manners import CLEAN, complete

_ASK = """
source <('{executable}' completion bash)
read -r -a how <<< "$(complete -p n4a-store)"
while [[ ${{how[0]}} != -F ]]; do how=("${{how[@]:1}}"); done
COMP_WORDS=({words}) COMP_CWORD={last} COMP_LINE={line} COMP_POINT={point}
"${{how[1]}}" '{executable}' x y
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def offered(line: str, *, behind: str = "", cwd: Path | None = None) -> list[str]:
    """What Tab offers at the end of `line`, in place of what bash takes for the word there."""
    words = re.findall(r"[\"'][^\"']*|[:=]+|[^\s:=]+", line)
    if line.endswith(" "):
        words.append("")
    script = _ASK.format(
        executable=EXECUTABLE,
        words=" ".join(map(quoted, words)),
        last=len(words) - 1,
        line=quoted(line + behind),
        point=len(line),
    )
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, cwd=cwd, check=True,
        env=CLEAN | {"COMP_WORDBREAKS": " \t\n\"'@><=;|&(:"}, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    return [found for found in done.stdout.splitlines() if found]


def test_what_stands_before_a_colon_is_not_offered_again(trained: Trained) -> None:
    at = f"n4a-store -w {trained.path} -d corn artifacts show"
    assert offered(f"{at} 0001_pls:") == ["0:all", "1:0", "1:1"]
    assert offered(f"{at} 0001_pls:1:") == ["0", "1"]
    assert offered(f"{at} 0001_pls:1:", behind=" --json") == ["0", "1"]
    assert offered(f"{at} 0001") == ["0001_pls"]
    assert offered(f'{at} "0001_pls:1:') == ["0001_pls:1:0", "0001_pls:1:1"]


def test_a_value_after_its_option_and_an_equals_sign(trained: Trained) -> None:
    at = f"n4a-store --workspace={trained.path}"
    assert offered(f"{at} --dataset=fer") == ["fermentation"]
    assert offered(f"{at} artifacts find --type=meta") == ["meta_model"]


def test_files_and_folders_are_offered_where_they_are_meant(
    trained: Trained, tmp_path: Path
) -> None:
    (tmp_path / "one file.n4b").touch()
    (tmp_path / "one").mkdir()
    at = f"n4a-store -w {trained.path} artifacts"
    assert sorted(offered(f"{at} export -o on", cwd=tmp_path)) == ["one", "one file.n4b"]
    assert offered(f"{at} export --files on", cwd=tmp_path) == ["one"]
    assert sorted(offered(f"{at} import on", cwd=tmp_path)) == ["one", "one file.n4b"]
    assert offered("n4a-store --store=on", cwd=tmp_path) == ["one"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("find --class P", ["PLSRegression"]),
        ("find --type mod", ["model"]),
        ("find --pipeline 0", ["0001_pls", "0002_stack"]),
        ("log --pipeline 0002", ["0002_stack"]),
    ],
)
def test_conditions_have_values_to_offer(words: str, found: list[str], trained: Trained) -> None:
    line = f"n4a-store -w {trained.path} artifacts {words}"
    assert complete(line, line.count(" ")) == found


def test_runs_are_offered(trained: Trained) -> None:
    for words in ("find --run 2", "show --run 2", "manifest --run 2"):
        line = f"n4a-store -w {trained.path} -d corn artifacts {words}"
        assert complete(line, line.count(" ")) == sorted(trained.runs), words

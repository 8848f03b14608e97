"""How the program behaves: interrupted, piped, debugged, completed, and on poor terminals."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import EXECUTABLE, Cli, SmallStore, Trained

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("N4A_")}


def test_ctrl_c_is_130_and_no_traceback(small: SmallStore) -> None:
    process = subprocess.Popen(
        [EXECUTABLE, "--store", small.path, "cat-file", "--batch-check"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=CLEAN,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"production\n")
    process.stdin.flush()
    assert process.stdout.readline().startswith(small.pipeline.encode())
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == b"error: interrupted\n"
    assert list((small.path / "leases").iterdir()) == []


def test_ctrl_c_is_130_while_the_program_is_still_being_imported() -> None:
    script = (
        "import sys\n"
        "class Stop:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'click':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Stop())\n"
        "from n4a_store.cli.main import main\n"
        "main(['show-ref'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, env=CLEAN, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"error: interrupted\n")


def test_a_reader_that_leaves_ends_us_quietly(small: SmallStore) -> None:
    script = (
        f"yes production | '{EXECUTABLE}' --store '{small.path}' cat-file --batch-check "
        "| head -n 1; echo ${PIPESTATUS[1]}"
    )
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env=CLEAN, check=True, timeout=60
    )
    line, code = done.stdout.splitlines()
    assert line.startswith(small.pipeline)
    assert code == "141"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "closed", "code", "said"),
    [
        ("artifacts log", ">&-", 0, ""),
        ("cat-file --batch-check", "<&-", 0, ""),
        ("artifacts purge --force", "<&-", 2, "not a terminal"),
        ("artifacts log", "<&- >&- 2>&-", 0, ""),
    ],
)
def test_a_closed_stream_is_empty_or_unheard(
    words: str, closed: str, code: int, said: str, trained: Trained
) -> None:
    script = f"'{EXECUTABLE}' -w '{trained.path}' -d corn {words} {closed}"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env=CLEAN, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert bool(done.stderr) == bool(said)


def test_narration_stands_where_it_was_said_when_both_go_into_one_pipe(trained: Trained) -> None:
    done = subprocess.run(
        [EXECUTABLE, "-w", trained.path, "-d", "corn", "artifacts", "rm", "0002_stack"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=CLEAN, check=True,
        timeout=60,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines[0].startswith("would remove")
    assert lines[-1] == "Nothing was changed. Run again with --force."


def test_debug_shows_the_traceback(
    executable: Cli, small: SmallStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = ("--store", small.path, "rev-parse", "nowhere")
    executable(*at).failed(13)
    told = executable(*at, env={"N4A_STORE_DEBUG": "1"})
    assert "Traceback" in told.err
    assert "RefNotFoundError" in told.err


def test_an_error_of_ours_names_itself_a_bug(
    cli: Cli, small: SmallStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("boom \x1b[2J")

    monkeypatch.setattr("n4a_store.repo.store.Store.refs", broken)
    result = cli("show-ref", "--store", small.path).failed(1, "this is a bug", "N4A_STORE_DEBUG=1")
    assert "\x1b" not in result.err


def test_hostile_arguments_are_shown_harmless(executable: Cli, small: SmallStore) -> None:
    result = executable("rev-parse", "\x1b[2Jx\u202ey", "--store", small.path).failed(2)
    assert "\x1b" not in result.err
    assert "\u202e" not in result.err
    odd = os.fsdecode(b"caf\xe9")
    executable("rev-parse", odd, "--store", small.path).failed(2)
    executable("show-ref", "--store", f"/{odd}").failed(10, "caf\\udce9")


def test_ascii_where_the_terminal_is_not_utf_8(executable: Cli, trained: Trained) -> None:
    result = executable(
        "-w", trained.path, "-d", "corn", "artifacts", "graph", "0002_stack",
        env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    ).ok()  # fmt: skip
    assert result.stdout.isascii()
    assert any(line.startswith("|- 0001_pls:1:0") for line in result.lines)


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"LC_ALL": "", "LC_CTYPE": "", "LANG": "C"}])
def test_ascii_where_the_locale_is_c_though_python_writes_utf_8(
    locale: dict[str, str], executable: Cli, trained: Trained
) -> None:
    at = ("-w", trained.path, "-d", "corn", "artifacts")
    env = {**locale, "PYTHONUTF8": "", "PYTHONIOENCODING": "", "PYTHONCOERCECLOCALE": ""}
    for words in ("graph 0002_stack", "show 0001_pls:1:0", "find --help", "stats"):
        assert executable(*at, *words.split(), env=env).ok().stdout.isascii(), words
    assert "├─" in executable(*at, "graph", "0002_stack", env={"LC_ALL": "C.UTF-8"}).ok().out


def test_a_name_stays_whole_where_the_locale_is_c(executable: Cli, own: SmallStore) -> None:
    at, env = ("--store", own.path), {"LC_ALL": "C", "PYTHONUTF8": "", "PYTHONIOENCODING": ""}
    executable(*at, "update-ref", "refs/tags/für→dich", own.pipeline, env=env).ok()
    assert "refs/tags/für→dich" in executable(*at, "show-ref", env=env).ok().out


def test_a_table_is_no_wider_than_its_terminal_in_ascii_too(
    executable: Cli, trained: Trained
) -> None:
    result = executable(
        "-w", trained.path, "-d", "corn", "artifacts", "find",
        env={"LC_ALL": "C", "PYTHONUTF8": "", "PYTHONIOENCODING": "", "COLUMNS": "60"},
    ).ok()  # fmt: skip
    assert any("..." in line for line in result.lines)
    assert max(map(len, result.lines)) <= 60


def complete(words: str, index: int) -> list[str]:
    """What our program offers in bash for the word at `index`, with the line ending there."""
    line = " ".join([*words.split(" ")[:index], *words.split(" ")[index : index + 1]])
    env = CLEAN | {"_N4A_STORE_COMPLETE": "bash_complete", "COMP_LINE": line}
    done = subprocess.run(
        [EXECUTABLE], capture_output=True, text=True, env=env, check=True, timeout=60
    )
    assert done.stderr == ""
    return [line.partition("\t")[2] for line in done.stdout.splitlines() if line]


def test_completion_knows_commands_datasets_refs_and_ids(trained: Trained) -> None:
    assert complete("n4a-store art", 1) == ["artifacts"]
    at = f"n4a-store -w {trained.path}"
    assert complete(f"{at} -d co", 4) == ["corn"]
    assert complete(f"{at} -d corn artifacts show 0001", 7) == ["0001_pls"]
    assert complete(f"{at} -d corn artifacts show 0001_pls:1:", 7) == [
        "0001_pls:1:0", "0001_pls:1:1",
    ]  # fmt: skip
    assert complete(f"{at} -d corn update-ref refs/pi", 6) == [
        "refs/pipelines/0001_pls", "refs/pipelines/0002_stack",
    ]  # fmt: skip
    assert complete("n4a-store -w /nowhere artifacts show x", 5) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(cli: Cli, shell: str, tmp_path: Path) -> None:
    script = cli("completion", shell).ok().out
    assert "_N4A_STORE_COMPLETE" in script
    assert cli("completion", shell, "--json").ok().json["script"] == script
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([shell, "-n", tmp_path / "script"], check=True)


def test_completion_of_an_unknown_shell(cli: Cli) -> None:
    cli("completion", "tcsh").failed(2, "bash", "zsh", "fish")
    missing = cli("completion").failed(2, "missing argument '{bash|zsh|fish}'")
    assert len(missing.err.splitlines()) == 2  # an error and its hint


def test_options_stand_before_and_after_the_command(cli: Cli, trained: Trained) -> None:
    before = cli("-w", trained.path, "-d", "corn", "--json", "show-ref").ok()
    after = cli("show-ref", "-w", trained.path, "--dataset", "corn", "--json").ok()
    assert before.out == after.out
    # The nearer one wins.
    other = cli("-d", "corn", "artifacts", "-w", trained.path, "log", "-d", "fermentation").ok()
    assert trained.other in other.out
    assert trained.runs[0] not in other.out

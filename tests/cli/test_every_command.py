"""Every command, through the executable: good, in an empty store, bad input, JSON, off a terminal.

The table has a row for each command, and a test demands one for each command that there is. What
a command is for stands in its own test; here stands what all of them must do alike.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, Result, Trained
from tests.cli.test_main import commands
from tests.cli.test_nirs4all_workspaces import make_flat
from tests.cli.warm import COLUMNS, Warm
from tests.integrations.workspaces import make_workspace

AT = "-w {ws} -d corn"


@dataclass(frozen=True, slots=True)
class Case:
    """How a command is called.

    Args:
        good: Its words when all is well.
        bad: Words with a mistake, the exit code for it, and what the error says.
        empty: The exit code of the good words in an empty store.
        empty_words: Other words for the empty store.
        stdin: What the good words read.
        at: The options in front.
        code: The exit code of the good words.
        wide: Whether its lines may be wider than a terminal: plumbing's are never cut.
    """

    good: str
    bad: tuple[str, int, str]
    empty: int = 0
    empty_words: str = ""
    stdin: str = ""
    at: str = AT
    code: int = 0
    wide: bool = False


PLUMBING = {
    "cat-file": Case("-p 0001_pls", ("-p 0001_plz", 13, "did you mean '0001_pls'"), 13),
    "check-ref-format": Case("refs/tags/a", ("refs/tags/a..b", 2, "'a..b'")),
    "commit-run": Case("{tree}", ("nowhere", 13, "nowhere"), 13),
    "count-objects": Case("-vH", ("--vv", 2, "--vv")),
    "for-each-ref": Case("refs/runs/", ("--format %(nmae)", 2, "nmae")),
    "fsck": Case("--full", ("--ful", 2, "did you mean '--full'")),
    "hash-object": Case("-w --stdin", ("-t blub --stdin", 2, "blub"), stdin="data"),
    "index-pack": Case("--unlisted", ("nowhere", 13, "no pack nowhere")),
    "init": Case("{tmp}/new{n}", ("{ws}/binaries/corn", 2, "corn"), at=""),
    "ls-tree": Case("-r -l 0001_pls", ("0001_pls:artifacts/9", 13, "9"), 13),
    "mktree": Case("", ("--zz", 2, "--zz"), stdin="tree {tree}\tname\n", empty=13),
    "pack-objects": Case("{tmp}/one{n}.n4p", ("--rev", 2, "--revs"), 13, stdin="{tree}\n"),
    "prune": Case("", ("--dryrun", 2, "--dry-run")),
    "reflog": Case("0001_pls", ("0001_plz", 13, "0001_pls"), 13),
    "repack": Case("-a", ("--compat", 2, "--compact")),
    "rev-list": Case("--objects {run}", ("20251231_000000", 13, "20251231_000000"), 13),
    "rev-parse": Case("{run} 0001_pls:1:0", ("0001_pls:1", 2, "0001_pls:1"), 13),
    "show-ref": Case("", ("--tag", 2, "--tag")),
    "unpack-objects": Case("{pack}", ("{ws}/X.bin", 4, "X.bin")),
    "update-ref": Case("refs/tags/t{n} {tree}", ("refs/tags/../t {tree}", 2, "'..'"), 13),
    "verify-pack": Case("-v", ("nowhere", 13, "nowhere")),
}
PORCELAIN = {
    "stats": Case("--deep", ("--dep", 2, "--deep")),
    "log": Case("", ("-n many", 2, "many")),
    "show": Case("0001_pls:1:0", ("0001_pls:1:9", 13, "0001_pls:1:"), 13),
    "diff": Case("{run0} {run}", ("{run} 0001_plz", 13, "'0001_pls'"), 13),
    "find": Case("--class PLS*", ("--min-size many", 2, "many")),
    "graph": Case("0002_stack:0:all", ("0002_stak", 13, "'0002_stack'"), 13),
    "why": Case("0001_pls:0:all", ("0001_pls:0:al", 2, "0:al"), 13),
    "du": Case("--runs", ("0002_stak", 13, "'0002_stack'")),
    "manifest": Case("0001_pls", ("0001_plz", 13, "'0001_pls'"), 13, wide=True),
    "verify": Case("", ("0002_stak", 13, "'0002_stack'")),
    "tag": Case("paper{n} 0001_pls", ("a:b 0001_pls", 2, "a:b"), 13),
    "rm": Case("0002_stack", ("0002_stak", 13, "'0002_stack'"), 13),
    "undo": Case("--dry-run", ("--op 99999", 13, "99999"), 13),
    "gc": Case("", ("--froce", 2, "--force")),
    "list-orphaned": Case("", ("--all", 2, "--all")),
    "cleanup": Case("", ("--noww", 2, "--now")),
    "purge": Case("", ("-f", 2, "-y")),
    "export": Case("0002_stack -o {tmp}/one{n}.n4b", ("0002_stack", 2, "-o FILE"), 13),
    "import": Case("--trust --force {bundle}", ("{ws}/X.bin", 2, "not a bundle")),
    "import-workspace": Case("{flat}", ("{tmp}", 10, "store.sqlite"), at="-w {ws}"),
    "export-workspace": Case("{tmp}/old{n}", ("{ws}", 2, "not empty"), 10, at="-w {old}"),
}
CASES = {
    "completion": Case("bash", ("tcsh", 2, "zsh"), wide=True),
    **PLUMBING,
    **{f"artifacts {name}": case for name, case in PORCELAIN.items()},
}
ELSEWHERE = {
    "artifacts": "a group",
    "demo": "a minute long: test_demo.py runs it, and what it prints, through the executable",
}


def test_every_command_has_a_case_of_each_sort() -> None:
    assert set(commands()) == CASES.keys() | ELSEWHERE.keys()


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    with Warm() as calls:
        yield calls


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory, trained_template: Trained) -> dict[str, str]:
    """What the words name, beside the workspace."""
    from n4a_store.cli.main import run
    from n4a_store.integrations.nirs4all.importing import import_workspace

    folder = tmp_path_factory.mktemp("things")
    at = ["-w", str(trained_template.path), "-d", "corn", "-q"]
    made = {"bundle": str(folder / "run.n4b"), "pack": str(folder / "some.n4p")}
    assert run([*at, "artifacts", "export", "0001_pls", "-o", made["bundle"]]) == 0
    from n4a_store.artifacts.workspace import Workspace

    with Workspace(trained_template.path).store("corn") as store:
        made["tree"] = store.resolve("0001_pls").hex
        blob = next(oid for oid, kind in store.objects() if kind.label == "blob")
        from n4a_store.repo.exchange import write_pack

        data = bytearray()
        write_pack(store, [blob], data.extend)
        Path(made["pack"]).write_bytes(data)
    made["flat"] = str(make_flat(folder / "flat", "0001:0:all"))
    made["old"] = str(folder / "old")
    import_workspace(make_workspace(folder / "nirs4all"), made["old"])
    return made


@pytest.fixture
def call(
    warm: Warm, things: dict[str, str], trained_own: Trained, empty: Path, tmp_path: Path
) -> Call:
    (trained_own.path / "X.bin").write_bytes(b"neither bundle nor pack")
    shutil.copytree(empty, tmp_path / "empty" / "binaries" / "corn")
    known = things | {
        "ws": str(trained_own.path),
        "tmp": str(tmp_path),
        "run0": trained_own.runs[0],
        "run": trained_own.runs[2],
    }
    return Call(warm, known, tmp_path)


@dataclass(slots=True)
class Call:
    """Calls the executable with words in which names in braces stand for things."""

    warm: Warm
    known: dict[str, str]
    folder: Path
    count: int = 0

    def __call__(
        self, at: str, command: str, words: str, stdin: str = "", *, terminal: bool = False
    ) -> Result:
        self.count += 1
        known = self.known | {"n": str(self.count)}
        argv = shlex.split(f"{at} {command} {words}".format(**known))
        data = stdin.format(**known).encode()
        return self.warm(*argv, stdin=data, cwd=self.folder, terminal=terminal)

    def in_empty(self) -> Call:
        """The same with an empty store in place of the workspace."""
        empty = {name: str(self.folder / "empty") for name in ("ws", "old")}
        return dataclasses.replace(self, known=self.known | empty)


@pytest.mark.parametrize("command", CASES)
def test_a_command(command: str, call: Call) -> None:
    case = CASES[command]
    good = call(case.at, command, case.good, case.stdin)
    assert good.code == case.code, good.err
    # Off a terminal: no colours, no progress, nothing drawn over itself.
    assert b"\x1b" not in good.stdout + good.stderr
    assert b"\r" not in good.stdout + good.stderr

    answer = call(case.at, command, f"{case.good} --json", case.stdin)
    assert answer.code == case.code, answer.err
    assert answer.json["command"] == command
    assert json.dumps(answer.json)
    assert answer.stdout.isascii()

    words, code, said = case.bad
    bad = call(case.at, command, words).failed(code, said)
    assert bad.out == ""
    assert bad.lines == []
    assert "hint: " in bad.err, bad.err
    assert all(re.match(r"(error|hint|warning): |  ", line) for line in bad.err.splitlines())

    empty = call.in_empty()(case.at, command, case.empty_words or case.good, case.stdin)
    if case.empty:
        empty.failed(case.empty)
    else:
        empty.ok()


# Nobody types at the terminal of a test.
@pytest.mark.parametrize("command", [name for name, case in CASES.items() if not case.stdin])
def test_a_command_on_a_terminal(command: str, call: Call) -> None:
    case = CASES[command]
    said = call(case.at, command, case.good, terminal=True)
    assert said.code == case.code, said.out
    plain = re.sub(r"\x1b\[[0-9;]*[mK]", "", said.out).replace("\r\n", "\n")
    assert "\x1b" not in plain
    if command.startswith("artifacts ") and not case.wide:
        folder = str(call.folder)
        wide = [line for line in plain.splitlines() if len(line) > COLUMNS and folder not in line]
        assert wide == []


def test_a_few_commands_from_a_cold_start(executable: Cli, trained: Trained, call: Call) -> None:
    """What the warm process says is what the executable says when a shell starts it."""
    for words in ("show-ref", "artifacts find --class PLS*", "artifacts show 0001_pls:1:0 --json"):
        argv = ["-w", str(trained.path), "-d", "corn", *words.split()]
        assert call.warm(*argv) == executable(*argv)

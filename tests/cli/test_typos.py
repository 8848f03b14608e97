"""A typo in every argument once: in each option's name, each value, each name and path.

Never a traceback, nothing on stdout, the exit code of the page, the mistyped word in the error,
and a hint; none of it wider than a terminal. The command tree is walked, so a parameter without
a typo below fails a test.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from n4a_store.artifacts.workspace import Workspace
from n4a_store.cli.command import LazyGroup, global_options
from n4a_store.cli.main import run
from n4a_store.cli.program import artifacts, program
from tests.cli.conftest import Cli, Trained
from tests.cli.test_main import commands

COLUMNS = 80
USAGE, NO_STORE, UNKNOWN, FAILURE = 2, 10, 13, 1


@dataclass(frozen=True, slots=True)
class Typo:
    """Words with one typo.

    Args:
        words: All words after the command, the others right. ``<run>`` is the id of a run, which
            begins with the day on which the tests run.
        code: The exit code.
        said: The word that the error must name.
        meant: What the hint must offer.
        stdin: What the command reads.
    """

    words: str
    code: int
    said: str
    meant: str
    stdin: str = ""


def lost(words: str, said: str = "0001_plz", meant: str = "'0001_pls'") -> Typo:
    """A name that leads nowhere."""
    return Typo(words, UNKNOWN, said, meant)


RUN_TYPO = Typo("--run <run>z 0001_pls", UNKNOWN, "<run>z", "did you mean")

# By command and parameter; parameters that are flags have only a name to mistype.
TYPOS: dict[str, dict[str, Typo]] = {
    "completion": {"shell": Typo("bsh", USAGE, "bsh", "bash")},
    "demo": {},
    "artifacts stats": {},
    "artifacts log": {
        "count": Typo("-n ten", USAGE, "ten", "-n"),
        "pipeline": Typo("--pipeline 0001_plz", 0, "0001_plz", "'0001_pls'"),
    },
    "artifacts show": {"run": RUN_TYPO, "name": lost("0001_plz")},
    "artifacts diff": {
        "probe": Typo("--probe X.npz 0001_pls 0002_stack", FAILURE, "X.npz", "path"),
        "old": lost("0001_plz 0002_stack"),
        "new": lost("0001_pls 0002_stak", "0002_stak", "'0002_stack'"),
    },
    "artifacts find": {
        "class_name": Typo("--class PLSRegresion", 0, "PLSRegresion", "'PLSRegression'"),
        "type_": Typo("--type modle", 0, "modle", "'model'"),
        "params": Typo("--param n_components", USAGE, "n_components", "--param n_components=3"),
        "run": Typo("--run <run>z", UNKNOWN, "<run>z", "did you mean"),
        "pipeline": Typo("--pipeline 0001_plz", 0, "0001_plz", "'0001_pls'"),
        "since": Typo("--since yesterdya", USAGE, "yesterdya", "2026-"),
        "until": Typo("--until 2026-13-01", USAGE, "2026-13-01", "2026-"),
        "min_size": Typo("--min-size 10MX", USAGE, "10MX", "2M"),
        "max_size": Typo("--max-size many", USAGE, "many", "2M"),
        "count": Typo("-n ten", USAGE, "ten", "-n"),
    },
    "artifacts graph": {
        "format_": Typo("--format svgg 0001_pls", USAGE, "svgg", "svg"),
        "run": RUN_TYPO,
        "name": lost("0001_plz"),
    },
    "artifacts why": {"name": lost("0001_plz")},
    "artifacts du": {"names": lost("0001_pls 0002_stak", "0002_stak", "'0002_stack'")},
    "artifacts manifest": {"run": RUN_TYPO, "name": lost("0001_plz")},
    "artifacts verify": {"names": lost("0001_plz")},
    "artifacts tag": {
        "steps": Typo("--rollback --steps two paper", USAGE, "two", "--steps"),
        "tag": lost("--delete papre", "papre", "'paper'"),
        "target": lost("other 0001_plz"),
    },
    "artifacts rm": {"names": lost("0001_plz")},
    "artifacts undo": {
        "op": Typo("--op abc", USAGE, "abc", "undo --list"),
        "ref": lost("papre", "papre", "'paper'"),
    },
    "artifacts gc": {},
    "artifacts list-orphaned": {},
    "artifacts cleanup": {},
    "artifacts purge": {},
    "artifacts export": {
        "output": Typo("0001_pls -o nowhere/one.n4b", USAGE, "nowhere", "create it"),
        "files": Typo("0001_pls --files one.n4b", USAGE, "one.n4b", "folder"),
        "run": Typo("--run <run>z 0001_pls -o a.n4b", UNKNOWN, "<run>z", "did you mean"),
        "names": lost("0001_plz -o one2.n4b"),
    },
    "artifacts import": {"file": Typo("one.n4x", FAILURE, "one.n4x", "path")},
    "artifacts import-workspace": {"path": Typo("nowhere", NO_STORE, "nowhere", "store.sqlite")},
    "artifacts export-workspace": {"folder": Typo("one.n4b", USAGE, "one.n4b", "--help")},
    "cat-file": {"name": lost("-p 0001_plz")},
    "check-ref-format": {"name": Typo("refs/tags/a..b", USAGE, "a..b", "..")},
    "commit-run": {
        "message": Typo("-m", USAGE, "-m", "--help"),
        "parents": Typo("-p <run>z 0001_pls", UNKNOWN, "<run>z", "did you mean"),
        "status": Typo("--status complte 0001_pls", USAGE, "complte", "'complete'"),
        "created_at": Typo("--created-at noon 0001_pls", USAGE, "noon", "2026-"),
        "tree": lost("0001_plz"),
    },
    "count-objects": {},
    "for-each-ref": {
        "template": Typo("--format %(refnam)", USAGE, "refnam", "refname"),
        "count": Typo("--count ten", USAGE, "ten", "--count"),
        "sort": Typo("--sort refnam", USAGE, "refnam", "refname"),
        "patterns": Typo("refs/tagz/", 0, "", ""),
    },
    "fsck": {},
    "hash-object": {
        "kind": Typo("-t blob2 one.n4b", USAGE, "blob2", "blob"),
        "files": Typo("one.n4x", FAILURE, "one.n4x", "path"),
    },
    "index-pack": {"packs": Typo("nowhere", UNKNOWN, "nowhere", "hint")},
    "init": {"path": Typo("one.n4b", USAGE, "one.n4b", "folder")},
    "ls-tree": {"name": lost("0001_plz")},
    "mktree": {},
    "pack-objects": {"file": Typo("no/where.n4p", FAILURE, "no/where.n4p", "path")},
    "prune": {},
    "reflog": {"count": Typo("-n ten", USAGE, "ten", "-n"), "names": lost("0001_plz")},
    "repack": {"hot": lost("--compact --hot 0001_plz", meant="0001_pls")},
    "rev-list": {"names": lost("0001_plz")},
    "rev-parse": {
        "digits": Typo("--digits 99 0001_pls", USAGE, "99", "4"),
        "names": lost("0001_plz"),
    },
    "show-ref": {"patterns": lost("--verify refs/tags/papre", "papre", "'paper'")},
    "unpack-objects": {"file": Typo("one.n4x", FAILURE, "one.n4x", "path")},
    "update-ref": {
        "message": Typo("-m", USAGE, "-m", "--help"),
        "ref": lost("-d refs/tags/papre", "papre", "'paper'"),
        "values": lost("refs/tags/paper 0001_plz"),
    },
    "verify-pack": {"packs": Typo("nowhere", UNKNOWN, "nowhere", "hint")},
}
# The same for every command; `{words}` stands for words that are right.
GLOBAL = {
    "workspace": Typo("--workspace wz --dataset corn", NO_STORE, "'wz'", "n4a-store demo"),
    "dataset": Typo("--workspace ws --dataset crn", NO_STORE, "'crn'", "'corn'"),
    "store": Typo("--store ws/binaries/crn", NO_STORE, "'ws/binaries/crn'", "'ws/binaries/corn'"),
    "color": Typo("--color allways", USAGE, "'allways'", "'always'"),
}
# What must stand for a command to get as far as its store.
NEEDED = {
    "completion": None,  # these look at no store
    "demo": None,
    "init": None,
    "check-ref-format": None,
    "hash-object": "-w --stdin",
    "artifacts import-workspace": None,
    "artifacts export-workspace": "out",
    "artifacts show": "0001_pls",
    "artifacts diff": "0001_pls 0002_stack",
    "artifacts graph": "0001_pls",
    "artifacts why": "0001_pls",
    "artifacts manifest": "0001_pls",
    "artifacts rm": "0001_pls",
    "artifacts export": "0001_pls -o out.n4b",
    "artifacts import": "one.n4b",
    "cat-file": "-p 0001_pls",
    "commit-run": "0001_pls",
    "index-pack": "--unlisted",
    "ls-tree": "0001_pls",
    "pack-objects": "out.n4p",
    "rev-list": "0001_pls",
    "rev-parse": "0001_pls",
    "unpack-objects": "one.n4b",
    "update-ref": "-d refs/tags/paper",
}


def command_of(name: str) -> click.Command:
    group = artifacts if name.startswith("artifacts ") else program
    assert isinstance(group, LazyGroup)
    command = group.get_command(click.Context(group), name.removeprefix("artifacts "))
    assert command is not None
    return command


NAMES = [name for name in commands() if name != "artifacts"]


@pytest.mark.parametrize("name", NAMES)
def test_no_parameter_is_without_a_typo(name: str) -> None:
    everywhere = {option.name for option in global_options(store=True)}
    taking = {
        parameter.name
        for parameter in command_of(name).params
        if not (isinstance(parameter, click.Option) and parameter.is_flag)
    }
    assert taking - everywhere == set(TYPOS[name])
    assert {p.name for p in global_options(store=True) if not p.is_flag} == set(GLOBAL)


Try = Callable[[str, Typo], None]


@pytest.fixture(scope="module")
def place(trained_template: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a workspace `ws` and a file."""
    folder = tmp_path_factory.mktemp("typos")
    shutil.copytree(trained_template.path, folder / "ws")
    with (
        Workspace(folder / "ws").store("corn") as store,
        store.transaction("tag") as txn,
    ):
        txn.set_ref("refs/tags/paper", store.resolve("0001_pls"))
    assert (
        run(
            [
                "-w",
                str(folder / "ws"),
                "-d",
                "corn",
                "artifacts",
                "export",
                "paper",
                "-o",
                str(folder / "one.n4b"),
                "-q",
            ]
        )
        == 0
    )
    return folder


@pytest.fixture
def mistype(cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch) -> Try:
    """Run words with a typo in 80 columns and look at the answer."""
    monkeypatch.setenv("COLUMNS", str(COLUMNS))

    run_id = sorted(path.name for path in (place / "ws" / "runs" / "corn").iterdir())[0]

    def call(line: str, typo: Typo) -> None:
        line = line.replace("<run>", run_id)
        result = cli(*shlex.split(line), stdin=typo.stdin, cwd=place)
        said = f"{line}\n{result.out}{result.err}"
        assert result.code == typo.code, said
        assert "Traceback" not in said, said
        assert "bug" not in result.err, said
        # How long the name of this test's own folder is, is nobody's mistake.
        lines = result.err.replace(str(place), "/place").splitlines()
        assert all(len(text) <= COLUMNS for text in lines), said
        if typo.code == 0:  # a search that finds nothing is no failure
            assert result.out == "", said
        else:
            assert re.match(r"error: .", result.err), said
            assert re.search(r"^hint: .", result.err, re.MULTILINE), said
            assert result.out == "", said
        assert typo.said.replace("<run>", run_id) in result.err, said
        assert typo.meant in result.err, said

    return call


@pytest.mark.parametrize("name", NAMES)
def test_a_value_that_is_mistyped(name: str, mistype: Try) -> None:
    for typo in TYPOS[name].values():
        place = "" if NEEDED.get(name, "") is None and name != "hash-object" else "-w ws -d corn "
        mistype(f"{place}{name} {typo.words}", typo)


@pytest.mark.parametrize(
    ("words", "said", "meant"),
    [
        # A tag that was meant is sought among the tags alone.
        ("artifacts tag --delete nope", "nope", "'n4a-store -w ws -d corn artifacts tag' lists"),
        ("artifacts tag --history nope", "nope", "'n4a-store -w ws -d corn artifacts tag' lists"),
        ("artifacts tag 0001_plz", "0001_plz", "artifacts tag' lists the tags"),
        ("artifacts tag --rollback papre", "papre", "did you mean 'paper'?"),
        ("artifacts tag --rollback --steps 9 paper", "@{1}, not @{9}", "tag --history paper'"),
        # A name that is right, of a moment that is not.
        ("rev-parse paper@{99}", "to @{1}, not @{99}", "reflog paper' lists"),
        ("rev-parse refs/tags/paper@{2001-01-01}", "2001-01-01", "reflog refs/tags/paper'"),
        ("rev-parse papre@{1}", "papre", "did you mean 'paper'?"),
        ("artifacts undo --op 99999", "99999", "hint: "),
    ],
)
def test_a_name_of_a_certain_kind(words: str, said: str, meant: str, mistype: Try) -> None:
    mistype(f"-w ws -d corn {words}", Typo("", UNKNOWN, said, meant))


def mistyped(word: str) -> str:
    """An option with two letters in the wrong order, or with one doubled."""
    for at in range(3, len(word) - 1):
        if word[at] != word[at + 1]:
            return f"{word[:at]}{word[at + 1]}{word[at]}{word[at + 2 :]}"
    return word + word[-1]


@pytest.mark.parametrize("name", NAMES)
def test_an_option_whose_name_is_mistyped(name: str, mistype: Try) -> None:
    for parameter in command_of(name).params:
        for flag in parameter.opts:
            if flag.startswith("--"):
                wrong = mistyped(flag)
                mistype(f"{name} {wrong}", Typo("", USAGE, f"'{wrong}'", f"'{flag}'"))
    mistype(f"{name} -9", Typo("", USAGE, "'-9'", "--help'"))


@pytest.mark.parametrize("name", NAMES)
def test_a_place_that_is_mistyped(name: str, mistype: Try) -> None:
    needed = NEEDED.get(name, "")
    options = {option.name for option in command_of(name).params}
    for option, typo in GLOBAL.items():
        if option not in options or (needed is None and option != "color"):
            continue
        words = f"{name} {needed or ''}"
        creates = name == "artifacts import" and option == "workspace"
        meant = "--create makes it" if creates else typo.meant
        for line in (f"{typo.words} {words}", f"{words} {typo.words}"):
            mistype(line, dataclasses.replace(typo, meant=meant))


@pytest.mark.parametrize("name", NAMES)
def test_a_command_whose_name_is_mistyped(name: str, mistype: Try) -> None:
    group, _, own = name.rpartition(" ")
    wrong = own[:-2] + own[-1] + own[-2] if own[-1] != own[-2] else own[:-1]
    mistype(f"{group} {wrong}", Typo("", USAGE, f"'{wrong}'", f"'{own}'"))


@pytest.mark.parametrize("name", NAMES)
def test_a_word_too_many(name: str, mistype: Try) -> None:
    arguments = [p for p in command_of(name).params if isinstance(p, click.Argument)]
    if any(argument.nargs < 0 for argument in arguments):
        return
    words = " ".join("bash" for _ in arguments)
    mistype(f"{name} {words} superfluous", Typo("", USAGE, "superfluous", f"{name} --help'"))

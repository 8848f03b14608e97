"""Commands that read standard input, with somebody at a real terminal: Ctrl-D ends, Ctrl-C stops.

What is typed and interrupted has changed nothing: not a ref, not a file of the store.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from n4a_store.repo.fsck import fsck
from n4a_store.repo.store import Store
from n4a_store.storage.leases import list_leases
from tests.cli.conftest import EXECUTABLE, Cli, SmallStore, Trained
from tests.cli.terminals import CTRL_C, CTRL_D, Terminal

HELLO = "hello\n"


@dataclass(frozen=True, slots=True)
class Case:
    """What is typed at a command, and what comes of it; names in braces stand for things.

    Args:
        words: The command.
        typed: Whole lines, before Ctrl-D.
        said: What it answers.
        code: Its exit code.
        changed: Whether it changes the store.
    """

    words: str
    typed: str
    said: str
    code: int = 0
    changed: bool = False


CASES = {
    "hash-object": Case("hash-object --stdin", HELLO, "{greeting}"),
    "hash-object -w": Case("hash-object -w --stdin", "new\n", "\n", changed=True),
    "hash-object --stdin-paths": Case("hash-object --stdin-paths", "{file}\n", "{greeting}"),
    "hash-object -w -z": Case(
        "hash-object -w --stdin-paths -z", "{file}\0\n", "no such file", code=1
    ),
    "cat-file --batch": Case("cat-file --batch", "{greeting}\n", "{greeting} blob 6\nhello"),
    "cat-file --batch-check": Case(
        "cat-file --batch-check", "production\nnowhere\n", "nowhere missing"
    ),
    "cat-file -z": Case("cat-file --batch-check -z", "production\0\n", "{pipeline} tree"),
    "mktree": Case("mktree", "blob {greeting}\tagain\n", "\n", changed=True),
    "mktree, bad": Case("mktree", "blob nowhere\n", "error: line 1 is not an entry", code=2),
    "pack-objects": Case("pack-objects {target}", "{greeting}\n", "packed 1 objects"),
    "rev-parse": Case("rev-parse --stdin", "production\n", "{pipeline}"),
    "rev-parse -z": Case("rev-parse --stdin -z", "production\0", "{pipeline}"),
    "update-ref": Case(
        "update-ref --stdin", "create refs/tags/typed {greeting}\n", "", changed=True
    ),
    "update-ref -z": Case(
        "update-ref --stdin -z", "create refs/tags/typed\0{greeting}\0", "", changed=True
    ),
    "update-ref, bad": Case("update-ref --stdin", "craete refs/tags/a b\n", "'craete'", code=2),
    "unpack-objects": Case("unpack-objects", "no pack\n", "error: ", code=4),
}


@pytest.fixture
def things(own: SmallStore, tmp_path: Path) -> dict[str, str]:
    file = tmp_path / "file"
    file.write_text(HELLO)
    ids = {name: getattr(own, name) for name in ("greeting", "pipeline")}
    return ids | {"file": str(file), "target": str(tmp_path / "out.n4p")}


def state(path: Path) -> tuple[dict[str, str], int, list[str]]:
    """Refs, objects and files of a store, which must be whole."""
    with Store.open(path) as store:
        assert fsck(store, full=True).problems == ()
        refs = {ref.name: ref.oid.hex for ref in store.refs()}
        objects = sum(1 for _ in store.objects())
    # The file of a lease may be left where its process was stopped: what counts is its lock.
    assert not any(lease.alive for lease in list_leases(path / "leases"))
    files = sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())
    return refs, objects, [name for name in files if not name.startswith(("catalog", "leases"))]


def called(words: str, own: SmallStore, things: dict[str, str]) -> list[str | Path]:
    command, *rest = words.format(**things).split()
    return [EXECUTABLE, command, "--store", own.path, *rest]


@pytest.mark.parametrize("name", CASES)
def test_typed_input_ends_with_one_ctrl_d(
    name: str, own: SmallStore, things: dict[str, str]
) -> None:
    case = CASES[name]
    before = state(own.path)
    with Terminal(called(case.words, own, things)) as terminal:
        terminal.type(case.typed.format(**things).encode())
        if not case.typed.endswith("\n"):
            terminal.type(CTRL_D)  # hands on what stands in the line, as terminals do
        terminal.type(CTRL_D)
        assert terminal.end() == case.code, terminal.said
    assert b"Traceback" not in terminal.said
    assert case.said.format(**things) in "\n".join([*terminal.plain, ""])
    assert (state(own.path) != before) == case.changed


# Bad input is answered before anybody could stop it.
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.code])
def test_ctrl_c_leaves_nothing_half_done(
    name: str, own: SmallStore, things: dict[str, str]
) -> None:
    case = CASES[name]
    before = state(own.path)
    with Terminal(called(case.words, own, things)) as terminal:
        typed = case.typed.format(**things)
        terminal.type(typed.encode() + (b"" if typed.endswith("\n") else CTRL_D))
        terminal.type(CTRL_C)
        assert terminal.end() == 130, terminal.said
    assert terminal.plain[-1] == "error: interrupted"
    assert b"Traceback" not in terminal.said
    assert state(own.path) == before
    assert not Path(things["target"]).exists()


@pytest.mark.parametrize(
    ("keys", "code", "said", "left"),
    [
        (b"y\n", 0, "removed", 0),
        (b"n\n", 2, "the answer was not yes: nothing was removed", 4),
        (CTRL_D, 2, "the answer was not yes: nothing was removed", 4),
        (CTRL_C, 130, "error: interrupted", 4),
    ],
)
def test_purge_asks(keys: bytes, code: int, said: str, left: int, trained_own: Trained) -> None:
    argv: list[str | Path] = [
        EXECUTABLE,
        "-w",
        trained_own.path,
        "artifacts",
        "purge",
        "-d",
        "corn",
        "--force",
    ]
    with Terminal(argv) as terminal:
        terminal.hear(b"[y/N]")
        terminal.type(keys)
        assert terminal.end() == code, terminal.said
    assert any(said in line for line in terminal.plain)
    with Store.open(trained_own.path / "binaries" / "corn") as store:
        assert (len(store.refs()) > 0) == bool(left)


def test_a_script_that_asks_one_name_at_a_time_is_answered(
    own: SmallStore, things: dict[str, str]
) -> None:
    """With -z as well: what has arrived is answered without waiting for more."""
    process = subprocess.Popen(
        [EXECUTABLE, "--store", own.path, "cat-file", "--batch-check", "-z"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for name in ("production", "nowhere"):
        process.stdin.write(name.encode() + b"\0")
        process.stdin.flush()
        assert process.stdout.readline()
    process.stdin.close()
    process.stdout.close()
    assert process.wait(60) == 0


def test_a_pack_that_was_not_finished_is_not_left(
    cli: Cli, own: SmallStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    target = tmp_path / "half.n4p"
    monkeypatch.setattr("n4a_store.packs.writer.PackWriter.seal", interrupted)
    result = cli("pack-objects", target, "--store", own.path, stdin=own.greeting + "\n")
    assert result.code == 130
    assert not target.exists()
    monkeypatch.undo()
    target.write_bytes(b"mine")
    again = cli("pack-objects", target, "--store", own.path, stdin=own.greeting + "\n")
    again.failed(2, "exists already", "hint: choose another name")
    assert target.read_bytes() == b"mine"

"""artifacts rm, undo, gc, list-orphaned, cleanup and purge; prune and repack."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import subprocess
from pathlib import Path

import pytest

from n4a_store.artifacts.workspace import Workspace
from n4a_store.errors import BackendError
from n4a_store.repo.store import Store
from tests.cli.conftest import EXECUTABLE, Cli, SmallStore, Trained


def manifests(trained: Trained, dataset: str = "corn") -> list[str]:
    top = trained.path / "runs" / dataset
    return sorted(str(path.relative_to(top)) for path in top.rglob("*") if not path.is_dir())


@pytest.fixture
def corn(trained_own: Trained) -> tuple[str | Path, ...]:
    return ("-w", trained_own.path, "-d", "corn", "artifacts")


def refs(cli: Cli, corn: tuple[str]) -> str:
    return cli(*corn[:-1], "show-ref").ok().out


def test_rm_previews_then_removes_then_undo_brings_back(
    executable: Cli, cli: Cli, corn: tuple[str], trained_own: Trained
) -> None:
    before = refs(cli, corn)
    names = ("0002_stack", trained_own.runs[0])
    preview = executable(*corn, "rm", *names).ok()
    assert "would remove  refs/pipelines/0002_stack" in preview.lines
    assert f"would change  refs/runs/{trained_own.runs[1]}" in preview.lines
    assert "Nothing was changed" in preview.err
    assert refs(cli, corn) == before
    executable(*corn, "rm", *names, "--force").ok()
    shown = cli(*corn, "log", "--json").ok().json["runs"]
    assert [(run["run"], run["pipelines"]) for run in shown] == [
        (trained_own.runs[2], 1), (trained_own.runs[1], 1),
    ]  # fmt: skip
    assert shown[1]["missing_parents"] == []  # the reflog still keeps the run before
    # The models of the other pipeline are whole, and so is the store.
    cli(*corn, "verify").ok()
    cli(*corn[:-1], "fsck", "--full").ok()
    preview = cli(*corn, "undo", "-n").ok()
    assert "refs/pipelines/0002_stack  gone → " in preview.out
    cli(*corn, "undo").ok()
    assert refs(cli, corn) == before
    cli(*corn, "undo").ok()
    assert "0002_stack" not in refs(cli, corn)
    cli(*corn, "rm", "0001_plz").failed(13, "did you mean '0001_pls'?")
    cli(*corn, "rm").failed(2, "missing argument")


def test_readable_manifests_go_with_what_they_show(
    executable: Cli, cli: Cli, corn: tuple[str], trained_own: Trained
) -> None:
    before, top = manifests(trained_own), trained_own.path / "runs" / "corn"
    assert len(before) == 6
    (top / "notes.txt").write_text("mine")
    (top / trained_own.runs[1] / "0001_pls" / "plot.png").write_text("mine")
    preview = cli(*corn, "rm", "0002_stack", trained_own.runs[0]).ok()
    assert "would remove  4 readable manifests under runs/corn" in preview.lines
    assert len(manifests(trained_own)) == 8
    cli(*corn, "rm", "0002_stack", trained_own.runs[0], "-f").ok()
    kept = [f"{run}/0001_pls/manifest.yaml" for run in trained_own.runs[1:]]
    mine = ["notes.txt", f"{trained_own.runs[1]}/0001_pls/plot.png"]
    assert manifests(trained_own) == sorted(kept + mine)
    assert not (top / trained_own.runs[0]).exists()
    said = cli(*corn, "purge", "--json").ok().json["manifests"]
    assert sorted(said) == [str(top / path) for path in sorted(kept)]
    done = executable(*corn, "purge", "-f", "-y").ok()
    assert "removed  2 readable manifests under runs/corn" in done.lines
    assert manifests(trained_own) == sorted(mine)
    assert len(manifests(trained_own, "fermentation")) == 2
    # The store is the truth: what undo brings back can be printed again.
    cli(*corn, "undo").ok()
    assert "items:" in cli(*corn, "manifest", "0001_pls").ok().out


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_nothing_is_removed_through_a_link(
    cli: Cli, corn: tuple[str], trained_own: Trained, tmp_path: Path, level: int
) -> None:
    run = trained_own.path / "runs" / "corn" / trained_own.runs[0]
    place = [run.parents[1], run.parent, run, run / "0001_pls"][level]
    elsewhere = tmp_path / "elsewhere"
    place.rename(elsewhere)
    place.symlink_to(elsewhere)
    there = sorted(path.name for path in elsewhere.rglob("manifest.yaml"))
    cli(*corn, "purge", "-f", "-y").ok()
    assert refs(cli, corn) == ""
    assert sorted(path.name for path in elsewhere.rglob("manifest.yaml")) == there
    assert place.is_symlink()


def test_a_folder_of_manifests_that_cannot_be_read_stops_a_purge(
    cli: Cli, corn: tuple[str], trained_own: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = refs(cli, corn)

    def refuse(folder: Path) -> list[str]:
        raise BackendError(f"list {folder}: permission denied")

    # By the seam: for root, who runs some test machines, every folder can be read.
    monkeypatch.setattr("n4a_store.artifacts.manifest_files.list_folder", refuse)
    cli(*corn, "purge", "-f", "-y").failed(1, "permission denied")
    cli(*corn, "rm", "0002_stack", "-f").failed(1, "permission denied")
    assert refs(cli, corn) == before
    monkeypatch.undo()
    monkeypatch.setattr("n4a_store.artifacts.manifest_files.remove_file", refuse)
    partly = cli(*corn, "purge", "-f", "-y")
    assert partly.code == 3
    assert "warning: a readable manifest is still there" in partly.err


def test_undo_by_operation_by_ref_and_its_list(cli: Cli, corn: tuple[str]) -> None:
    cli(*corn, "tag", "a", "0001_pls").ok()
    cli(*corn, "tag", "b", "0001_pls").ok()
    listed = cli(*corn, "undo", "--list").ok().lines
    assert listed[1].split()[4] == "refs/tags/b"
    assert cli(*corn, "undo", "a", "--json").ok().json["refs"][0]["ref"] == "refs/tags/a"
    assert "refs/tags/b" in refs(cli, corn)
    operation = int(listed[1].split()[0])
    cli(*corn, "undo", "--op", str(operation)).ok()
    assert "refs/tags/b" not in refs(cli, corn)
    cli(*corn, "undo", "--op", "9999").failed(13, "operation 9999")
    cli(*corn, "undo", "nowhere").failed(13, "is or was called")
    assert cli(*corn, "undo", "--list", "--json").ok().json["moves"]


def test_the_list_of_what_can_be_undone_is_a_line_an_operation(
    cli: Cli, corn: tuple[str], trained_own: Trained
) -> None:
    with Workspace(trained_own.path).store("corn") as store:
        for number in range(30):
            with store.transaction(f"change {number}") as txn:
                blob = txn.put_blob(b"%d" % number)
                for name in ("first", "second", "third"):
                    txn.set_ref(f"refs/tags/{name}", blob)
    listed = cli(*corn, "undo", "--list").ok()
    assert len(listed.lines) == 21
    assert "refs/tags/first and 2 more" in listed.lines[1]
    assert listed.lines[1].endswith("change 29")
    moves = cli(*corn, "undo", "--list", "--json").ok().json["moves"]
    older = len({move["op"] for move in moves}) - 20
    assert listed.err == f"… {older} older: --verbose\n"
    assert len(cli(*corn, "undo", "--list", "-v").ok().lines) == 21 + older
    # A run that was trained is one line for each pipeline, and one for its end.
    run = cli(*corn[:-1], "reflog", f"refs/runs/{trained_own.runs[0]}").ok().lines
    assert len(run) == 3
    assert len(cli(*corn[:-1], "reflog", "-n", "1", f"refs/runs/{trained_own.runs[0]}").lines) == 1


def test_gc_previews_names_and_drops(executable: Cli, cli: Cli, corn: tuple[str]) -> None:
    cli(*corn, "gc", "-f").ok()
    cli(*corn, "rm", "0002_stack", "-f").ok()
    preview = executable(*corn, "gc").ok()
    assert "would drop        0 objects  0 B" in preview.lines
    assert "undo can still bring them back (until " in preview.out
    assert "meta_model Ridge" in preview.out
    assert "Nothing was changed. Run again with --force." in preview.err
    orphans = cli(*corn, "list-orphaned").ok()
    assert len(orphans.lines) == 3
    assert "0002_stack:0:all in refs/" in orphans.out
    (listed,) = cli(*corn, "list-orphaned", "--json").ok().json["datasets"]
    assert [orphan["undoable"] for orphan in listed["orphans"]["artifacts"]] == [True, True]
    assert cli(*corn, "cleanup").ok().out.startswith("would delete 0 artifacts")
    kept = cli(*corn[:-1], "count-objects").out
    cli(*corn, "gc").ok()
    assert cli(*corn[:-1], "count-objects").out == kept
    done = executable(*corn, "gc", "--now", "--force").ok()
    assert any(line.startswith("dropped") and "freed" in line for line in done.lines)
    assert cli(*corn, "list-orphaned").ok().err == "no orphaned artifacts\n"
    cli(*corn, "verify").ok()
    cli(*corn, "undo").failed(13, "undo reaches back")


def test_gc_of_all_datasets_and_as_json(cli: Cli, trained_own: Trained) -> None:
    at = ("-w", trained_own.path)
    cli(*at, "-d", "corn", "hash-object", "-w", "--stdin", stdin=b"kept by nobody").ok()
    said = cli(*at, "artifacts", "gc", "--json").ok().json
    assert [row["dataset"] for row in said["datasets"]] == ["corn", "fermentation"]
    assert said["dry_run"] is True
    assert [row["report"]["unreachable"]["objects"] for row in said["datasets"]] == [1, 0]


def test_cleanup_names_what_goes(executable: Cli, cli: Cli, corn: tuple[str]) -> None:
    cli(*corn, "rm", "0002_stack", "-f").ok()
    preview = cli(*corn, "cleanup", "--now").ok()
    assert preview.out.count("meta_model Ridge") == 2
    assert "would delete 2 artifacts" in preview.out
    assert (
        executable(*corn, "cleanup", "--now", "-f").ok().lines[-1].startswith("deleted 2 artifacts")
    )
    assert cli(*corn, "cleanup", "--json").ok().json["artifacts"] == []


def test_purge_is_careful(
    executable: Cli, cli: Cli, corn: tuple[str], trained_own: Trained
) -> None:
    before = refs(cli, corn)
    cli("-w", trained_own.path, "artifacts", "purge", "-f", "-y").failed(2, "by name")
    executable(*corn, "purge", "-f").failed(2, "not a terminal", "-y")
    assert "would remove" in executable(*corn, "purge").ok().out
    assert refs(cli, corn) == before
    executable(*corn, "purge", "-f", "-y").ok()
    assert refs(cli, corn) == ""
    other = ("-w", trained_own.path, "-d", "fermentation", "artifacts", "verify")
    assert cli(*other).ok().out.startswith("fermentation: ok")
    cli(*corn, "undo").ok()
    assert refs(cli, corn) == before
    gone = cli(*corn, "purge", "-f", "-y", "--now", "--json").ok().json
    assert gone["gc"]["bytes_freed"] > 0
    assert cli(*corn[:-1], "count-objects").out == "0 objects in 0 packs, 0 bytes\n"


def test_a_second_purge_says_that_nothing_is_left(cli: Cli, corn: tuple[str]) -> None:
    cli(*corn, "purge", "-f", "-y").ok()
    again = cli(*corn, "purge", "-f", "-y").ok()
    assert again.out == ""
    assert again.err == "nothing to remove: corn holds no run, pipeline or tag\n"


@pytest.mark.parametrize("by", ["dataset", "store"])
def test_the_undo_that_rm_advises_works_from_anywhere(
    cli: Cli, trained_own: Trained, tmp_path: Path, by: str
) -> None:
    place: tuple[str | Path, ...] = ("-w", trained_own.path, "-d", "corn")
    if by == "store":
        place = ("--store", trained_own.path / "binaries" / "corn")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    before = cli(*place, "show-ref").ok().out
    said = cli(*place, "artifacts", "rm", "0001_pls", "-f", cwd=elsewhere).ok().err
    advised = shlex.split(said.split("take it back with: n4a-store ")[1])
    assert cli(*place, "show-ref").ok().out != before
    cli(*advised, cwd=elsewhere).ok()
    assert cli(*place, "show-ref").ok().out == before


def test_after_gc_now_a_ref_has_no_moves_and_is_still_known(cli: Cli, corn: tuple[str]) -> None:
    cli(*corn, "gc", "--now", "-f").ok()
    assert cli(*corn[:-1], "reflog", "0001_pls").ok().out == ""
    cli(*corn, "undo", "0001_pls").failed(13, "undo reaches back")


def test_a_name_that_was_removed_says_how_to_get_it_back(cli: Cli, corn: tuple[str]) -> None:
    cli(*corn, "tag", "paper", "0002_stack").ok()
    cli(*corn, "tag", "--delete", "paper").ok()
    cli(*corn, "rm", "0002_stack", "--force").ok()
    for words in (["show", "0002_stack"], ["rm", "0002_stack"], ["show", "0002_stack:0:all"]):
        error = cli(*corn, *words).failed(13, "hint: it was removed: ").err
    shown = cli(*corn, "tag", "paper").failed(13, "hint: it was removed: ").err
    assert shown != error  # each by its own operation
    (operation,) = re.findall(r"undo --op (\d+)' brings it back", error)
    cli(*corn, "undo", "--op", operation).ok()
    cli(*corn, "show", "0002_stack").ok()
    # What nobody can bring back is not promised.
    cli(*corn, "rm", "0002_stack", "--force").ok()
    cli(*corn, "gc", "--now", "--force").ok()
    assert "brings it back" not in cli(*corn, "show", "0002_stack").failed(13).err


@pytest.mark.parametrize(
    "words",
    ["find", "gc --now", "cleanup --now", "list-orphaned", "undo --list", "du", "show 0001_pls"],
)
def test_long_names_fit_the_terminal_and_keep_their_ends(
    words: str, trained_own: Trained, corn: tuple[str], cli: Cli
) -> None:
    long = "0009_" + "a-pipeline-with-quite-a-name_" * 2 + "8496f1"
    with Workspace(trained_own.path).store("corn") as store, store.transaction("long") as txn:
        txn.set_ref(f"refs/pipelines/{long}", store.resolve("0001_pls"))
    if "now" in words or "orphaned" in words:
        for name in ("0001_pls", "0002_stack", long, *trained_own.runs):
            cli(*corn, "rm", name, "--force").ok()
    columns = 64 if words == "find" else 80  # its own names are short ones
    said, code = on_terminal([*corn, *words.split()], columns=columns)
    assert code == 0, said
    plain = re.sub(r"\x1b\[[0-9;]*[mK]", "", said).replace("\r\n", "\n")
    assert [line for line in plain.splitlines() if len(line) > columns] == []
    if words in ("find", "list-orphaned", "gc --now"):
        assert re.search(r"_…\S*1:0 |_\S*…\S*_8496f1", plain), plain


def test_purge_asks_on_a_terminal(corn: tuple[str], cli: Cli) -> None:
    said, code = on_terminal([*corn, "purge", "-f"], answer=b"n\n")
    assert "Remove everything of dataset 'corn'? [y/N]:" in said
    assert code == 2
    assert "refs/pipelines/0001_pls" in refs(cli, corn)


def on_terminal(argv: list[str | Path], answer: bytes = b"", columns: int = 80) -> tuple[str, int]:
    """What the executable shows on a terminal of so many columns, and its exit code."""
    master, slave = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")}
    os.set_inheritable(slave, True)
    import fcntl
    import struct
    import termios

    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [EXECUTABLE, *map(str, argv)], stdin=slave, stdout=slave, stderr=slave,
        env=env | {"TERM": "xterm"},
    )  # fmt: skip
    os.close(slave)
    os.write(master, answer)
    said = b""
    while select.select([master], [], [], 60)[0]:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        if not piece:
            break
        said += piece
    os.close(master)
    return said.decode(), process.wait(60)


def test_on_a_terminal_it_is_coloured_and_fits(trained_own: Trained) -> None:
    for command in ("log", "stats", "find", "gc"):
        said, code = on_terminal(["-w", trained_own.path, "artifacts", *command.split()])
        assert code == 0, said
        plain = said.replace("\x1b[0m", "")
        for style in ("1", "2", "31", "32", "33", "36"):
            plain = plain.replace(f"\x1b[{style}m", "")
        assert "\x1b" not in plain
        assert max(map(len, plain.splitlines())) <= 80, (command, plain)


def test_prune_and_repack(executable: Cli, cli: Cli, corn: tuple[str]) -> None:
    at = corn[:-1]
    cli(*at, "hash-object", "-w", "--stdin", stdin=b"kept by nobody").ok()
    undone = dict(line.split(": ") for line in cli(*at, "prune", "--now", "-n").ok().lines)
    dry = dict(line.split(": ") for line in cli(*at, "prune", "-n").ok().lines)
    assert int(undone["unreachable"]) > int(dry["unreachable"]) == 1
    assert dry["size-freed"] == "0"
    done = dict(line.split(": ") for line in executable(*at, "prune", "--now").ok().lines)
    assert done["unreachable"] == undone["unreachable"]
    assert int(done["size-freed"]) > 0
    assert cli(*at, "prune", "--json").ok().json["report"]["unreachable"]["objects"] == 0
    packed = dict(line.split(": ") for line in executable(*at, "repack", "-a").ok().lines)
    assert packed["packs-after"] == "1"
    assert cli(*at, "repack", "--json").ok().json["report"]["packs_after"] == 1
    cli(*at, "repack", "--compact").ok()
    cli(*at, "repack", "--compact", "--hot", "0002_stack", "--hot", "0001_pls").ok()
    cli(*at, "repack", "--compact", "--hot", "0002_stak").failed(13, "0002_stack")
    cli(*at, "repack", "-a", "--hot", "0002_stack").failed(2, "--compact")
    cli(*at, "fsck", "--full").ok()


@pytest.mark.parametrize("command", ["gc", "cleanup", "purge", "rm 0002_stack"])
def test_a_dry_run_is_the_preview_that_it_is_anyway(
    command: str, cli: Cli, corn: tuple[str]
) -> None:
    before = refs(cli, corn)
    preview = cli(*corn, *command.split()).ok()
    assert cli(*corn, *command.split(), "-n").ok() == preview
    assert cli(*corn, *command.split(), "--dry-run").ok() == preview
    both = cli(*corn, *command.split(), "-n", "--force")
    both.failed(2, "--dry-run and --force contradict each other", "hint: ")
    assert refs(cli, corn) == before


def test_what_cannot_be_removed_is_called_what_it_is(cli: Cli, trained: Trained) -> None:
    corn = ("-w", trained.path, "-d", "corn")
    oid = cli(*corn, "rev-parse", "0001_pls:1:0").ok().out.strip()
    at = f"n4a-store -w {trained.path} -d corn artifacts"
    rm = (*corn, "artifacts", "rm")
    cli(*rm, "0001_pls:1:0", "--force").failed(2, "a part of '0001_pls'", f"'{at} rm 0001_pls'")
    cli(*rm, oid).failed(2, f"'{oid}' is no run, pipeline or tag, but a tree", f"'{at} why {oid}'")
    cli(*rm, "0001_pls:1:77").failed(13, "hint: ")


def test_what_a_lease_keeps_is_no_negative_number(cli: Cli, own: SmallStore) -> None:
    at = ("--store", own.path)
    with Store.open(own.path) as store, store.transaction() as txn:
        sparse = txn.put_blob(os.urandom(100_000))
        txn.put_blob(os.urandom(100_000))
        txn.set_ref("refs/tags/sparse", sparse)
    with Store.open(own.path) as store, store.transaction():
        told = cli(*at, "artifacts", "gc", "--force").ok()
        assert "; 0 B freed" in told.out
        assert re.search(r"rewrote 1 pack without garbage, as 9\d\.\d KiB", told.err)
        assert re.search(r"19\d\.\d KiB in 1 pack wait; .*\n  writer of process \d+", told.err)
        rows = dict(line.split(": ") for line in cli(*at, "prune").ok().lines)
        assert int(rows["size-pending"]) > 200_000
    assert re.search(r"; 19\d\.\d KiB freed", cli(*at, "artifacts", "gc", "--force").ok().out)


def test_reclaiming_an_empty_store(cli: Cli, empty: Path) -> None:
    at = ("--store", empty)
    assert "0 objects" in cli(*at, "artifacts", "gc").ok().out
    assert cli(*at, "artifacts", "list-orphaned").ok().out == ""
    assert "0 artifacts" in cli(*at, "artifacts", "cleanup").ok().out
    cli(*at, "artifacts", "rm", "x").failed(13, "called 'x'")
    cli(*at, "artifacts", "undo").failed(13, "no change")

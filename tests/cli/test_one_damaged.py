"""One damaged dataset hides no other: the others are answered for, and the exit code tells."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from n4a_store import ArtifactRegistry, Durability, Settings, Workspace
from n4a_store.artifacts.tags import set_tag
from n4a_store.storage.layout import StoreLayout
from tests.cli.conftest import EXECUTABLE, Cli, Trained
from tests.cli.test_manners import complete

OVER_ALL = ("stats", "log", "gc", "list-orphaned", "tag", "find", "show", "verify")


def lose_the_catalog(trained: Trained) -> Path:
    """`corn` without its catalog; the other dataset is as it was."""
    for path in StoreLayout(trained.path / "binaries" / "corn").catalog.parent.glob("catalog.db*"):
        path.unlink()
    return trained.path


def damage_the_objects(trained: Trained) -> Path:
    """`corn` with every pack's bytes turned, its catalog whole."""
    layout = StoreLayout(trained.path / "binaries" / "corn")
    for pack in layout.packs.iterdir():
        data = pack.read_bytes()
        pack.write_bytes(data[:64] + bytes(byte ^ 0xFF for byte in data[64:]))
    return trained.path


@pytest.mark.parametrize("command", OVER_ALL)
@pytest.mark.parametrize("damage", [lose_the_catalog, damage_the_objects])
def test_the_others_are_answered_for(
    command: str, damage: object, cli: Cli, trained_own: Trained
) -> None:
    assert callable(damage)
    at = ("-w", damage(trained_own))
    if command == "tag":
        cli(*at, "-d", "fermentation", "artifacts", "tag", "best", "0001_pls").ok()
    code = 4 if command == "verify" else 3
    told = cli(*at, "artifacts", command)
    if command == "tag" and damage is damage_the_objects:
        assert told.code == 0, told.err  # tags are read from the catalog
        return
    if command == "verify" and damage is damage_the_objects:
        assert told.code == 4
        assert "fermentation: ok" in told.out
        return
    told.failed(code, "error: dataset 'corn': ", "hint: ")
    held = told.out or told.err  # that there is nothing is no data
    assert any(word in held for word in ("fermentation", trained_own.other, "other datasets"))
    asked = cli(*at, "--json", "artifacts", command)
    assert asked.code == code
    assert [error["dataset"] for error in asked.json["errors"]] == ["corn"]
    assert asked.json["errors"][0]["message"]
    assert trained_own.other in asked.out or '"dataset": "fermentation"' in asked.out


def test_fsck_goes_on_and_finds(executable: Cli, trained_own: Trained) -> None:
    at = ("-w", lose_the_catalog(trained_own))
    told = executable(*at, "fsck").failed(4, "catalog.db is missing", "hint: ")
    assert told.out == "fermentation: ok\n"
    asked = executable(*at, "fsck", "--json")
    assert asked.code == 4
    assert [row["dataset"] for row in asked.json["datasets"]] == ["fermentation"]
    assert asked.json["errors"][0]["dataset"] == "corn"


def test_gc_collects_the_others(executable: Cli, trained_own: Trained) -> None:
    at = ("-w", lose_the_catalog(trained_own), "artifacts")
    executable(*at, "rm", "0002_stack", "-d", "fermentation", "--force").ok()
    told = executable(*at, "gc", "--force", "--now").failed(3, "dataset 'corn'")
    assert "fermentation" in told.out
    assert executable(*at, "gc", "--now", "-d", "fermentation").ok().out.count(" 0 objects") == 2


def test_what_only_the_damaged_one_could_hold_is_no_success(cli: Cli, trained_own: Trained) -> None:
    at = ("-w", lose_the_catalog(trained_own), "artifacts")
    cli(*at, "show", trained_own.runs[0]).failed(13, "dataset 'corn'", trained_own.runs[0])
    cli(*at, "show", "-d", "corn").failed(4, "catalog.db is missing")
    cli(*at, "manifest", "0001_pls").failed(3, "dataset 'corn'")  # fermentation's
    cli(*at, "find", "--run", "20200101_000000").failed(3, "dataset 'corn'")


def test_all_damaged_is_what_they_are(cli: Cli, trained_own: Trained) -> None:
    path = lose_the_catalog(trained_own)
    for file in (path / "binaries" / "fermentation").glob("catalog.db*"):
        file.unlink()
    result = cli("-w", path, "artifacts", "stats").failed(4, "'corn'", "'fermentation'")
    assert result.out == ""
    cli("-w", path, "artifacts", "show", "0001_pls").failed(13, "'corn'", "'fermentation'")


def test_completion_says_nothing_of_it(trained_own: Trained) -> None:
    at = f"n4a-store -w {lose_the_catalog(trained_own)}"
    assert complete(f"{at} artifacts show 0002", 5) == ["0002_stack"]


def shut(trained: Trained) -> None:
    (trained.path / "binaries" / "corn").chmod(0)


def shut_packs(trained: Trained) -> None:
    StoreLayout(trained.path / "binaries" / "corn").packs.chmod(0)


def mistaken(trained: Trained) -> None:
    (trained.path / "binaries" / "corn" / "config").write_text("undo_window_days = -1\n")


@pytest.mark.parametrize("spoil", [shut, shut_packs, mistaken])
@pytest.mark.parametrize("command", ["artifacts gc --force", "artifacts log", "fsck"])
def test_a_dataset_that_cannot_be_opened_stops_no_other(
    command: str, spoil: Callable[[Trained], None], cli: Cli, trained_own: Trained
) -> None:
    spoil(trained_own)
    if os.geteuid() == 0:  # whom no permission keeps out
        for path in (trained_own.path, *trained_own.path.rglob("*")):
            os.chown(path, 65534, -1)
        for path in trained_own.path.parents:
            if path.name.startswith(("pytest-", "popen-", "test_")):
                path.chmod(path.stat().st_mode | 0o011)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        told = cli("-w", trained_own.path, *command.split())
    finally:
        os.seteuid(user)
        for path in (trained_own.path / "binaries" / "corn").glob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        (trained_own.path / "binaries" / "corn").chmod(0o755)
    if spoil is shut_packs and command == "artifacts log":
        assert told.code in (0, 3)  # what it needs may be known already
        return
    assert told.code == 3, (told.code, told.out, told.err)
    assert "dataset 'corn': " in told.err
    assert "fermentation" in told.out
    if spoil is mistaken:
        assert "corn/config: undo_window_days = -1" in told.err


def test_a_folder_that_is_gone_is_said_to_be(executable: Cli, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    before = os.getcwd()
    os.chdir(gone)
    try:
        gone.rmdir()
        executable("artifacts", "log").failed(
            2, "error: the folder that this was called in is gone"
        )
    finally:
        os.chdir(before)


def test_more_datasets_than_files_may_be_open(tmp_path: Path) -> None:
    """Where the process may have more of them open than it is given at first."""
    workspace = Workspace(tmp_path, settings=Settings(durability=Durability.NONE))
    names = [f"dataset{number:02d}" for number in range(60)]
    for name in names:
        with ArtifactRegistry(workspace, name) as registry:
            registry.register([name], "p:0:all", "model")
            set_tag(registry.store, "best", "p")
    script = 'ulimit -Sn 60 && exec "$@"'
    command = [EXECUTABLE, "-w", tmp_path, "artifacts", "tag"]
    said = subprocess.run(
        ["sh", "-c", script, "sh", *command], capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.count("best") == len(names)

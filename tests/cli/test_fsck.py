"""fsck: what it finds, and that the way on which it names leads out."""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, SmallStore

_COMMAND = re.compile(r"(?<=n4a-store )[^;,]*?(?= keeps| goes on| builds|;|,|$)")


def flip(store: Path, content: bytes) -> None:
    """Change the first byte of `content` in the pack that holds it."""
    for file in (store / "packs").iterdir():
        data = bytearray(file.read_bytes())
        if content in data:
            data[data.index(content)] ^= 1
            file.write_bytes(data)
            return
    raise AssertionError(f"no pack holds {content!r}")


def test_a_whole_store(executable: Cli, small: SmallStore) -> None:
    quick = executable("fsck", "--store", small.path).ok()
    assert quick.out == "store: ok\n"
    assert "contents were not read" in quick.err
    full = executable("fsck", "--full", "-q", "--store", small.path).ok()
    assert (full.out, full.err) == ("store: ok\n", "")


def test_damage_is_named_with_what_it_hurts(executable: Cli, own: SmallStore) -> None:
    flip(own.path, b"hello\n")
    assert executable("fsck", "--store", own.path).code == 0
    result = executable("fsck", "--full", "--store", own.path)
    assert result.code == 4
    assert f"error object-damaged {own.greeting}" in result.lines
    assert "  hurts refs/runs/20261122_a1b2c3:0001_pls/greeting" in result.lines
    assert result.lines[-1] == "own: 1 damaged or missing"
    (hint,) = [line for line in result.lines if line.startswith("  hint: ")]
    # The way on that it names is one that works.
    command = hint.removeprefix("  hint: n4a-store ").partition(" keeps ")[0].split()
    assert "index-pack" in command
    assert f"lost {own.greeting}" in executable("--store", own.path, *command).out
    assert "Traceback" not in result.err


def test_the_way_out_that_it_names_works_as_it_stands(
    cli: Cli, own: SmallStore, tmp_path: Path
) -> None:
    flip(own.path, b"hello\n")
    lines = cli("fsck", "--full", "--store", own.path, cwd=tmp_path).lines
    (hint,) = (line for line in lines if line.startswith("  hint: n4a-store "))
    advised = hint.removeprefix("  hint: n4a-store ").split(" keeps what")[0]
    salvaged = cli(*shlex.split(advised), cwd=tmp_path)
    assert salvaged.code == 4
    assert f"lost {own.greeting}" in salvaged.lines
    failed = cli("--store", own.path, "artifacts", "gc")
    failed.failed(4, f"hint: run: n4a-store --store {shlex.quote(str(own.path))} fsck --full")


def cut(own: SmallStore) -> None:
    for pack in (own.path / "packs").iterdir():
        pack.write_bytes(pack.read_bytes()[:-9])


def hit_index(own: SmallStore) -> None:
    for pack in (own.path / "packs").iterdir():
        data = bytearray(pack.read_bytes())
        data[-200] ^= 1
        pack.write_bytes(data)


def lose_one(own: SmallStore) -> None:
    pack_of(own, b"hello\n").unlink()


def lose_all(own: SmallStore) -> None:
    for pack in (own.path / "packs").iterdir():
        pack.unlink()


def pack_of(own: SmallStore, content: bytes) -> Path:
    return next(file for file in (own.path / "packs").iterdir() if content in file.read_bytes())


@pytest.mark.parametrize(
    "damage",
    [lambda own: flip(own.path, b"hello\n"), cut, hit_index, lose_one, lose_all],
    ids=["object", "cut", "index", "one pack", "all packs"],
)
def test_who_follows_the_hints_gets_out(
    cli: Cli, own: SmallStore, tmp_path: Path, damage: Callable[[SmallStore], None]
) -> None:
    """Whatever is damaged: do what the first hint says until nothing is left to be said."""
    damage(own)
    gone = []
    for _ in range(8):
        said = cli("fsck", "--full", "--store", own.path, cwd=tmp_path)
        if said.code == 0:
            break
        hints = [line for line in said.lines if line.startswith("  hint: ")]
        assert not any(" fsck" in hint for hint in hints), hints
        assert "docs/howto/backup.md" in hints[0]
        commands = [shlex.split(found) for found in _COMMAND.findall(hints[0])]
        assert commands, hints[0]
        for command in commands:
            gone.append(command)
            done = cli(*command, cwd=tmp_path)
            assert done.code == (4 if "lost" in done.out else 0), (command, done.out, done.err)
    assert said.code == 0, said.out
    assert len(gone) <= 6, gone
    cli("--store", own.path, "artifacts", "gc", "--now", "--force").ok()


def test_a_pack_is_put_back_from_a_backup_as_the_hint_says(
    cli: Cli, own: SmallStore, tmp_path: Path
) -> None:
    shutil.copytree(own.path, tmp_path / "backup")
    lose_one(own)
    (hint,) = [
        line
        for line in cli("fsck", "--store", own.path).lines
        if line.startswith("  hint: put packs/")
    ]
    name = hint.split()[2]
    shutil.copy(tmp_path / "backup" / name, own.path / name)
    cli("fsck", "--full", "--store", own.path).ok()


def test_only_what_is_hurt_is_advised_to_go(cli: Cli, own: SmallStore) -> None:
    """The pipeline takes itself out of its runs: these need not go, and the tag must."""
    flip(own.path, b"hello\n")
    damaged = next(
        line for line in cli("fsck", "--full", "--store", own.path).lines if "put" in line
    )
    pack = re.search(r"index-pack (\S+)", damaged)
    assert pack is not None
    cli("index-pack", pack[1], "--store", own.path)
    (hint,) = [line for line in cli("fsck", "--store", own.path).lines if "hint: " in line]
    assert "artifacts rm refs/pipelines/0001_pls refs/tags/production --force, then" in hint


def test_json(cli: Cli, own: SmallStore) -> None:
    assert cli("fsck", "--json", "--store", own.path).ok().json["datasets"][0]["ok"] is True
    flip(own.path, b"hello\n")
    result = cli("fsck", "--full", "--json", "--store", own.path)
    assert result.code == 4
    (problem,) = result.json["datasets"][0]["report"]["problems"]
    assert problem["code"] == "object-damaged"
    assert problem["subject"] == own.greeting
    assert "refs/tags/production:greeting" in problem["hurts"]


def test_a_lost_pack_and_a_stray_one(cli: Cli, own: SmallStore) -> None:
    packs = sorted((own.path / "packs").iterdir())
    stray = packs[0].with_name("0-stray-0.n4p")
    stray.write_bytes(packs[0].read_bytes())
    noted = cli("fsck", "--store", own.path).ok()
    assert "note unlisted-pack 0-stray-0.n4p" in noted.out
    for pack in packs:
        pack.unlink()
    lost = cli("fsck", "--store", own.path)
    assert lost.code == 4
    assert "error pack-missing" in lost.out


def test_a_damaged_catalog(cli: Cli, own: SmallStore) -> None:
    catalog = own.path / "catalog.db"
    catalog.write_bytes(b"SQLite format 3\0" + bytes(4080))
    cli("fsck", "--store", own.path).failed(4, "catalog", "hint: ")


def test_a_store_of_a_later_version(cli: Cli, own: SmallStore) -> None:
    from blake3 import blake3

    body = (own.path / "format").read_text().rsplit("checksum", 1)[0]
    body = body.replace("n4a_store 1", "n4a_store 2", 1)
    checksum = blake3(body.encode()).hexdigest()[:16]
    (own.path / "format").write_text(f"{body}checksum {checksum}\n")
    cli("fsck", "--store", own.path).failed(15, "hint: ")


def test_an_empty_store_and_none(cli: Cli, empty: Path, tmp_path: Path) -> None:
    assert cli("fsck", "--full", "-q", "--store", empty).ok().out == "store: ok\n"
    cli("fsck", "--store", tmp_path).failed(10)
    cli("fsck", "-w", tmp_path / "nowhere").failed(10, "no workspace")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_catalog_is_a_finding_in_json_too(cli: Cli, own: SmallStore) -> None:
    (own.path / "catalog.db").write_bytes(b"no database at all")
    at = ("--store", own.path, "fsck")
    told = cli(*at).failed(4, "catalog.db is damaged", "hint: put it back from a backup")
    assert "n4a-store fsck" not in told.err  # it has just been asked
    assert told.out == ""
    asked = cli(*at, "--json")
    assert asked.code == 4
    assert asked.json["datasets"] == []
    assert "catalog.db is damaged" in asked.json["errors"][0]["message"]

"""fsck."""

import shlex
from pathlib import Path

from tests.cli.conftest import Cli, SmallStore


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

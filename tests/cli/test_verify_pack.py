"""verify-pack."""

from pathlib import Path

from tests.cli.conftest import Cli, SmallStore


def test_whole_packs(executable: Cli, small: SmallStore) -> None:
    result = executable("--store", small.path, "verify-pack", "-v").ok()
    assert sum(line.endswith(".n4p: ok") for line in result.lines) == 2
    assert sum(line.startswith(small.greeting + " blob 6 6 ") for line in result.lines) == 1
    assert len(result.lines) == 6 + 2


def test_one_pack_by_file_and_by_id(cli: Cli, small: SmallStore) -> None:
    file = sorted((small.path / "packs").iterdir())[0]
    by_file = cli("verify-pack", file).ok()
    assert by_file.lines == [f"{file.name}: ok"]
    assert cli("verify-pack", file.stem, "--store", small.path).ok().out == by_file.out
    packs = cli("verify-pack", file, "--json").ok().json["packs"]
    assert packs[0]["damage"] == []
    assert packs[0]["objects"][0]["codec"] in ("raw", "zstd", "shuffle+zstd")


def test_a_flipped_byte_is_found_and_the_rest_still_listed(cli: Cli, own: SmallStore) -> None:
    file = next(f for f in (own.path / "packs").iterdir() if b"hello\n" in f.read_bytes())
    data = bytearray(file.read_bytes())
    data[data.index(b"hello\n")] ^= 1
    file.write_bytes(data)
    result = cli("verify-pack", "-v", "--store", own.path).failed(4, own.greeting[:12])
    assert f"{file.name}: damaged" in result.lines
    assert any(line.startswith(own.binary) for line in result.lines)
    assert not any(line.startswith(own.greeting) for line in result.lines)


def test_what_is_no_pack(cli: Cli, small: SmallStore, tmp_path: Path, empty: Path) -> None:
    file = tmp_path / "x.n4p"
    file.write_bytes(b"")
    cli("verify-pack", file).failed(4, "it is empty")
    file.write_bytes(b"junk" * 100)
    cli("verify-pack", file).failed(4, "x.n4p")
    cli("verify-pack", "nowhere", "--store", small.path).failed(13, "no pack is called 'nowhere'")
    assert cli("verify-pack", "--store", empty).ok().out == ""


def test_damage_has_a_way_out_and_json_says_it_all(cli: Cli, own: SmallStore) -> None:
    file = next(f for f in (own.path / "packs").iterdir() if b"hello\n" in f.read_bytes())
    file.write_bytes(file.read_bytes().replace(b"hello\n", b"hallo\n"))
    at = ("--store", own.path, "verify-pack")
    hint = f"hint: n4a-store --store {own.path} index-pack {file.stem} keeps what is whole"
    result = cli(*at).failed(4, hint)
    assert result.err.count("hint: ") == 1
    sent = own.path.parent / "sent.n4p"
    sent.write_bytes(file.read_bytes())
    cli("verify-pack", sent).failed(4, f"hint: put '{sent}' back from a backup")
    (own.path / "catalog.db").write_bytes(b"no database at all")
    asked = cli(*at, "--json").failed(4, "catalog.db is damaged", "hint: put it back")
    assert asked.json["packs"] == []
    assert "catalog.db is damaged" in asked.json["errors"][0]["message"]
    assert cli(*at, file).out == f"{file.name}: damaged\n"  # a file needs no catalog

"""init."""

from pathlib import Path

from tests.cli.conftest import Cli


def test_a_store_of_its_own(executable: Cli, cli: Cli, tmp_path: Path) -> None:
    made = executable("init", "store", cwd=tmp_path).ok()
    assert made.out == ""
    assert "created an empty store" in made.err
    assert cli("show-ref", "--store", tmp_path / "store").ok().out == ""
    # Inside of a store its own folder is the default.
    assert cli("show-ref", cwd=tmp_path / "store" / "packs").ok().out == ""
    assert cli("fsck", cwd=tmp_path / "store").ok().out == "store: ok\n"
    assert cli("artifacts", "gc", cwd=tmp_path / "store").ok().out.startswith("mark ")


def test_quiet_and_json(cli: Cli, tmp_path: Path) -> None:
    assert cli("init", tmp_path / "a", "-q").ok().err == ""
    assert cli("init", "--store", tmp_path / "b", "--json").ok().json["path"] == str(tmp_path / "b")


def test_refusals_leave_everything_as_it_was(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    cli("init", tmp_path / "full").failed(2, "not empty")
    cli("init", tmp_path / "store").ok()
    cli("init", tmp_path / "store").failed(2, "already")
    cli("init", cwd=tmp_path).failed(2, "say where")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "store"]


def test_a_dataset_makes_its_workspace(executable: Cli, cli: Cli, tmp_path: Path) -> None:
    at = ("-w", tmp_path / "new", "-d", "corn")
    executable(*at, "init").ok()
    assert cli(*at, "show-ref").ok().out == ""
    cli(*at, "init").failed(2, "already has the dataset 'corn'")

"""Did you mean."""

from pathlib import Path

from n4a_store.cli.suggest import closest, nearest
from tests.cli.conftest import Cli, Trained

REFS = ["refs/tags/production", "refs/pipelines/0001_pls", "refs/runs/20261123_a1b2c3"]


def test_the_last_component_is_enough() -> None:
    assert nearest("prodution", REFS) == ["refs/tags/production"]
    assert nearest("refs/tag/production", REFS)[0] == "refs/tags/production"
    assert nearest("0001_PLS", REFS) == ["refs/pipelines/0001_pls"]


def test_what_is_far_is_not_offered() -> None:
    assert closest("zzzzzz", REFS) is None


def test_swapped_letters_come_first() -> None:
    assert nearest("ud", ["undo", "du", "gc"])[0] == "du"
    assert nearest("cg", ["undo", "du", "gc"]) == ["gc"]
    assert nearest("du", ["undo", "du"])[0] == "du"


def test_several_are_listed() -> None:
    shown = closest("wheat", ["wheat1", "corn", "wheat2"])
    assert shown is not None
    assert sorted(shown.split(" or ")) == ["'wheat1'", "'wheat2'"]


def test_a_workspace_that_was_mistyped(cli: Cli, trained_own: Trained, tmp_path: Path) -> None:
    meant = trained_own.path.rename(tmp_path / "models")
    log = ("artifacts", "log")
    cli("-w", tmp_path / "modles", *log).failed(10, f"did you mean '{meant}'?")
    cli("-w", tmp_path, *log).failed(10, f"did you mean '{meant}'?")  # a level too high
    cli("-w", tmp_path / "else" / "other", *log).failed(10, "'n4a-store demo' makes one")

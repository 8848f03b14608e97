"""Where there are many names: what the shell is offered, and what each of them costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from n4a_store import ArtifactRegistry, Durability, Settings, Workspace
from n4a_store.cli import complete
from n4a_store.cli.porcelain import du
from tests.cli.conftest import Cli


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Two runs that hold some pipelines alike, some replaced, and a tag on one."""
    workspace = Workspace(tmp_path, settings=Settings(durability=Durability.NONE))
    with ArtifactRegistry(workspace, "corn") as registry:
        for run in range(2):
            with registry.run():
                for number in range(6):
                    held = number if number % 2 else (number, run)
                    registry.register([held] * 500, f"{number}_p:0:all", "model")
                    registry.register(list(range(900)), f"{number}_p:1:all", "transformer")
    return tmp_path


def test_what_each_of_many_would_free_is_what_it_frees_alone(
    many: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked one by one, each took a walk over the whole store."""
    store = ("-w", many, "--json", "artifacts", "du")
    runs = [row["name"] for row in cli(*store, "--runs").ok().json["usage"]]
    asked = [*(f"{number}_p" for number in range(6)), *runs, "0_p:0:all"]
    answers = []
    for few in (100, 2):
        monkeypatch.setattr(du, "_FEW", few)
        answers.append(cli(*store, *asked).ok().json["usage"])
    assert answers[0] == answers[1]
    assert {row["name"] for row in answers[0]} == set(asked)
    assert any(row["own_bytes"] for row in answers[0])
    listed = {row["name"]: row for row in cli(*store).ok().json["usage"]}
    assert [listed[row["name"]] for row in answers[1] if row["name"] in listed] == [
        row for row in answers[1] if row["name"] in listed
    ]


def test_the_shell_types_only_what_all_names_have_in_common() -> None:
    names = [f"{number:04d}_pls" for number in range(2_000)] + ["20261130_e05c6b", "best"]
    offered = complete._offered(iter(names), "")
    assert len(offered) <= 502
    assert (min(offered), max(offered)) == (min(names), max(names))
    below = complete._offered(iter(names), "1")
    assert (min(below), max(below)) == ("1000_pls", "1999_pls")
    assert len(below) > 300
    assert set(below) <= {name for name in names if name.startswith("1")}
    assert complete._offered(iter(["b", "a", "b"]), "") == ["b", "a"]

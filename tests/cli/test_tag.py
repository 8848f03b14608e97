"""artifacts tag: names that move, remember where they were, and go back."""

from __future__ import annotations

from pathlib import Path

import pytest

from n4a_store import ArtifactRegistry
from tests.cli.conftest import Cli, Trained


@pytest.fixture
def corn(trained_own: Trained) -> tuple[str | Path, ...]:
    return ("-w", trained_own.path, "-d", "corn", "artifacts")


def test_a_tag_moves_remembers_and_rolls_back(executable: Cli, cli: Cli, corn: tuple[str]) -> None:
    executable(*corn, "tag", "production", "0001_pls:1:0").ok()
    cli(*corn, "tag", "production", "0002_stack").failed(2, "exists already", "--force")
    cli(*corn, "tag", "production", "0002_stack", "--force").ok()
    history = cli(*corn, "tag", "production", "--history").ok().lines
    assert history[1].endswith("tag production -> 0002_stack")
    assert history[2].endswith("tag production -> 0001_pls:1:0")
    cli(*corn, "tag", "production", "--rollback").ok()
    tree = cli(*corn[:-1], "rev-parse", "production", "0001_pls:1:0").ok().lines
    assert tree[0] == tree[1]
    assert "artifact 0001_pls:1:0" in cli(*corn, "show", "production").ok().out
    (tag,) = cli(*corn, "tag", "--json").ok().json["tags"]
    assert (tag["tag"], tag["ref"]["kind"]) == ("production", "tree")
    assert "production" in cli(*corn, "tag").ok().out
    assert cli(*corn, "tag", "production").ok().out.startswith("tag 'production' at: tree ")
    cli(*corn, "tag", "production", "--delete").ok()
    assert "no tags yet" in cli(*corn, "tag").ok().err


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["x", "0002_stak"], 13, "did you mean '0002_stack'?"),
        (["x y", "0002_stack"], 2, "white space"),
        (["prod", "--history"], 13, "no tag is or was called 'prod'"),
        (["prod", "--rollback"], 13, "no tag is or was called 'prod'"),
        (["prod", "--delete"], 13, "no ref refs/tags/prod"),
        (["prod", "x", "--delete"], 2, "too much at once"),
    ],
)
def test_tag_refuses(cli: Cli, corn: tuple[str], argv: list[str], code: int, said: str) -> None:
    cli(*corn, "tag", *argv).failed(code, said)


@pytest.mark.parametrize("option", ["--delete", "--rollback", "--history"])
def test_a_tag_option_without_its_tag_is_no_listing(
    option: str, cli: Cli, corn: tuple[str]
) -> None:
    result = cli(*corn, "tag", option).failed(2, f"{option} needs a TAG", "hint: ")
    assert result.out == ""


def test_listing_tags_by_its_option(cli: Cli, corn: tuple[str]) -> None:
    cli(*corn, "tag", "best", "0001_pls").ok()
    listed = cli(*corn, "tag").ok().out
    assert listed
    assert cli(*corn, "tag", "-l").ok().out == cli(*corn, "tag", "--list").ok().out == listed
    cli(*corn, "tag", "--list", "best").failed(2, "too much at once")
    cli(*corn, "tag", "best", "--steps", "2").failed(2, "--steps is for --rollback")
    cli(*corn, "tag", "best", "0002_stack", "--steps", "1").failed(2, "--steps")


def test_a_name_in_use_is_taken_by_force_only(executable: Cli, cli: Cli, corn: tuple[str]) -> None:
    cli(*corn, "tag", "0001_pls", "0002_stack").failed(2, "the name of refs/pipelines/0001_pls")
    cli(*corn, "tag", "0001_pls", "0002_stack", "--force").ok()
    assert "'0001_pls' is ambiguous" in executable(*corn, "show", "0001_pls").ok().err
    cli(*corn, "tag", "0001_pls", "--delete").ok()
    assert executable(*corn, "show", "0001_pls").ok().err == ""


def test_a_tag_is_not_put_on_what_nothing_vouches_for(tmp_path: Path, cli: Cli) -> None:
    """A bundle's manifest as it came says that all was made here, where it was made."""
    theirs, mine = tmp_path / "theirs", tmp_path / "mine"
    with ArtifactRegistry(theirs, "corn") as registry:
        with registry.run() as run:
            registry.register([1], "p:0:all", "model")
        ids = [registry.store.ref(ref).oid.hex for ref in ("refs/pipelines/p", f"refs/runs/{run}")]
    export = ("-w", theirs, "-d", "corn", "artifacts", "export", run.id)
    cli(*export, "-o", tmp_path / "m.n4b").ok()
    at = ("-w", mine, "-d", "corn", "artifacts")
    cli(*at, "import", tmp_path / "m.n4b", "--create").ok()
    for oid in ids:
        cli(*at, "show", oid).ok()  # it is there
        cli(*at, "tag", "x", oid).failed(12, "nothing tells where it came from", "hint: ")
    cli(*at, "tag", "x", "p").ok()


def test_a_tag_may_be_called_by_its_ref(cli: Cli, corn: tuple[str]) -> None:
    tag = (*corn, "tag", "refs/tags/production")
    said = cli(*tag, "0002_stack").ok().out
    assert said.startswith("tag 'production' set: ")
    assert [at["ref"]["name"] for at in cli(*corn, "tag", "--json").ok().json["tags"]] == [
        "refs/tags/production"
    ]
    cli(*tag, "0001_pls").failed(2, "the tag 'production' exists already")
    cli(*tag, "0001_pls", "--force").ok()
    assert cli(*tag).ok().out.startswith("tag 'production' at: tree ")
    assert len(cli(*tag, "--history").ok().lines) == 3
    cli(*tag, "--rollback").ok()
    cli(*tag, "--delete").ok()
    assert cli(*corn[:-1], "for-each-ref", "refs/tags").ok().out == ""


def test_a_tag_that_stands_has_a_history_though_gc_has_forgotten_it(
    cli: Cli, corn: tuple[str]
) -> None:
    """'no tag is or was called production', it said of the tag in use."""
    cli(*corn, "tag", "production", "0002_stack").ok()
    cli(*corn, "gc", "--now", "--force").ok()
    said = cli(*corn, "tag", "production", "--history").ok()
    assert said.out == ""
    assert "the moves of 'production' are forgotten" in said.err
    assert cli(*corn, "tag", "production", "--history", "--json").ok().json["moves"] == []
    cli(*corn, "tag", "production", "--rollback").failed(13, "gc has forgotten what was before")
    assert cli(*corn[:-1], "rev-parse", "production@{0}").ok().out
    cli(*corn, "tag", "production", "--delete").ok()
    cli(*corn, "gc", "--now", "--force").ok()
    cli(*corn, "tag", "production", "--history").failed(13, "no tag is or was called")

"""Where there are many names: what the shell is offered, and what each of them costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from n4a_store import ArtifactRecord, ArtifactRegistry, Durability, Settings, Workspace
from n4a_store.artifacts.manifest_tree import PipelineManifest
from n4a_store.cli import complete
from n4a_store.cli.exit_codes import ExitCode
from n4a_store.cli.porcelain import du
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import Kind
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


def test_the_first_few_are_found_without_reading_the_rest(
    many: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    record = PipelineManifest.record

    def noted(manifest: PipelineManifest, *args: Any) -> ArtifactRecord:
        read.append(manifest.pipeline_id)
        return record(manifest, *args)

    monkeypatch.setattr(PipelineManifest, "record", noted)
    find = ("-w", many, "--json", "artifacts", "find")

    def found(*argv: str) -> list[str]:
        read.clear()
        rows = cli(*find, *argv).ok().json["artifacts"]
        return [row["record"]["artifact_id"] for row in rows]

    every = found()
    assert every[:3] == ["0_p:0:all", "0_p:0:all", "0_p:1:all"]  # one held two values
    assert len(read) == len(every) == 15
    assert found("-n", "4") == every[:4]
    assert len(read) == 4
    assert found("-n", "3", "--class", "list") == every[:3]
    assert len(read) == 3
    assert found("-n", "0") == []
    assert not read


def test_a_ref_that_names_no_manifest_is_named(many: Path, cli: Cli) -> None:
    """Plumbing can set one; whoever weighs or searches all of them is told which it is."""
    store = Workspace(many).store("corn")
    with store.transaction("by hand") as txn:
        txn.set_ref("refs/pipelines/odd", TreeEntry(Kind.BLOB, txn.put_blob(b"no manifest")))
    for argv in (("find",), ("stats",)):
        cli("-w", many, "artifacts", *argv).failed(ExitCode.FINDINGS, "pipeline odd")

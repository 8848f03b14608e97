"""The artifacts commands inside another program's argparse."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from n4a_store.artifacts.registry import ArtifactRegistry
from n4a_store.artifacts.types import ArtifactType
from n4a_store.integrations.nirs4all_cli import add_artifacts_commands


@pytest.fixture
def host() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="host")
    add_artifacts_commands(parser.add_subparsers(dest="command", required=True))
    return parser


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    registry = ArtifactRegistry(tmp_path / "ws", "corn")
    with registry.run():
        registry.register({"a": 1}, registry.generate_id("0001", [], 0), ArtifactType.ENCODER)
        registry.complete_pipeline("0001")
    registry.close()
    return tmp_path / "ws"


def call(host: argparse.ArgumentParser, *argv: str) -> int:
    args = host.parse_args(["artifacts", *argv])
    try:
        code = args.func(args)
    except SystemExit as ended:
        code = ended.code
        assert code  # success returns, as a host expects that goes on
    assert isinstance(code, int)
    return code


def test_a_host_runs_our_commands_with_the_flags_it_knows(
    host: argparse.ArgumentParser, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ("-w", str(workspace), "-d", "corn")
    assert call(host, "stats", *at, "--json") == 0
    (dataset,) = json.loads(capsys.readouterr().out)["datasets"]
    assert dataset["stats"]["total"]["references"] == 1
    assert call(host, "show", *at, "0001:0:all") == 0
    assert "artifact 0001:0:all" in capsys.readouterr().out
    assert call(host, "purge", *at) == 0
    assert "would remove  refs/pipelines/0001" in capsys.readouterr().out
    assert call(host, "purge", *at, "-f", "-y", "-v") == 0
    capsys.readouterr()
    assert call(host, "list-orphaned", *at) == 0
    assert "encoder" in capsys.readouterr().out
    assert call(host, "cleanup", *at, "-f", "--now") == 0
    assert "deleted 1 artifact, " in capsys.readouterr().out


def test_every_command_of_a_host_does_what_ours_does(
    host: argparse.ArgumentParser, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ("-w", str(workspace), "-d", "corn")
    bundle, files = workspace.parent / "0001.n4b", workspace.parent / "files"

    def said(command: str, *argv: str) -> str:
        assert call(host, command, *at, *argv) == 0
        return capsys.readouterr().out

    assert "0001:0:all" in said("find", "--type", "encoder", "--class", "dict")
    assert "0001:0:all" not in said("find", "--type", "model")
    assert said("manifest", "0001").startswith('schema_version: "2.0"')
    said("tag", "best", "0001")
    assert "best" in said("tag")
    assert "same" in said("diff", "0001", "best") or "no difference" in said("diff", "0001", "best")
    assert "dict" in said("graph", "0001:0:all", "--format", "mermaid")
    assert "refs/tags/best" in said("why", json.loads(said("show", "best", "--json"))["oid"])
    assert "0001" in said("du")
    said("export", "0001", "-o", str(bundle))
    said("export", "0001", "--files", str(files))
    assert len(list(files.iterdir())) == 1
    said("tag", "best", "--delete")
    assert "would" in said("rm", "0001")
    said("rm", "0001", "--force")
    said("undo")
    assert call(host, "import", "-w", str(workspace), "-d", "other", "--create", str(bundle)) == 0
    said("verify")


def test_a_host_that_looks_at_no_result_fails_all_the_same(
    host: argparse.ArgumentParser, workspace: Path
) -> None:
    args = host.parse_args(["artifacts", "show", "-w", str(workspace), "-d", "corn", "nothing"])
    with pytest.raises(SystemExit) as ended:
        args.func(args)
    assert ended.value.code == 13


def test_errors_come_out_as_exit_codes(
    host: argparse.ArgumentParser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(host, "stats", "-w", str(tmp_path / "nowhere")) == 10
    assert capsys.readouterr().err.startswith("error: no workspace")
    with pytest.raises(SystemExit) as ended:
        call(host, "purge")
    assert ended.value.code == 2

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
    code = args.func(args)
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


def test_errors_come_out_as_exit_codes(
    host: argparse.ArgumentParser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(host, "stats", "-w", str(tmp_path / "nowhere")) == 10
    assert capsys.readouterr().err.startswith("error: no workspace")
    with pytest.raises(SystemExit) as ended:
        call(host, "purge")
    assert ended.value.code == 2

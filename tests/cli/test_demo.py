"""demo: the whole story, told by the executable."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli


@pytest.mark.slow
def test_the_story_holds_and_the_workspace_stays(executable: Cli, tmp_path: Path) -> None:
    told = executable("-w", tmp_path / "ws", "demo").ok()
    assert "bit-identical" in told.out
    assert "0 blobs" in told.out
    tried = [line.split()[1:] for line in told.lines if line.startswith("  n4a-store ")]
    assert len(tried) > 3
    for argv in tried:
        executable(*argv).ok()
    # Once more in the same workspace, as data: the story goes to stderr.
    again = executable("-w", tmp_path / "ws", "demo", "--json").ok()
    report = json.loads(again.out)["report"]
    assert report["passed"] is True
    assert all(run["blobs_added"] == 0 for run in report["runs"])


def test_a_typo_trains_nothing(executable: Cli, tmp_path: Path) -> None:
    executable("-w", tmp_path / "ws", "demo", "--jsno").failed(2, "did you mean '--json'")
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_nothing_is_created(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        from n4a_store.errors import InvalidInputError

        raise InvalidInputError("the extra [demo] is not installed", hint="pip install …")

    monkeypatch.setattr("n4a_store.demo.scenario.run_demo", missing)
    cli("-w", tmp_path / "ws", "demo").failed(2, "[demo]", "hint: ")
    assert list(tmp_path.iterdir()) == []

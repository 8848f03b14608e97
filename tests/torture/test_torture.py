"""Torture for N4A_TORTURE_SECONDS: processes that write, read, collect and are killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from n4a_store.testing.ledger import Ledger, read_ledger

SEED = 20261123


@pytest.mark.slow
@pytest.mark.torture
def test_torture(tmp_path: Path, torture_seconds: float) -> None:
    # A process of its own: it forks, which a test runner with threads should not.
    done = subprocess.run(
        [
            *(sys.executable, "-m", "n4a_store.testing.torture", "--seed", str(SEED)),
            *("--seconds", str(torture_seconds), "--folder", str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout)
    assert report["findings"] == [], done.stderr
    assert done.returncode == 0
    assert report["lost"] == report["dangling"] == 0
    assert report["commits"] > torture_seconds
    assert sum(report["kills"].values()) > torture_seconds / 2
    assert min(report["done"][what] for what in ("read", "fsck", "gc", "repack")) > 0


def test_a_ledger_cut_off_anywhere_says_what_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger = Ledger(path)
    ledger.intend({"a": "1", "b": "2"})
    ledger.acknowledge()
    ledger.intend({"a": "3"})
    ledger.withdraw()
    ledger.intend({"b": None})
    standing = read_ledger(path)
    assert standing.refs == {"a": "1", "b": "2"}
    assert standing.allowed() == [{"a": "1", "b": "2"}, {"a": "1"}]
    ledger.settle(happened=True)
    assert read_ledger(path).allowed() == [{"a": "1"}]
    assert read_ledger(path).commits == 2
    assert read_ledger(tmp_path / "none").allowed() == [{}]

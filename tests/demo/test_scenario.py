"""The demonstration: every claim that it prints holds, the first time and the second."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chemotools.scatter import StandardNormalVariate
from sklearn.cross_decomposition import PLSRegression
from sklearn.model_selection import KFold

from n4a_store.demo import damage, scenario, undoing
from n4a_store.demo.scenario import run_demo
from n4a_store.demo.spectra import load_fermentation
from n4a_store.demo.sweeps import SWEEPS, Sweep
from n4a_store.errors import InvalidInputError


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small sweep."""

    def make() -> tuple[list[Any], np.ndarray, np.ndarray, np.ndarray]:
        data = load_fermentation()
        branches = {"raw": [], "snv": [StandardNormalVariate()]}
        models = {"_range_": [1, 2], "param": "n_components", "model": PLSRegression()}
        steps = [KFold(3), {"branch": branches}, models]
        return steps, data.X, data.glucose, data.X_test[::10]

    monkeypatch.setattr(scenario, "SWEEPS", (Sweep("fermentation", "small", make),))


@pytest.mark.slow
def test_the_whole_story_twice(tmp_path: Path) -> None:
    for first in (True, False):
        lines: list[str] = []
        report = run_demo(tmp_path / "demo", lines.append)
        assert report.passed
        assert report.identical
        assert report.damage.object_id
        assert report.damage.refusal
        assert report.undoing.restored
        assert report.undoing.kept > 0
        assert max(map(len, lines)) <= 80 or str(tmp_path) in max(lines, key=len)
        fresh = [run for run in report.runs if run.blobs_added]
        assert len(fresh) == (len(SWEEPS) if first else 0)
        assert all(run.reused for run in report.runs[len(SWEEPS) :])
        assert any("bit-identical" in line for line in lines)
        for command in report.commands:
            assert f"  {command}" in lines


def test_a_flipped_byte_is_caught_and_its_runs_are_named(small: None, tmp_path: Path) -> None:
    runner = scenario.PipelineRunner(tmp_path / "demo", progress=lambda _: None)
    lines: list[str] = []
    runs = [scenario._train(runner, scenario.SWEEPS[0], lines.append) for _ in range(2)]
    assert runs[0].blobs_added > 0
    assert (runs[1].blobs_added, runs[1].reused > 0) == (0, True)
    found = damage.damage_a_copy(runner.workspace, "fermentation")
    assert set(found.runs) == {run.run_id for run in runs}
    assert found.artifact_id in found.refusal
    assert scenario._tell_damage(found, lines.append)
    # The original is untouched: the damage was done to a copy.
    with runner.workspace.store("fermentation") as store:
        assert damage.fsck(store, full=True).ok


def test_the_best_is_tagged_and_a_deletion_is_taken_back(small: None, tmp_path: Path) -> None:
    runner = scenario.PipelineRunner(tmp_path / "demo", progress=lambda _: None)
    runs = [scenario._train(runner, sweep, lambda _: None) for sweep in scenario.SWEEPS]
    place = runner.workspace
    undoing.tag_best(place, "fermentation", runs[0].best_pipeline)
    found = undoing.delete_and_undo(place, "fermentation")
    assert found.pipeline != runs[0].best_pipeline
    assert (found.lost, found.restored) == (0, True)
    assert found.kept > 0
    with place.store("fermentation") as store:
        best = store.ref("refs/tags/best").oid
        assert best == store.ref(f"refs/pipelines/{runs[0].best_pipeline}").oid
        # Tagged, deleted, taken back: three operations that the reflog tells of.
        assert {"tag", "remove", "undo"} <= {entry.action for entry in store.reflog()}
    lines: list[str] = []
    assert scenario._tell_undoing(found, lines.append)
    assert not scenario._tell_undoing(replace(found, restored=False), lines.append)
    assert not scenario._tell_undoing(replace(found, lost=1), lines.append)
    assert "NOT" in lines[-4]


def test_damage_that_goes_unnoticed_fails_the_demonstration() -> None:
    lines: list[str] = []
    unseen = damage.Damage(1, 2, "", (), "", "")
    loaded = damage.Damage(1, 2, "ab", ("r",), "p:0:all", "")
    assert not scenario._tell_damage(unseen, lines.append)
    assert not scenario._tell_damage(loaded, lines.append)


def test_without_chemotools_nothing_is_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> Any:
        raise InvalidInputError("no chemotools")

    monkeypatch.setattr(scenario, "SWEEPS", (Sweep("fermentation", "none", missing),))
    with pytest.raises(InvalidInputError):
        run_demo(tmp_path / "demo", lambda _: None)
    assert not (tmp_path / "demo").exists()

"""The demonstration: train on real spectra, twice, and look at what the store did with it.

Every claim it makes is checked while it runs, and the report says which held. The workspace
stays for whoever wants to explore it; run again, the demonstration goes on in the same one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from n4a_store.artifacts.workspace import Workspace
from n4a_store.demo.damage import Damage, damage_a_copy
from n4a_store.demo.sweeps import SWEEPS, Sweep
from n4a_store.demo.undoing import BEST, Undoing, delete_and_undo, tag_best
from n4a_store.errors import StoreError
from n4a_store.objects.html import size_text
from n4a_store.objects.oid import Kind, ObjectId
from n4a_store.pipeline.fingerprint import data_id
from n4a_store.pipeline.predictor import Predictor
from n4a_store.pipeline.run_result import RunResult
from n4a_store.pipeline.runner import PipelineRunner
from n4a_store.repo.history import reach

__all__ = ["DemoReport", "DemoRun", "run_demo"]

_TIMEOUT = 300
_WIDTH, _INSIDE = 80, " " * 5
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DemoRun:
    """One training of one dataset.

    Args:
        pipelines: How many are complete.
        best: The best model, and its score.
        best_pipeline: The pipeline that it stands in.
        blobs_added, trees_added, runs_added: Objects that were not there before.
        reused: Objects of this run that were.
        seconds: How long it took.
    """

    run_id: str
    dataset: str
    pipelines: int
    best: str
    best_pipeline: str
    blobs_added: int
    trees_added: int
    runs_added: int
    reused: int
    seconds: float


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What the demonstration found.

    Args:
        workspace: Where it left everything.
        runs: The trainings, each dataset twice.
        identical: Whether a fresh process predicted the same bits.
        damage: What one flipped byte in a copy did.
        undoing: What became of a deletion.
        passed: Whether every claim held.
        commands: What to try next.
        seconds: How long all of it took.
    """

    workspace: str
    runs: tuple[DemoRun, ...]
    identical: bool
    damage: Damage
    undoing: Undoing
    passed: bool
    commands: tuple[str, ...]
    seconds: float


def run_demo(workspace: Path, say: Say) -> DemoReport:
    """Train, train again, tag, predict in a fresh process, damage a copy, delete and undo.

    Args:
        workspace: The folder to work in; created, or gone on with.
        say: Is handed each line of the story.

    Raises:
        InvalidInputError: The extra ``[demo]`` is not installed; nothing was created.
        StoreError: The store failed.
    """
    begun = time.perf_counter()
    for sweep in SWEEPS:
        sweep.make()  # whatever is missing is said before anything is created
    place = Workspace(workspace)
    runner = PipelineRunner(place, progress=lambda _: None)
    runs: list[DemoRun] = []
    say("1. Train: preprocessings in branches x PLS and a forest x 3 folds, on real spectra.")
    runs.extend(_train(runner, sweep, say) for sweep in SWEEPS)
    say("")
    say("2. Train all of it again. The same fit is the same object, so nothing is written twice.")
    again = [_train(runner, sweep, say) for sweep in SWEEPS]
    runs.extend(again)
    shared = all(run.blobs_added == 0 for run in again)
    say("")
    say(f"3. Tag the best pipelines '{BEST}', predict with them in a fresh process, and compare")
    say("   with what the models said when they had just been fitted.")
    for run in again:
        tag_best(place, run.dataset, run.best_pipeline)
    identical = _predicts_alike(workspace, say)
    say("")
    say("4. Flip one byte in a copy of the fermentation store.")
    damage = damage_a_copy(place, SWEEPS[0].dataset)
    caught = _tell_damage(damage, say)
    say("")
    say("5. Delete a pipeline, ask gc what it would do, and take the deletion back.")
    undoing = delete_and_undo(place, SWEEPS[0].dataset)
    safe = _tell_undoing(undoing, say)
    commands = _commands(workspace, runs[-2])
    seconds = time.perf_counter() - begun
    say("")
    say(f"Done in {seconds:.0f} s. The workspace is yours to explore: {workspace}")
    for command in commands:
        say(f"  {command}")
    passed = shared and identical and caught and safe
    return DemoReport(
        str(workspace), tuple(runs), identical, damage, undoing, passed, commands, seconds
    )


def _train(runner: PipelineRunner, sweep: Sweep, say: Say) -> DemoRun:
    pipeline, X, y, X_test = sweep.make()
    before = _objects(runner.workspace, sweep.dataset)
    result = runner.run(pipeline, X, y, sweep.dataset, X_test=X_test, message="demo")
    if result.failures:
        raise StoreError(f"a pipeline of the demo failed: {dict(result.failures)}")
    after = _objects(runner.workspace, sweep.dataset)
    added = Counter(kind for oid, kind in after.items() if oid not in before)
    with runner.workspace.store(sweep.dataset) as store:
        root = store.resolve_entry(f"refs/runs/{result.run_id}")
        reused = sum(1 for reached in reach(store, [root]) if reached.oid in before)
    run = DemoRun(
        result.run_id,
        sweep.dataset,
        len(result.pipelines),
        _best(result),
        result.best.pipeline_id,
        added[Kind.BLOB],
        added[Kind.TREE],
        added[Kind.RUN],
        reused,
        result.seconds,
    )
    total = sum(added.values())
    say(f"   {sweep.dataset}: {sweep.title}; {X.shape[0]} spectra of {X.shape[1]} points")
    say(f"     run {run.run_id}: {run.pipelines} pipelines in {run.seconds:.1f} s")
    say(f"     {run.best}")
    say(
        f"     added {total} objects ({added[Kind.BLOB]} blobs, {added[Kind.TREE]} trees, "
        f"{added[Kind.RUN]} runs), reused {reused}"
    )
    return run


def _best(result: RunResult) -> str:
    best = result.best
    score = "RMSE" if best.task == "regression" else "accuracy"
    names = next(
        "/".join(row.branch_names)
        for row in result.results
        if row.pipeline_id == best.pipeline_id and row.branch_path == best.branch_path
    )
    return f"best: {best.model} on {names} ({best.pipeline_id}), {score} {best.score:.3g}"


def _objects(workspace: Workspace, dataset: str) -> dict[ObjectId, Kind]:
    if not workspace.path.is_dir() or dataset not in workspace.datasets():
        return {}
    with workspace.store(dataset) as store:
        return dict(store.objects())


def _predicts_alike(workspace: Path, say: Say) -> bool:
    trained = {}
    for sweep in SWEEPS:
        with Predictor(workspace, sweep.dataset) as predictor:
            trained[sweep.dataset] = data_id(predictor.stored(BEST, partition="test"))
    done = subprocess.run(
        [sys.executable, "-m", "n4a_store.demo.fresh_process", str(workspace)],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    if done.returncode != 0:
        raise StoreError(f"the fresh process failed: {done.stderr.strip()[-500:]}")
    there = json.loads(done.stdout)
    for dataset, content in trained.items():
        same = there.get(dataset) == content
        say(f"   {dataset}: {'bit-identical' if same else 'DIFFERENT'} ({content[:12]})")
    return bool(trained == there)


def _tell_damage(damage: Damage, say: Say) -> bool:
    say(f"   flipped byte {damage.offset} of {damage.size} in a pack of the copy")
    if not damage.object_id:
        say("   fsck --full found NOTHING")
        return False
    say(f"   fsck --full names object {damage.object_id[:12]}; it hurts:")
    for run in damage.runs:
        say(f"     run {run}")
    if not damage.refusal:
        say("   and yet the artifact LOADED")
        return False
    say(f"   loading {damage.artifact_id} is refused before a byte is unpickled:")
    for line in textwrap.wrap(
        damage.refusal, _WIDTH, initial_indent=_INSIDE, subsequent_indent=_INSIDE
    ):
        say(line)
    return True


def _tell_undoing(undoing: Undoing, say: Say) -> bool:
    say(f"   deleted {undoing.pipeline}; {undoing.moved} refs moved")
    kept = f"{undoing.kept} objects, {size_text(undoing.kept_bytes)}, for undo"
    if undoing.lost:
        say(f"   gc would keep {kept}, but DROP {undoing.lost} of this pipeline")
    else:
        say(f"   gc would drop nothing of it: it would keep {kept}")
    if undoing.restored:
        say("   undone: every ref is where it was")
    else:
        say("   and yet undo did NOT bring it back")
    return undoing.restored and not undoing.lost


def _commands(workspace: Path, run: DemoRun) -> tuple[str, ...]:
    program = f"n4a-store -w {workspace}"
    dataset = f"{program} -d {run.dataset}"
    return (
        f"{program} artifacts stats",
        f"{program} artifacts log",
        f"{dataset} artifacts show {run.run_id}",
        f"{dataset} artifacts graph {BEST}",
        f"{dataset} artifacts du",
        f"{dataset} artifacts gc",
        f"{dataset} artifacts undo --list",
        f"{dataset} fsck --full",
    )

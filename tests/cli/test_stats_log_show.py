"""artifacts stats, log and show: looking, without loading anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from n4a_store import ArtifactRegistry
from n4a_store.cli.porcelain.look import shown_time
from tests.cli.conftest import Cli, Trained


def test_stats_tell_dedupe_from_compression(executable: Cli, trained: Trained) -> None:
    result = executable("-w", trained.path, "artifacts", "stats").ok()
    assert result.err == ""
    assert "corn\nartifacts       12 names for 7 artifacts\n" in result.out
    assert "fermentation\nartifacts       4 names for 4 artifacts\n" in result.out
    for word in ("as files", "unique objects", "on disk", "dedupe", "compression", "orphans"):
        assert word in result.out
    assert "never collected" in result.out


def test_stats_json_and_deep(cli: Cli, trained: Trained) -> None:
    at = ("artifacts", "stats", "-w", trained.path, "-d", "corn", "--json")
    (dataset,) = cli(*at).ok().json["datasets"]
    total, by_type = dataset["stats"]["total"], dataset["stats"]["by_type"]
    # Two of the three runs are alike: their scaler and models are one object each.
    assert (total["references"], dataset["stats"]["unique"]) == (12, 7)
    assert {name: part["references"] for name, part in by_type.items()} == {
        "model": 6, "transformer": 3, "meta_model": 3,
    }  # fmt: skip
    assert total["logical_bytes"] == sum(part["logical_bytes"] for part in by_type.values()) > 0
    assert [run["new"] for run in dataset["stats"]["runs"]] == [3, 0, 4]
    assert dataset["garbage"] is None
    assert {name: part["unique"] for name, part in by_type.items()} == {
        "model": 4, "transformer": 1, "meta_model": 2,
    }  # fmt: skip
    assert 0 < by_type["model"]["unique_bytes"] < by_type["model"]["logical_bytes"]
    (row,) = [line for line in cli(*at[:-1]).ok().lines if line.startswith("model ")]
    assert row.split()[1:2] + row.split()[4:5] == ["6", "4"]
    (deep,) = cli(*at, "--deep").ok().json["datasets"]
    assert deep["garbage"]["reachable"] > 0


def test_orphans_are_as_old_as_the_last_gc(cli: Cli, trained_own: Trained) -> None:
    at = ("-w", trained_own.path, "-d", "corn", "artifacts")

    def orphans(*more: str) -> str:
        shown = cli(*at, "stats", *more).ok().lines
        return next(line for line in shown if line.startswith("orphans "))

    assert "not counted (never collected): --deep counts them" in orphans()
    cli(*at, "rm", "0002_stack", "-f").ok()
    cli(*at, "gc", "-f").ok()
    dated = orphans()
    (said,) = cli(*at, "stats", "--json").ok().json["datasets"]
    record = said["stats"]["store"]["last_gc"]
    assert record["orphans"] > 0
    assert f"left to undo by the gc of {record['at'][:16].replace('T', ' ')}" in dated
    cli(*at, "undo").ok()
    # As of the gc, with its date; only marking again tells what has changed since.
    assert orphans() == dated
    (said,) = cli(*at, "stats", "--deep", "--json").ok().json["datasets"]
    assert said["garbage"]["undoable"]["objects"] < record["orphans"]
    assert "that undo can bring back" in orphans("--deep")


def test_log_lists_runs_newest_first(executable: Cli, trained: Trained) -> None:
    lines = executable("artifacts", "log", "-w", trained.path, "-d", "corn").ok().lines
    assert lines[0].split()[0] == "RUN"
    assert [line.split()[0] for line in lines[1:]] == list(reversed(trained.runs))
    assert lines[1].endswith("three components")
    assert lines[2].split()[-2:] == ["0", "again"]


def test_log_of_all_datasets_of_some_runs_and_as_json(cli: Cli, trained: Trained) -> None:
    both = cli("artifacts", "log", "-w", trained.path).ok()
    assert "corn" in both.lines
    assert "fermentation" in both.lines
    runs = cli("artifacts", "log", "-n1", "-w", trained.path, "--json").ok().json["runs"]
    assert [run["run"] for run in runs] == [trained.runs[2], trained.other]
    assert runs[0]["status"] == "complete"
    assert runs[0]["missing_parents"] == []
    none = cli("artifacts", "log", "--pipeline", "0009", "-w", trained.path).ok()
    assert (none.out, none.err) == ("", "no run holds '0009'\n")
    typo = cli("artifacts", "log", "--pipeline", "0001_psl", "-w", trained.path).ok()
    assert typo.err == "no run holds '0001_psl'; did you mean '0001_pls'?\n"


def test_show_the_newest_run(executable: Cli, trained: Trained) -> None:
    result = executable("artifacts", "show", "-w", trained.path).ok()
    assert result.lines[0] == f"run {trained.other}"
    assert any(line.split()[0] == "0002_stack" for line in result.lines if line)


def test_show_a_run_a_pipeline_and_an_artifact(cli: Cli, trained: Trained) -> None:
    at = ("artifacts", "show", "-w", trained.path, "-d", "corn")
    run = cli(*at, trained.runs[0], "-v").ok()
    assert "message  first" in run.out
    assert "python" in run.out
    pipeline = cli(*at, "0001_pls").ok()
    assert "times trained  3" in pipeline.out
    assert [line.split()[0] for line in pipeline.lines[-3:]] == ["0:all", "1:0", "1:1"]
    artifact = cli(*at, "0001_pls:1:0").ok()
    for line in ("type     model", "version  3", "needs    0001_pls:0:all", "n_components = 3"):
        assert line in artifact.out
    assert any(line.split() == ["x_weights_", "131×3", "float64"] for line in artifact.lines)


def test_show_what_was_in_an_earlier_run(cli: Cli, trained: Trained) -> None:
    at = ("artifacts", "show", "-w", trained.path, "-d", "corn", "--json")
    earlier = cli(*at, "0001_pls:1:0", "--run", trained.runs[0]).ok().json
    assert earlier["params"] == {"n_components": 2}
    assert earlier["record"]["version"] == 1
    assert earlier["arrays"]["x_weights_"] == {"shape": [131, 2], "dtype": "float64"}
    by_tree = cli(*at, earlier["tree"]).ok().json
    assert by_tree["record"]["artifact_id"] == "0001_pls:1:0"
    pipeline = cli(*at, f"{trained.runs[0]}:0001_pls").ok().json
    assert pipeline["run"] == trained.runs[0]
    assert [item["version"] for item in pipeline["artifacts"]] == [1, 1, 1]
    blob = cli(*at, "0001_pls:artifacts/1:0/record").ok().json
    assert blob["kind"] == "blob"
    assert "class: sklearn" in cli(*at[:-1], "0001_pls:artifacts/1:0/record").ok().out
    assert "tree" in cli(*at[:-1], "0001_pls:artifacts").ok().out


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["show", "0001_pls"], 13, "is in 2 datasets: corn, fermentation"),
        (["show", "0001_pls:1:7", "-d", "corn"], 13, "did you mean '0001_pls:1:"),
        (["show", "0001_pls:1", "-d", "corn"], 2, "malformed artifact id '0001_pls:1'"),
        (["show", "0001_psl", "-d", "corn"], 13, "did you mean '0001_pls'?"),
        (["show", "0001_pls:1:0", "--run", "0001_pls", "-d", "corn"], 2, "is not a run"),
        (["show", "9:1", "--run", "RUN", "-d", "corn"], 13, "holds no pipeline '9'"),
        (["show", "0001_pls:9:0", "--run", "RUN", "-d", "corn"], 13, "holds no artifact"),
        (["stats", "-d", "cron"], 10, "did you mean 'corn'?"),
        (["stats", "-d", "../x"], 2, "cannot be a dataset"),
        (["log", "-d", "wheat"], 10, "the workspace holds: corn, fermentation"),
        (["log", "-n", "x"], 2, "'-n'"),
    ],
)
def test_bad_input(cli: Cli, trained: Trained, argv: list[str], code: int, said: str) -> None:
    argv = [trained.runs[0] if word == "RUN" else word for word in argv]
    cli("artifacts", *argv, "-w", trained.path).failed(code, "hint: ", said)


@pytest.mark.parametrize("command", ["stats", "log", "show", "list-orphaned", "gc", "find"])
def test_no_workspace_no_dataset_and_nothing_is_created(
    cli: Cli, tmp_path: Path, command: str
) -> None:
    cli("artifacts", command, cwd=tmp_path).failed(10, "no workspace at 'workspace'", "hint: ")
    cli("artifacts", command, "-w", tmp_path).failed(10, "is not a workspace", "hint: ")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "binaries").mkdir()
    cli("artifacts", command, cwd=tmp_path).failed(10, "holds no dataset", "hint: ")


def test_an_empty_store(cli: Cli, empty: Path) -> None:
    at = ("--store", empty, "artifacts")
    assert "0 names for 0 artifacts" in cli(*at, "stats").ok().out
    assert cli(*at, "log").ok().err == "no runs yet\n"
    cli(*at, "show").failed(13, "there are no runs yet")


def test_the_workspace_is_found_from_below_and_by_the_environment(
    cli: Cli, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = trained.path / "binaries" / "corn" / "packs"
    assert "fermentation" in cli("artifacts", "stats", cwd=inside).ok().out
    monkeypatch.setenv("N4A_WORKSPACE", str(trained.path))
    assert "fermentation" in cli("artifacts", "stats", cwd=tmp_path).ok().out
    cli("show-ref", cwd=tmp_path).failed(2, "holds 2 datasets: corn, fermentation", "-d NAME")
    assert "refs/pipelines/0001_pls" in cli("-d", "corn", "show-ref", cwd=tmp_path).ok().out
    cli("show-ref", "--store", inside.parent, "-d", "corn").failed(2, "no meaning beside it")


def test_stats_says_what_a_repack_would_gain(cli: Cli, trained_own: Trained) -> None:
    at = ("-w", trained_own.path, "-d", "corn")
    quick = cli(*at, "artifacts", "stats").ok().out
    assert "packs into 1" in quick
    assert "--compact" not in quick
    deep = cli(*at, "artifacts", "stats", "--deep", "--json").ok().json["datasets"][0]
    gain = deep["compaction"]
    assert deep["stats"]["store"]["mergeable_packs"] > 1
    assert gain["packs_before"] > gain["packs_after"] == 1
    cli(*at, "repack", "--compact").ok()
    after = cli(*at, "artifacts", "stats", "--json").ok().json["datasets"][0]["stats"]["store"]
    assert after["live"]["stored_bytes"] == gain["bytes_after"]
    assert after["mergeable_packs"] == 0
    assert "packs into" not in cli(*at, "artifacts", "stats").ok().out


def test_show_says_which_pipelines_failed_and_why(cli: Cli, tmp_path: Path) -> None:
    with ArtifactRegistry(tmp_path, "corn") as registry, registry.run() as run:
        registry.register(1, "p:0:all", "model")
        run.note({"failures": {"q": "step 2, fold 0: RuntimeError: the lamp is out"}})
    shown = cli("-w", tmp_path, "artifacts", "show", run.id).ok()
    assert "failed   q: step 2, fold 0: RuntimeError: the lamp is out\n" in shown.out
    answer = cli("-w", tmp_path, "artifacts", "show", run.id, "--json").ok().json
    assert answer["failures"] == {"q": "step 2, fold 0: RuntimeError: the lamp is out"}


def test_log_counts_the_pipelines_that_failed_where_any_did(cli: Cli, tmp_path: Path) -> None:
    """A run that is over is complete, also if everything in it failed."""
    at = ("-w", tmp_path, "artifacts", "log")
    with ArtifactRegistry(tmp_path, "corn") as registry, registry.run():
        registry.register(1, "p:0:all", "model")
    assert "FAILED" not in cli(*at).ok().out
    with ArtifactRegistry(tmp_path, "corn") as registry, registry.run() as run:
        run.note({"failures": {"q": "no", "r": "no"}})
    head, newest, first = cli(*at).ok().out.splitlines()
    assert head.split()[-3:] == ["NEW", "FAILED", "MESSAGE"]
    assert newest.split()[-4:] == ["0", "0", "0", "2"]
    assert first.split()[-3:] == ["1", "1", "1"]
    told = {row["run"]: row["failed"] for row in cli(*at, "--json").ok().json["runs"]}
    assert (sorted(told.values()), told[run.id]) == ([0, 2], 2)


@pytest.mark.parametrize("stamp", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "x"])
def test_a_time_that_cannot_be_shown_is_shown_as_it_is(stamp: str) -> None:
    """A manifest that was imported before such dates were refused has one."""
    assert shown_time(stamp) == stamp
    assert shown_time("2026-11-23T08:30:10+02:00") == "2026-11-23 06:30"

"""artifacts find, graph, why, du, verify, diff and manifest."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import yaml

from n4a_store.artifacts.lineage import Lineage, LineageNode
from n4a_store.cli.drawing import as_mermaid
from n4a_store.objects.oid import ObjectId
from tests.cli.conftest import Cli, Trained
from tests.cli.test_fsck import flip


@pytest.fixture
def corn(trained: Trained) -> tuple[str | Path, ...]:
    return ("-w", trained.path, "-d", "corn", "artifacts")


def ids(result: object) -> list[str]:
    return [row["record"]["artifact_id"] for row in result.json["artifacts"]]  # type: ignore[attr-defined]


def test_find_by_what_artifacts_are(executable: Cli, cli: Cli, corn: tuple[str]) -> None:
    listed = executable(*corn, "find", "--class", "PLS*", "--param", "n_components=3").ok()
    assert [line.split()[0] for line in listed.lines] == [
        "ARTIFACT",
        "0001_pls:1:0",
        "0001_pls:1:1",
    ]
    assert ids(cli(*corn, "find", "--type", "transformer", "--json").ok()) == ["0001_pls:0:all"]
    sized = cli(*corn, "find", "--min-size", "12K", "--max-size", "1MiB", "--json").ok()
    assert ids(sized) == ["0001_pls:1:0", "0001_pls:1:1"]
    assert ids(cli(*corn, "find", "--pipeline", "0002*", "--since", "2020-01-01", "--json").ok())
    assert cli(*corn, "find", "--until", "2020-01-01").ok().err == "no artifact fits\n"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (
            ["--class", "PLSRegresion"],
            "no class 'PLSRegresion' here; did you mean 'PLSRegression'?",
        ),
        (["--type", "modle"], "no type 'modle' here; did you mean 'model'"),
        (["--pipeline", "0001_psl"], "did you mean '0001_pls'?"),
        (["--param", "n_component=2"], "no parameter 'n_component' here; did you mean 'n_comp"),
        (["--param", "n_components=77"], "no artifact fits\n"),
    ],
)
def test_a_find_that_finds_nothing_says_why(
    cli: Cli, corn: tuple[str], argv: list[str], said: str
) -> None:
    found = cli(*corn, "find", *argv).ok()
    assert (found.out, said in found.err) == ("", True), found.err


def test_a_class_that_is_here_is_not_said_to_be_missing(cli: Cli, corn: tuple[str]) -> None:
    """What leaves nothing is the date."""
    for narrow in (["--until", "2020-01-01"], ["--min-size", "1G"]):
        found = cli(*corn, "find", "--class", "PLSRegression", *narrow).ok()
        assert found.err == "no artifact fits\n"
        typo = cli(*corn, "find", "--class", "PLSRegresion", *narrow).ok()
        assert "did you mean 'PLSRegression'?" in typo.err


def test_find_in_a_run(cli: Cli, corn: tuple[str], trained: Trained) -> None:
    rows = cli(*corn, "find", "--run", trained.runs[1], "--type", "model", "--json").ok().json
    assert [row["runs"] for row in rows["artifacts"]] == [[trained.runs[1], trained.runs[0]]] * 2
    for argv in (["--min-size", "1x"], ["--since", "soon"], ["--param", "x"]):
        cli(*corn, "find", *argv).failed(2, "such as")
    typo = trained.runs[1][:-1] + "z"
    cli(*corn, "find", "--run", typo).failed(13, f"'{trained.runs[1]}'")


def test_a_lineage_draws_shared_artifacts_once(executable: Cli, corn: tuple[str]) -> None:
    assert [
        line.split("  ")[0] for line in executable(*corn, "graph", "0002_stack:0:all").ok().lines
    ] == [
        "0002_stack:0:all",
        "├─ 0001_pls:1:0",
        "│",
        "└─ 0001_pls:1:1",
        "",
    ]
    text = executable(*corn, "graph", "0002_stack:0:all").out
    assert text.count("StandardScaler") == 2
    assert "(shared)" in text


def test_a_lineage_in_other_formats(cli: Cli, corn: tuple[str]) -> None:
    mermaid = cli(*corn, "graph", "0002_stack", "--format", "mermaid").ok().lines
    assert mermaid[0] == "flowchart LR"
    assert sum("StandardScaler" in line for line in mermaid) == 1
    assert sum(" --> " in line for line in mermaid) == 4
    dot = cli(*corn, "graph", "0001_pls", "--format", "dot").ok().out
    assert dot.startswith("digraph lineage {")
    assert dot.count(" -> ") == 2
    svg = ET.fromstring(cli(*corn, "graph", "0002_stack", "--format", "svg").ok().out)
    names = [child.tag.partition("}")[2] for child in svg]
    assert (names.count("rect"), names.count("path")) == (4, 4)
    graph = cli(*corn, "graph", "0002_stack", "--json").ok().json
    assert (len(graph["nodes"]), len(graph["edges"])) == (4, 4)
    assert {node["type"] for node in graph["nodes"]} == {"transformer", "model", "meta_model"}


def test_a_lineage_of_something_else(cli: Cli, corn: tuple[str]) -> None:
    cli(*corn, "graph", "refs/pipelines/0001_pls:links").failed(2, "neither a run, a pipeline nor")
    cli(*corn, "graph", "0002_stak").failed(13, "did you mean '0002_stack'?")


def test_why_names_every_keeper(executable: Cli, cli: Cli, trained_own: Trained) -> None:
    at = ("-w", trained_own.path, "-d", "corn")
    paths = executable(*at, "artifacts", "why", "0001_pls:1:0").ok().lines
    assert "refs/pipelines/0001_pls:artifacts/1:0" in paths
    assert f"refs/runs/{trained_own.runs[2]}:0001_pls/artifacts/1:0" in paths
    assert "refs/pipelines/0002_stack:artifacts/0:all/deps/00000000" in paths
    orphan = cli(*at, "hash-object", "-w", "--stdin", stdin=b"kept by nobody").out.strip()
    said = cli(*at, "artifacts", "why", orphan).ok()
    assert said.out == ""
    assert "is an orphan" in said.err
    keepers = cli(*at, "artifacts", "why", orphan, "--json").ok().json["keepers"]
    assert keepers == {"refs": [], "undo": []}
    # The run as it was before it ended is another object: undo can go back to it.
    log = cli(*at, "reflog", f"refs/runs/{trained_own.runs[2]}", "--json").ok().json
    running = log["moves"][0]["old"]["oid"]
    keepers = cli(*at, "artifacts", "why", running, "--json").ok().json["keepers"]
    assert keepers == {"refs": [], "undo": [f"refs/runs/{trained_own.runs[2]}@{{1}}"]}


def test_du_tells_what_is_shared(executable: Cli, cli: Cli, corn: tuple[str]) -> None:
    lines = executable(*corn, "du").ok().lines
    assert lines[0].split() == ["NAME", "OBJECTS", "TAKES", "FREES"]
    rows = {row["name"]: row for row in cli(*corn, "du", "--json").ok().json["usage"]}
    # The stack keeps the models of the other pipeline, so neither frees them alone.
    assert all(row["own_bytes"] < row["stored_bytes"] / 4 for row in rows.values())
    runs = cli(*corn, "du", "--runs", "--json").ok().json["usage"]
    assert len(runs) == 3
    (named,) = cli(*corn, "du", "0002_stack", "--json").ok().json["usage"]
    assert 0 < named["own_bytes"] < named["stored_bytes"]
    cli(*corn, "du", "0002_stak").failed(13, "did you mean '0002_stack'?")


def test_verify_reads_everything_or_what_is_named(
    executable: Cli, cli: Cli, trained_own: Trained
) -> None:
    at = ("-w", trained_own.path, "-d", "corn", "artifacts", "verify")
    assert executable(*at).ok().out.startswith("corn: ok (")
    assert cli(*at, "0001_pls:1:0", "--json").ok().json["datasets"][0]["report"]["objects"] > 3
    flip(trained_own.path / "binaries" / "corn", b"sklearn.linear_model._ridge")
    broken = executable(*at)
    assert broken.code == 4
    assert "damaged  refs/pipelines/0002_stack:artifacts/0:all/" in broken.out
    # Damage is confined: what does not need the damaged object is whole.
    cli(*at, "0001_pls:1:0").ok()


def test_diff_of_runs_says_what_changed(
    executable: Cli, cli: Cli, corn: tuple[str], trained: Trained
) -> None:
    first, again, third = trained.runs
    same = executable(*corn, "diff", first, again, "--exit-code").ok()
    assert same.lines[0] == "no difference"
    changed = executable(*corn, "diff", first, third, "--exit-code")
    assert changed.code == 4
    assert "    param n_components: 2 → 3" in changed.lines
    assert "    array x_weights_  131×2 float64 → 131×3 float64" in changed.lines
    assert any("array coef_  2 float64  max |Δ| " in line for line in changed.lines)
    assert changed.lines[-2] == "1 same, 3 changed, 0 added, 0 removed"
    found = cli(*corn, "diff", first, third, "--json").ok().json["diff"]
    assert found["shared_bytes"] > 0
    assert len(found["changed"]) == 3


def test_diff_of_models_and_of_a_pipeline_over_time(
    cli: Cli, corn: tuple[str], trained: Trained
) -> None:
    models = cli(*corn, "diff", "0001_pls:1:0", "0001_pls:1:1").ok()
    assert models.lines[0] == "~ 0001_pls:1:0 → 0001_pls:1:1"
    over_time = cli(*corn, "diff", f"{trained.runs[0]}:0001_pls", "0001_pls").ok()
    assert "~ 1:0" in over_time.lines
    cli(*corn, "diff", trained.runs[0], "0001_pls").failed(2, "a run and a pipeline")


def test_diff_with_a_probe(cli: Cli, corn: tuple[str], tmp_path: Path) -> None:
    probe = tmp_path / "X.npy"
    cli(*corn, "diff", "0001_pls:1:0", "0001_pls:1:1", "--probe", probe).failed(1, "X.npy")
    np.save(probe, np.random.default_rng(0).normal(size=(5, 131)))
    said = cli(*corn, "diff", "0001_pls:1:0", "0001_pls:1:1", "--probe", probe, "--json").ok().json
    assert said["probe"]["rows"] == 5
    assert said["probe"]["max_abs"] > 0
    line = cli(*corn, "diff", "0001_pls:1:0", "0001_pls:1:1", "--probe", probe).ok().lines[-1]
    assert line.startswith("predictions of 5 rows: max |Δ| ")


def test_manifest_is_yaml(executable: Cli, cli: Cli, corn: tuple[str], trained: Trained) -> None:
    document = yaml.safe_load(executable(*corn, "manifest", "0001_pls").ok().out)
    assert document["schema_version"] == "2.0"
    assert [item["artifact_id"] for item in document["items"]] == [
        "0001_pls:0:all", "0001_pls:1:0", "0001_pls:1:1",
    ]  # fmt: skip
    earlier = cli(*corn, "manifest", "0001_pls", "--run", trained.runs[0], "--json").ok().json
    assert earlier["manifest"]["run_id"] == trained.runs[0]
    cli(*corn, "manifest", trained.runs[0]).failed(2, "is not a pipeline")


def test_du_of_what_is_no_ref(cli: Cli, corn: tuple[str], trained_own: Trained) -> None:
    at = ("-w", trained_own.path, "-d", "corn", "artifacts")
    cli(*at, "tag", "prod", "0001_pls").ok()
    cli(*at, "tag", "prod", "0002_stack", "--force").ok()
    oid = cli(*at[:-1], "rev-parse", "0001_pls:1:0").ok().out.strip()
    names = ("0001_pls:1:0", oid, "prod@{1}")
    rows = {row.pop("name"): row for row in cli(*at, "du", *names, "--json").ok().json["usage"]}
    assert rows.keys() == set(names)
    assert rows[oid] == rows["0001_pls:1:0"]
    # A model shares its scaler with that of the other fold; a pipeline, its models with the stack.
    artifact, before = rows[oid], rows["prod@{1}"]
    assert 0 < artifact["own_bytes"] < artifact["stored_bytes"] < before["stored_bytes"]
    assert 0 < before["own_bytes"] < artifact["own_bytes"]
    table = cli(*at, "du", "0001_pls:1:0").ok()
    assert table.lines[1].split()[0] == "0001_pls:1:0"
    cli(*at, "du", "0001_pls:1:9").failed(13, "hint: ")
    cli(*at, "du", "prod@{9}").failed(13, "reflog")


def test_the_newest_run_is_drawn_whole(cli: Cli, corn: tuple[str], trained: Trained) -> None:
    drawn = cli(*corn, "graph").ok()
    assert drawn.out == cli(*corn, "graph", trained.runs[2]).ok().out
    assert drawn.out == cli(*corn, "graph", "--run", trained.runs[2]).ok().out
    (top,) = [line for line in drawn.lines if line[0] not in "├└│ "]
    assert top.startswith("0002_stack:0:all  meta_model Ridge")
    assert drawn.out.count("(shared)") == 1  # the scaler, under the second fold
    nodes = cli(*corn, "graph", "--json").ok().json["nodes"]
    assert sorted(node["used_by"] for node in nodes) == [0, 1, 1, 2]
    cli(*corn, "graph", "20200101_000000").failed(13)


def test_a_probe_of_what_does_not_predict_has_a_hint(
    cli: Cli, corn: tuple[str], tmp_path: Path
) -> None:
    np.save(tmp_path / "X.npy", np.zeros((2, 3)))
    probe = ("--probe", tmp_path / "X.npy")
    told = cli(*corn, "diff", "0001_pls:0:all", "0001_pls:1:0", *probe)
    told.failed(2, "is a transformer", "hint: ", "find --type model")


def test_a_class_is_found_however_it_is_written(cli: Cli, corn: tuple[str]) -> None:
    plain = ids(cli(*corn, "find", "--class", "PLSRegression", "--json").ok())
    assert plain
    path = "sklearn.cross_decomposition._pls.PLSRegression"
    for name in ("plsregression", "PLS*", path, path.upper(), "sklearn.*PLSRegression"):
        assert ids(cli(*corn, "find", "--class", name, "--json").ok()) == plain, name
    missed = cli(*corn, "find", "--class", "sklearn.PLSRegresion").ok()
    assert "did you mean 'PLSRegression'?" in missed.err
    assert ids(cli(*corn, "find", "--class", "torch.PLSRegression", "--json").ok()) == []


def test_days_and_sizes_as_people_write_them(cli: Cli, corn: tuple[str]) -> None:
    assert len(ids(cli(*corn, "find", "--since", "yesterday", "--json").ok())) > 0
    assert len(ids(cli(*corn, "find", "--until", "Today", "--json").ok())) > 0
    assert ids(cli(*corn, "find", "--until", "yesterday", "--json").ok()) == []
    cli(*corn, "find", "--min-size", "2MB").failed(2, "did you mean '2MiB'?")
    cli(*corn, "find", "--max-size", "1.5 gb").failed(2, "did you mean '1.5GiB'?")
    cli(*corn, "find", "--since", "9999-12-31T23:59-14:00").failed(2, "is no date")
    cli(*corn, "find", "--date", "today").failed(2, "did you mean '--since' or '--until'?")


def test_a_flowchart_shows_names_and_runs_nothing() -> None:
    """What a class is called stands in a record, which may come from anywhere."""
    tree = ObjectId(bytes(32))
    name = '<img src=x onerror=alert(1)> "&#lt;`\x1b'
    node = LineageNode(tree, ("p:0:all",), "model", name, 3, ())
    (_, line) = as_mermaid(Lineage({tree: node}, (tree,)))
    label = line.removeprefix('  n0["p:0:all<br/>').removesuffix('"]')
    assert not set(label) & set('<>"&`\x1b')
    assert label.startswith("#lt;img src=x onerror=alert(1)#gt; #quot;#amp;#35;lt;#96;")

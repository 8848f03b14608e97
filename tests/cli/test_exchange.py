"""artifacts export and import; pack-objects, unpack-objects and index-pack."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from n4a_store.artifacts.loader import ArtifactLoader
from n4a_store.errors import UntrustedError
from tests.cli.conftest import Cli, SmallStore, Trained
from tests.cli.test_fsck import flip


def corn(trained: Trained) -> tuple[str | Path, ...]:
    return ("-w", trained.path, "-d", "corn")


def test_a_model_goes_to_a_colleague_with_all_it_needs(
    executable: Cli, trained: Trained, tmp_path: Path
) -> None:
    bundle, theirs = tmp_path / "stack.n4b", tmp_path / "theirs"
    sent = executable(*corn(trained), "artifacts", "export", "0002_stack:0:all", "-o", bundle).ok()
    assert sent.lines == ["refs/pipelines/0002_stack"]
    at = ("-w", theirs, "-d", "wheat", "artifacts")
    executable(*at, "import", bundle).failed(10, "--create")
    assert not theirs.exists()
    taken = executable(*at, "import", bundle, "--create").ok()
    assert "asks for trust" in taken.err
    graph = executable(*at, "graph", "0002_stack:0:all").ok().out
    assert graph.count("PLSRegression") == 2
    with pytest.raises(UntrustedError):
        ArtifactLoader(theirs, "wheat").load_by_id("0002_stack:0:all")
    mine = ArtifactLoader(trained.path, "corn").load_by_id("0002_stack:0:all")
    loaded = ArtifactLoader(theirs, "wheat", trust=True).load_by_id("0002_stack:0:all")
    assert np.array_equal(mine.coef_, loaded.coef_)


def test_runs_and_tags_travel_and_an_import_can_be_repeated(
    cli: Cli, trained_own: Trained, tmp_path: Path
) -> None:
    at, bundle = corn(trained_own), tmp_path / "run.n4b"
    cli(*at, "artifacts", "tag", "paper", trained_own.runs[0]).ok()
    cli(*at, "artifacts", "export", "paper", "-o", bundle).ok()
    theirs = ("-w", tmp_path / "theirs", "artifacts")
    cli(*theirs, "import", bundle, "--create", "--trust").ok()
    again = cli(*theirs, "import", bundle, "--trust", "--json").ok().json
    assert again["dataset"] == "corn"
    assert again["imported"]["received"]["added"] == 0
    assert f"run {trained_own.runs[0]}" in cli(*theirs, "show", "paper").ok().out
    assert ArtifactLoader(tmp_path / "theirs", "corn").load_by_id("0001_pls:1:0").n_components == 2
    # What stands here already, under its own id, is trusted as it was: nothing is to be taken.
    before = cli("-w", tmp_path / "theirs", "show-ref").ok().out
    assert "asks for trust" not in cli(*theirs, "import", bundle).ok().err
    assert cli("-w", tmp_path / "theirs", "show-ref").ok().out == before
    ArtifactLoader(tmp_path / "theirs", "corn").load_by_id("0001_pls:1:0")


def test_an_import_into_where_it_came_from_changes_nothing(
    cli: Cli, trained_own: Trained, tmp_path: Path
) -> None:
    at, bundle = corn(trained_own), tmp_path / "run.n4b"
    cli(*at, "artifacts", "tag", "paper", "0002_stack").ok()
    cli(*at, "artifacts", "export", "paper", "0001_pls", "-o", bundle).ok()
    refs = cli(*at, "show-ref").ok().out
    cli(*at, "artifacts", "import", bundle).ok()
    assert cli(*at, "show-ref").ok().out == refs
    # A ref that has gone comes back marked: it is not known any more to have been made here.
    cli(*at, "artifacts", "rm", "0001_pls", "--force").ok()
    cli(*at, "artifacts", "import", bundle).ok()
    ArtifactLoader(trained_own.path, "corn").load_by_id("0002_stack:0:all")
    with pytest.raises(UntrustedError):
        ArtifactLoader(trained_own.path, "corn").load_by_id("0001_pls:1:0")


def test_another_object_under_the_same_name_is_not_replaced_unasked(
    cli: Cli, trained_own: Trained, tmp_path: Path
) -> None:
    at, bundle = corn(trained_own), tmp_path / "run.n4b"
    cli(*at, "artifacts", "export", "0001_pls", "-o", bundle).ok()
    theirs = ("-w", tmp_path / "theirs", "artifacts")
    cli(*theirs, "import", bundle, "--create").ok()
    cli(*theirs, "import", bundle, "--trust").failed(2, "exists already", "--force")
    cli(*theirs, "import", bundle, "--trust", "--force").ok()
    ArtifactLoader(tmp_path / "theirs", "corn").load_by_id("0001_pls:1:0")
    cli(*theirs, "undo").ok()
    with pytest.raises(UntrustedError):
        ArtifactLoader(tmp_path / "theirs", "corn").load_by_id("0001_pls:1:0")


@pytest.mark.parametrize("place", [3, 20, 90, -400, -3])
def test_a_damaged_bundle_changes_nothing(
    cli: Cli, trained: Trained, tmp_path: Path, place: int
) -> None:
    bundle = tmp_path / "run.n4b"
    cli(*corn(trained), "artifacts", "export", trained.runs[0], "-o", bundle).ok()
    data = bytearray(bundle.read_bytes())
    data[place] ^= 1
    bundle.write_bytes(data)
    cli("init", tmp_path / "store").ok()
    result = cli("--store", tmp_path / "store", "artifacts", "import", bundle)
    assert result.code in (2, 4), result.err
    assert result.err.startswith("error: ")
    assert cli("--store", tmp_path / "store", "show-ref").ok().out == ""


def test_a_bundle_that_is_cut_short(cli: Cli, trained: Trained, tmp_path: Path) -> None:
    bundle = tmp_path / "run.n4b"
    cli(*corn(trained), "artifacts", "export", trained.runs[0], "-o", bundle).ok()
    data = bundle.read_bytes()
    cli("init", tmp_path / "store").ok()
    for length in (0, 5, 60, len(data) // 2, len(data) - 1):
        bundle.write_bytes(data[:length])
        assert cli("--store", tmp_path / "store", "artifacts", "import", bundle).code in (2, 4)


def test_a_bad_bundle_leaves_no_dataset_and_advises_another_copy(
    cli: Cli, trained: Trained, tmp_path: Path
) -> None:
    bundle = tmp_path / "run.n4b"
    cli(*corn(trained), "artifacts", "export", trained.runs[0], "-o", bundle).ok()
    data = bundle.read_bytes()
    bring = ("-w", tmp_path / "theirs", "-d", "new", "artifacts", "import", bundle, "--create")
    for length in (60, len(data) // 2, len(data) - 1):
        bundle.write_bytes(data[:length])
        cli(*bring).failed(4, "hint: the file was damaged on its way: get it again")
    assert not (tmp_path / "theirs").exists()
    bundle.write_bytes(data)
    cli(*bring).ok()


def test_export_refuses(cli: Cli, trained: Trained, tmp_path: Path) -> None:
    export = (*corn(trained), "artifacts", "export")
    there = tmp_path / "there"
    there.write_text("x")
    cli(*export, "0001_pls", "-o", there).failed(2, "exists already")
    assert there.read_text() == "x"
    cli(*export, "0001_pls").failed(2, "say where to")
    cli(*export, "0001_pls", "-o", tmp_path / "no" / "x").failed(2, "there is no folder")
    cli(*export, "0001_plz", "-o", tmp_path / "new").failed(13, "did you mean '0001_pls'?")
    cli(*export, "0001_pls:links", "-o", tmp_path / "new").failed(2, "plain object")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_export_as_readable_files(
    executable: Cli, cli: Cli, trained: Trained, tmp_path: Path
) -> None:
    at = (*corn(trained), "artifacts", "export", "--files", tmp_path / "files")
    executable(*at, trained.runs[0], trained.runs[1]).ok()
    files = sorted((tmp_path / "files").iterdir())
    assert [file.name.rsplit("_", 1)[0] for file in files] == [
        "meta_model_Ridge", "model_PLSRegression", "model_PLSRegression",
        "transformer_StandardScaler",
    ]  # fmt: skip
    model = pickle.loads(files[1].read_bytes())
    assert model.n_components == 2
    model.x_weights_ += 1  # arrays come back writable
    listed = cli(*at, "0001_pls", "--json").ok().json["files"]
    assert [file["artifact_ids"] for file in listed] == [
        ["0001_pls:0:all"], ["0001_pls:1:0"], ["0001_pls:1:1"],
    ]  # fmt: skip


def test_objects_from_store_to_store_by_pack(
    executable: Cli, cli: Cli, small: SmallStore, tmp_path: Path
) -> None:
    packed = executable(
        "--store", small.path, "pack-objects", "--revs", stdin="20261123_d4e5f6\n"
    ).ok()
    assert packed.err == "packed 5 objects\n"
    refused = executable("--store", small.path, "pack-objects", "--json", stdin="20261123_d4e5f6\n")
    assert refused.failed(2, "a pack is no JSON").out == ""
    cli("init", tmp_path / "store").ok()
    at = ("--store", tmp_path / "store")
    executable(*at, "unpack-objects", stdin=packed.stdout).ok()
    listed = cli(*at, "cat-file", "--batch-check", "--batch-all-objects").ok().lines
    assert len(listed) == 5
    cli(*at, "update-ref", "refs/runs/20261123_d4e5f6", small.second).ok()
    cli(*at, "fsck", "--full").ok()
    again = cli(*at, "unpack-objects", "--json", stdin=packed.stdout).ok().json["received"]
    assert (again["objects"], again["added"]) == (5, 0)


def test_packs_that_are_no_good(cli: Cli, small: SmallStore, tmp_path: Path) -> None:
    file = tmp_path / "some.n4p"
    named = f"{small.pipeline} a path that is ignored\n"
    packed = cli("pack-objects", file, "--json", "--store", small.path, stdin=named).ok().json
    assert packed["objects"] == 1
    cli("init", tmp_path / "store").ok()
    at = ("--store", tmp_path / "store")
    cli(*at, "unpack-objects", file).failed(13, "no object")  # its blobs are neither here nor there
    data = bytearray(file.read_bytes())
    data[40] ^= 1
    file.write_bytes(data)
    cli(*at, "unpack-objects", file).failed(4)
    cli(*at, "unpack-objects", stdin=b"junk").failed(4)
    cli("pack-objects", "--store", small.path, stdin="nowhere\n").failed(13)


def test_a_damaged_pack_is_salvaged(
    executable: Cli, cli: Cli, own: SmallStore, tmp_path: Path
) -> None:
    flip(own.path, b"hello\n")
    report = cli("--store", own.path, "verify-pack", "--json").json["packs"]
    (damaged,) = [pack["path"] for pack in report if pack["damage"]]
    said = executable("--store", own.path, "index-pack", Path(damaged).name)
    assert said.code == 4
    assert said.lines[-1] == f"lost {own.greeting}"
    assert cli("--store", own.path, "cat-file", "-s", own.binary).ok().out == "768\n"
    lost = cli("--store", own.path, "fsck")
    assert lost.code == 4
    assert "object-missing" in lost.out
    cli("--store", own.path, "index-pack").failed(2, "name packs, or pass --unlisted")
    cli("--store", own.path, "index-pack", "nowhere").failed(13, "no pack nowhere")
    cli("--store", own.path, "index-pack", damaged).failed(13, "no pack")  # it was, and is no more
    (whole, *_) = (own.path / "packs").glob("*.n4p")
    said = cli("--store", own.path, "index-pack", whole, "--json").ok().json["salvaged"]
    assert [pack["pack"] for pack in said] == [whole.stem]
    elsewhere = shutil.copy(own.path / "packs" / f"{said[0]['into'][0]}.n4p", tmp_path)
    cli("--store", own.path, "index-pack", elsewhere).failed(2, "is no pack of the store in")
    assert cli("--store", own.path, "index-pack", "--unlisted").ok().out == ""
    assert cli("--store", own.path, "index-pack", "--unlisted", "--json").ok().json["entered"] == []

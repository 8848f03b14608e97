"""Finished workspaces of nirs4all go into a store, and nirs4all predicts from what comes out."""

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("nirs4all", reason="needs the extra [nirs4all]")

from n4a_store import ArtifactLoader, ArtifactRegistry, UntrustedError
from n4a_store.integrations import nirs4all as integration
from n4a_store.integrations.nirs4all.exporting import export_workspace
from n4a_store.integrations.nirs4all.importing import import_workspace
from tests.integrations.training import (
    CASES,
    Case,
    catalog,
    files,
    generators,
    glucose,
    predict,
    replays,
    scores,
    train,
)

pytestmark = pytest.mark.nirs4all


def same(one: Path, other: Path) -> int:
    """How many chains replay, after checking that both workspaces predict the same."""
    count = 0
    for (name, ours), (_, theirs) in zip(
        replays(other, glucose()[0]), replays(one, glucose()[0]), strict=True
    ):
        if isinstance(theirs, np.ndarray):
            assert np.array_equal(ours, theirs), name
            count += 1
    return count


def test_a_workspace_of_files_goes_in_and_comes_out(tmp_path: Path) -> None:
    source, kept, out = tmp_path / "source", tmp_path / "kept", tmp_path / "out"
    for case in (CASES[1], CASES[3]):
        train(case, source)
    done = import_workspace(source, kept)
    assert len(done.runs) == 2
    named = catalog(source, "SELECT count(*) FROM artifacts")[0][0]
    assert done.artifacts == named
    assert (done.missing, done.damaged, done.running) == ([], [], [])
    again = import_workspace(source, kept)
    assert (again.artifacts, len(again.before)) == (0, 2)

    records = ArtifactRegistry(kept, "dataset").get_all_records()
    models = [record for record in records if record.class_name == "PLSRegression"]
    assert {record.fold_id for record in models} == {None, 0, 1, 2}
    assert {tuple(record.branch_path) for record in models} >= {(), (0,), (1,)}
    with pytest.raises(UntrustedError):
        ArtifactLoader(kept, "dataset").load_by_id(models[0].artifact_id)
    loader = ArtifactLoader(kept, "dataset", trust=True)
    assert type(loader.load_by_id(models[0].artifact_id)).__name__ == "PLSRegression"

    written = export_workspace(kept, out)
    assert written.missing == []
    assert sorted(files(out)) == sorted(files(source))
    assert scores(out) == scores(source)
    assert same(source, out) > 5


def test_the_default_engine_predicts_from_what_was_imported(tmp_path: Path) -> None:
    source, kept, out = tmp_path / "source", tmp_path / "kept", tmp_path / "out"
    case = Case("generators", generators)
    train(case, source, engine="dag-ml")
    X = glucose()[0]
    ((chain,),) = catalog(source, "SELECT chain_id FROM chains WHERE fold_artifacts != '{}'")
    expected = predict(source, X, chain_id=chain)
    assert import_workspace(source, kept).artifacts == 1
    shutil.rmtree(source)
    assert export_workspace(kept, out).files == 1
    assert np.array_equal(predict(out, X, chain_id=chain), expected)


def test_the_default_engine_still_works_where_the_integration_is_installed(tmp_path: Path) -> None:
    with integration.installed():
        train(Case("generators", generators), tmp_path, engine="dag-ml")
        ((chain,),) = catalog(tmp_path, "SELECT chain_id FROM chains WHERE fold_artifacts != '{}'")
        assert predict(tmp_path, glucose()[0], chain_id=chain).shape == (63,)


def test_what_was_trained_into_a_store_comes_out_as_files(tmp_path: Path) -> None:
    plain, kept, out = tmp_path / "plain", tmp_path / "kept", tmp_path / "out"
    train(CASES[2], plain)
    with integration.installed():
        train(CASES[2], kept)
    written = export_workspace(kept, out)
    assert (written.missing, files(kept)) == ([], [])
    # Equal objects are one file; upstream may have written two of them.
    assert 10 < len(files(out)) == written.files <= len(files(plain))
    # nirs4all alone, without the store.
    assert not integration.is_installed()
    assert same(plain, out) == 4


def test_rows_whose_file_is_gone_or_changed_are_told(tmp_path: Path) -> None:
    source = tmp_path / "source"
    train(CASES[0], source)
    gone = [name for name, said in replays(source, glucose()[0]) if isinstance(said, str)]
    assert gone  # files that upstream never wrote
    damaged = next((source / "artifacts").rglob("model_*"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    done = import_workspace(source, tmp_path / "kept")
    assert len(done.missing) >= len(gone)
    assert len(done.damaged) == 1
    assert damaged.name in done.damaged[0]

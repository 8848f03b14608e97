"""Exported files: what other tools read, under names that never decide what an artifact is."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n4a_store import ArtifactRegistry, InvalidInputError
from n4a_store.artifacts import types
from n4a_store.artifacts.files import ExportedFile, export_files
from n4a_store.artifacts.manifest_tree import PIPELINES, PipelineManifest

ROWS = np.random.default_rng(5).normal(size=(60, 6))


def export(registry: ArtifactRegistry, folder: Path, pipeline_id: str = "p") -> list[ExportedFile]:
    oid = registry.store.resolve(PIPELINES + pipeline_id)
    manifest = PipelineManifest.read(registry.store, pipeline_id, oid)
    keys = sorted(manifest.artifacts)
    return export_files(registry.store, [(manifest, key) for key in keys], folder)


def test_a_48_bit_collision_of_names_cannot_mix_two_objects(
    registry: ArtifactRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names for people are short; here all short hashes collide, and nothing is mixed up."""
    monkeypatch.setattr(types, "short_hash", lambda content_hash: "c011151075")
    objects: list[Any] = [["one"], ["two"], ["one"], {"three": 3}]
    with registry.run():
        for step, obj in enumerate(objects):
            registry.register(obj, f"p:{step}:all", "model")
    records = registry.get_all_records()
    assert records[0].path == records[1].path
    assert [registry.load_artifact(record) for record in records] == objects
    for _ in range(2):  # the second time into a folder where all of them are
        files = export(registry, tmp_path / "files")
        by_id = {name: file.path for file in files for name in file.artifact_ids}
        loaded = [pickle.loads(Path(by_id[record.artifact_id]).read_bytes()) for record in records]
        assert loaded == objects
        assert len(files) == len(list((tmp_path / "files").iterdir())) == 3


def test_a_file_in_the_way_is_never_overwritten(registry: ArtifactRegistry, tmp_path: Path) -> None:
    record = registry.register([1], "p:0:all", "model")
    mine = tmp_path / record.path
    mine.write_bytes(b"my notes")
    (file,) = export(registry, tmp_path)
    assert Path(file.path).name == f"model_list_{record.content_hash[7:]}.pkl"
    assert pickle.loads(Path(file.path).read_bytes()) == [1]
    Path(file.path).write_bytes(b"mine as well")
    with pytest.raises(InvalidInputError, match="p:0:all would go") as caught:
        export(registry, tmp_path)
    assert caught.value.hint == "export into an empty folder"
    assert mine.read_bytes() == b"my notes"


def test_files_are_what_their_libraries_read(registry: ArtifactRegistry, tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    pyarrow = pytest.importorskip("pyarrow")
    xgboost = pytest.importorskip("xgboost")
    frame = polars.DataFrame({"a": [1, None], "b": ["x", "é"]})
    table = pyarrow.table({"x": np.arange(3000.0)})
    model = xgboost.XGBRegressor(n_estimators=3).fit(ROWS, ROWS[:, 0])
    large = {"coef": np.arange(2000.0)}
    with registry.run():
        for step, obj in enumerate([frame, table, model, large, ROWS]):
            registry.register(obj, f"p:{step}:all", "model")
    paths = [file.path for file in export(registry, tmp_path)]
    assert polars.read_ipc(paths[0]).equals(frame)
    with pyarrow.ipc.open_stream(Path(paths[1]).read_bytes()) as reader:
        assert reader.read_all().equals(table)
    again = xgboost.XGBRegressor()
    again.load_model(paths[2])
    assert np.array_equal(again.predict(ROWS), model.predict(ROWS))
    assert np.array_equal(pickle.loads(Path(paths[3]).read_bytes())["coef"], large["coef"])
    assert np.array_equal(np.load(paths[4], allow_pickle=False), ROWS)

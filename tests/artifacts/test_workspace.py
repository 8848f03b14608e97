"""A workspace keeps datasets apart, and creates only what it is told to."""

from __future__ import annotations

from pathlib import Path

import pytest

from n4a_store import (
    ArtifactRegistry,
    CorruptionError,
    InvalidInputError,
    InvalidNameError,
    StoreNotFoundError,
)
from n4a_store.artifacts.workspace import Workspace


def test_looking_creates_nothing(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "new")
    for look in (workspace.datasets, lambda: workspace.store("corn")):
        with pytest.raises(StoreNotFoundError):
            look()
    assert not (tmp_path / "new").exists()


def test_datasets_are_listed_and_opened(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for name in ("wheat", "corn"):
        workspace.create(name).close()
    assert workspace.datasets() == ["corn", "wheat"]
    with pytest.raises(StoreNotFoundError, match="maize"):
        workspace.store("maize")


def test_a_name_that_only_case_tells_from_another_is_refused(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.create("Corn").close()
    with pytest.raises(InvalidNameError, match="'Corn'"):
        workspace.create("corn")
    workspace.create("Corn").close()
    assert workspace.datasets() == ["Corn"]


@pytest.mark.parametrize("name", ["../../x", "a/b", "", ".", "con", "a:b", "x\x07", "a" * 300])
def test_a_bad_name_touches_no_file(tmp_path: Path, name: str) -> None:
    workspace = Workspace(tmp_path / "new")
    for ask in (workspace.create, workspace.store):
        with pytest.raises(InvalidNameError):
            ask(name)
    assert list(tmp_path.iterdir()) == []


def test_before_the_first_artifact_no_id_is_known(tmp_path: Path) -> None:
    registry = ArtifactRegistry(tmp_path / "nowhere", "corn")
    assert registry.resolve("p:0:all") is None
    assert registry.resolve_by_hash("blake3:" + 64 * "0") == []
    with pytest.raises(InvalidInputError, match="step and fold"):
        registry.resolve("p")
    assert not (tmp_path / "nowhere").exists()
    other = ArtifactRegistry(tmp_path / "nowhere", "corn")
    record = other.register(1, "p:0:all", "model")
    assert registry.resolve("p:0:all") == record
    (tmp_path / "nowhere" / "binaries" / "wheat").mkdir()  # neither new nor a store
    with pytest.raises(StoreNotFoundError, match="no dataset 'wheat'"):
        ArtifactRegistry(tmp_path / "nowhere", "wheat").resolve("p:0:all")


def test_a_dataset_that_has_lost_its_format_file_is_listed_and_refused(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws")
    workspace.create("corn").close()
    workspace.create("rye").close()
    (tmp_path / "ws" / "binaries" / "corn" / "format").unlink()
    assert workspace.datasets() == ["corn", "rye"]
    for opened in (workspace.store, workspace.create):
        with pytest.raises(CorruptionError, match="'format' is missing"):
            opened("corn")

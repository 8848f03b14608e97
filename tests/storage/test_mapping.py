"""n4a_store.storage.mapping: many files mapped, few of them held open."""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from n4a_store.storage import mapping
from n4a_store.storage.files import map_file
from tests.children import child, ended
from tests.descriptors import open_files

before_3_13 = pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="Python's own mmap keeps no descriptor there"
)


def mapped(path: Path) -> int:
    return Path("/proc/self/maps").read_text().count(f"{path}/")


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    found = [tmp_path / f"f{number}" for number in range(100)]
    for number, path in enumerate(found):
        path.write_bytes(b"%d" % number * (1 + 700 * number))
    return found


@pytest.fixture
def none_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping, "_FEW", 0)


def test_many_mappings_hold_few_files_open(paths: list[Path], tmp_path: Path) -> None:
    before = open_files()
    views = [map_file(path) for path in paths]
    assert mapped(tmp_path) == 100
    assert open_files() <= before + mapping._FEW
    for path, view in zip(paths, views, strict=True):
        assert (view, view.format, view.readonly) == (path.read_bytes(), "B", True)
    del view
    views.clear()
    assert mapped(tmp_path) == 0
    assert open_files() == before


@before_3_13
@pytest.mark.usefixtures("none_kept")
def test_a_mapping_stays_as_long_as_any_view_of_it(paths: list[Path], tmp_path: Path) -> None:
    before = open_files()
    whole = map_file(paths[9])
    parts = [np.frombuffer(whole[8:16].cast("Q"), dtype="<u8")]
    del whole
    paths[9].unlink()

    def look() -> None:
        assert parts[0].tobytes() == b"9" * 8
        assert not parts[0].flags.writeable

    assert (mapped(tmp_path), open_files()) == (1, before)
    look()
    assert ended(child(look)) == 0
    parts.clear()
    assert mapped(tmp_path) == 0


@before_3_13
@pytest.mark.usefixtures("none_kept")
@pytest.mark.parametrize("error", [ImportError, AttributeError, OSError])
def test_where_it_cannot_be_a_mapping_holds_its_file(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def refuse() -> None:
        raise error

    before = open_files()
    monkeypatch.setattr(mapping, "_c_mmap", refuse)
    view = map_file(paths[3])
    assert view == paths[3].read_bytes()
    assert open_files() == before + 1


@before_3_13
@pytest.mark.usefixtures("none_kept")
def test_a_place_that_may_be_another_s_is_not_unmapped(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up: list[mmap.mmap] = []
    monkeypatch.setattr(mapping, "_given_up", given_up)
    monkeypatch.setattr(mapping, "_c_mmap", lambda: lambda *_: None)
    assert map_file(paths[3]) == paths[3].read_bytes()
    assert [len(area) for area in given_up] == [os.stat(paths[3]).st_size]

"""Workspaces of nirs4all that were made to do harm: they are somebody else's."""

import os
from pathlib import Path

import pytest

from n4a_store import InvalidInputError
from n4a_store.integrations.nirs4all.exporting import export_workspace
from n4a_store.integrations.nirs4all.importing import import_workspace
from tests.integrations.workspaces import make_workspace

SECRET = b"TOP SECRET KEY 123"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = make_workspace(tmp_path / "source")
    (source / "native_results" / "run").mkdir(parents=True)
    (source / "native_results" / "run" / "x.json").write_bytes(b"{}")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "id_rsa").write_bytes(SECRET)
    return source


# --- links ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "target"),
    [
        ("arrays", "secret"),
        ("arrays", "secret/id_rsa"),
        ("native_results/inner", "secret"),
        ("native_results/run/inner", "secret"),
        ("native_results/run/y.json", "secret/id_rsa"),
        ("native_results/run/y.json", "nowhere"),
    ],
)
def test_nothing_is_read_through_a_link(
    source: Path, tmp_path: Path, place: str, target: str
) -> None:
    (source / place).symlink_to(tmp_path / target)
    done = import_workspace(source, tmp_path / "ws")
    assert done.damaged == [f"{place} is a link, or no file: it was not read"]
    export_workspace(tmp_path / "ws", tmp_path / "out")
    assert (tmp_path / "out" / "native_results" / "run" / "x.json").read_bytes() == b"{}"
    written = [path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert SECRET not in written
    with pytest.raises(InvalidInputError, match="is a link"):
        export_workspace(source, tmp_path / "other")
    assert not (tmp_path / "other" / place).exists()


def test_what_is_no_file_is_not_waited_for(source: Path, tmp_path: Path) -> None:
    os.mkfifo(source / "native_results" / "run" / "pipe")
    done = import_workspace(source, tmp_path / "ws")
    assert done.damaged == ["native_results/run/pipe is a link, or no file: it was not read"]

"""Registries and loaders that nobody closes, as in a notebook: their files do not stay open."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from n4a_store import ArtifactLoader, ArtifactRegistry, Workspace
from n4a_store.integrations.nirs4all.reading import DatasetReader

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="looks for open files there"
)


def a_registration(workspace: Workspace) -> None:
    registry = ArtifactRegistry(workspace, "corn")
    registry.register([1], "p:0:all", "model")


def a_run(workspace: Workspace) -> None:
    registry = ArtifactRegistry(workspace, "corn")
    with registry.run():
        registry.register([2], "p:0:all", "model")
        registry.register([3], "q:0:all", "model", depends_on=["p:0:all"])


def a_run_that_nobody_ends(workspace: Workspace) -> None:
    registry = ArtifactRegistry(workspace, "corn")
    registry.start_run()
    registry.register([4], "p:0:all", "model")


def a_question(workspace: Workspace) -> None:
    assert ArtifactRegistry(workspace, "corn").resolve("p:0:all") is not None


def a_load(workspace: Workspace) -> None:
    assert ArtifactLoader(workspace, "corn").load_by_id("p:0:all") == [0]


def a_load_of_nirs4all(workspace: Workspace) -> None:
    assert DatasetReader(workspace.path, "corn")._view.get("p:0:all").record.version == 1


def a_store(workspace: Workspace) -> None:
    assert workspace.store("corn").refs()


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Whatever is freed is freed because nothing holds it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def open_below(folder: Path) -> list[str]:
    links = (os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
    opened = (os.readlink(link) for link in links if os.path.lexists(link))
    return [path for path in opened if path.startswith(str(folder))]


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    "what",
    [
        a_registration,
        a_run,
        a_run_that_nobody_ends,
        a_question,
        a_load,
        a_load_of_nirs4all,
        a_store,
    ],
)
def test_what_is_dropped_is_closed(what: object, workspace: Workspace) -> None:
    assert callable(what)
    with ArtifactRegistry(workspace, "corn") as registry:
        registry.register([0], "p:0:all", "model")
    assert open_below(workspace.path) == []
    what(workspace)
    assert open_below(workspace.path) == []

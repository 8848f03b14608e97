"""What a run commits at a time, and what is there when its process dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from n4a_store import ArtifactLoader, ArtifactRegistry, InvalidInputError, Store
from n4a_store.artifacts.manifest_files import write_renditions
from n4a_store.artifacts.manifest_tree import PipelineManifest
from n4a_store.artifacts.workspace import Workspace
from n4a_store.errors import StoreNotFoundError
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.settings import CommitEach, Settings

X = np.arange(40.0).reshape(10, 4) ** 1.5
Y = X @ [1.0, 2.0, 3.0, 4.0]


def scaler(shift: float = 0.0) -> StandardScaler:
    return StandardScaler().fit(X + shift)


def ridge(alpha: float) -> Ridge:
    return Ridge(alpha).fit(X, Y)


def seen(folder: Path) -> list[str]:
    """The artifacts that a process which knows nothing yet can see."""
    registry = ArtifactRegistry(folder, "d")
    try:
        return sorted(record.artifact_id for record in registry.get_all_records())
    except StoreNotFoundError:
        return []
    finally:
        registry.close()


def operations(store: Store) -> list[str]:
    with store.catalog.read() as reader:
        return [op.action for op in reader.ops()]


def test_a_run_that_commits_once_shows_nothing_before_its_end(tmp_path: Path) -> None:
    registry = ArtifactRegistry(tmp_path, "d")
    with registry.run(commit_each="run") as run:
        for number in range(4):
            registry.register(scaler(number), f"p{number}:1:all", "transformer")
            registry.register(
                ridge(number + 1), f"p{number}:2:all", "model", depends_on=[f"p{number}:1:all"]
            )
            registry.complete_pipeline(f"p{number}")
        assert seen(tmp_path) == []
        assert run.completed == ["p0", "p1", "p2", "p3"]
        # One's own writes are there at once.
        record = registry.resolve("p2:2:all")
        assert record is not None
        assert registry.load_artifact(record).alpha == 3
        assert [r.artifact_id for r in registry.resolve_dependencies("p2:2:all")] == ["p2:1:all"]
        collect(registry.store, expire_now=True, thorough=True)
    assert seen(tmp_path) == [f"p{number}:{step}:all" for number in range(4) for step in (1, 2)]
    assert operations(registry.store).count("register") == 1
    with registry.store.catalog.read() as reader:
        assert len(reader.packs()) == 1
    with ArtifactLoader(tmp_path, "d") as loader:
        np.testing.assert_array_equal(loader.load_by_id("p3:2:all").predict(X), ridge(4).predict(X))
    manifests = sorted(tmp_path.glob("runs/d/*/*/manifest.yaml"))
    assert [path.parent.name for path in manifests] == ["p0", "p1", "p2", "p3"]
    assert fsck(registry.store, full=True).ok
    registry.close()


def test_what_is_complete_is_kept_when_the_run_fails(tmp_path: Path) -> None:
    registry = ArtifactRegistry(tmp_path, "d")

    def train() -> None:
        with registry.run(commit_each=CommitEach.RUN):
            registry.register(scaler(), "good:1:all", "transformer")
            registry.complete_pipeline("good")
            registry.register(ridge(1), "bad:1:all", "model", depends_on=["good:1:all"])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()
    assert seen(tmp_path) == ["good:1:all"]
    registry.start_run(commit_each="run")
    registry.register(scaler(5), "gone:1:all", "transformer")
    registry.complete_pipeline("gone")
    assert registry.cleanup_failed_run(completed=True) == 1
    assert seen(tmp_path) == ["good:1:all"]
    assert fsck(registry.store, full=True).ok
    registry.close()


def test_a_checkpoint_commits_what_is_complete_and_goes_on_with_the_rest(tmp_path: Path) -> None:
    registry = ArtifactRegistry(tmp_path, "d")
    with registry.run(commit_each="run") as run:
        run.checkpoint()  # nothing yet
        registry.register(scaler(1), "p:1:all", "transformer")
        registry.complete_pipeline("p")
        registry.register(scaler(2), "q:1:all", "transformer")
        registry.register(ridge(7), "q:2:all", "model", depends_on=["q:1:all", "p:1:all"])
        run.checkpoint()
        assert seen(tmp_path) == ["p:1:all"]
        collect(registry.store, expire_now=True, thorough=True)
        registry.register(ridge(8), "q:3:all", "model", depends_on=["q:1:all"])
        registry.complete_pipeline("q")
    assert seen(tmp_path) == ["p:1:all", "q:1:all", "q:2:all", "q:3:all"]
    assert registry.get_dependencies("q:2:all") == ["q:1:all", "p:1:all"]
    assert fsck(registry.store, full=True).ok
    registry.close()


def test_a_waiting_pipeline_can_go_on_and_fall_back(tmp_path: Path) -> None:
    registry = ArtifactRegistry(tmp_path, "d")
    with registry.run(commit_each="run"):
        registry.register(ridge(1), "p:1:all", "model")
        registry.complete_pipeline("p")
        registry.complete_pipeline("p")  # nothing new
        registry.register(ridge(2), "p:1:all", "model")
        registry.register(ridge(3), "p:2:all", "model")
        assert registry.discard_pipeline("p") == 2
        record = registry.resolve("p:1:all")
        assert record is not None
        assert registry.load_artifact(record).alpha == 1
        assert registry.resolve("p:2:all") is None
        registry.register(ridge(4), "p:3:all", "model")
        registry.complete_pipeline("p")
        with pytest.raises(InvalidInputError, match="training pipeline p"):
            registry.delete_pipeline_artifacts("p")
    assert seen(tmp_path) == ["p:1:all", "p:3:all"]
    registry.close()


def test_a_pipeline_that_goes_on_over_a_checkpoint_counts_what_was_registered(
    tmp_path: Path,
) -> None:
    registry = ArtifactRegistry(tmp_path, "d")
    with registry.run(commit_each="run") as run:
        for name in ("p:1:all", "p:2:all", "p:2:all"):
            registry.register(ridge(1), name, "model")
        registry.complete_pipeline("p")
        assert registry.register(ridge(2), "p:2:all", "model").version == 3
        registry.register(ridge(3), "p:3:all", "model")
        run.checkpoint()
        assert seen(tmp_path) == ["p:1:all", "p:2:all"]
        collect(registry.store, expire_now=True, thorough=True)
        assert registry.register(ridge(4), "p:3:all", "model").version == 2
        registry.complete_pipeline("p")
    found = {record.artifact_id: record for record in registry.get_all_records()}
    versions = {name: record.version for name, record in found.items()}
    assert versions == {"p:1:all": 1, "p:2:all": 3, "p:3:all": 2}
    alphas = {name: registry.load_artifact(record).alpha for name, record in found.items()}
    assert alphas == {"p:1:all": 1, "p:2:all": 2, "p:3:all": 4}
    assert fsck(registry.store, full=True).ok
    registry.close()


_DIE = """
import os, signal, sys
from sklearn.linear_model import Ridge
from n4a_store import ArtifactRegistry
registry = ArtifactRegistry(sys.argv[1], "d")
run = registry.start_run(commit_each=sys.argv[2])
for number in range(3):
    registry.register(Ridge().fit([[number], [2.0]], [1.0, 3.0]), f"p{number}:1:all", "model")
    registry.complete_pipeline(f"p{number}")
    if number == 0 and sys.argv[3] == "checkpoint":
        run.checkpoint()
registry.register(Ridge().fit([[5.0], [2.0]], [1.0, 3.0]), "open:1:all", "model")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("each", "checkpoint", "kept"),
    [
        ("artifact", "", ["open:1:all", "p0:1:all", "p1:1:all", "p2:1:all"]),
        ("pipeline", "", ["p0:1:all", "p1:1:all", "p2:1:all"]),
        ("run", "", []),
        ("run", "checkpoint", ["p0:1:all"]),
    ],
)
def test_what_a_killed_process_leaves(
    tmp_path: Path, each: str, checkpoint: str, kept: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _DIE, str(tmp_path), each, checkpoint], check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert seen(tmp_path) == kept
    with Workspace(tmp_path).store("d") as store:
        assert fsck(store, full=True).ok
        collect(store, expire_now=True, thorough=True)
        assert os.listdir(store.layout.transactions) == []
        assert fsck(store, full=True).ok
    assert seen(tmp_path) == kept


def test_each_artifact_is_there_at_once(tmp_path: Path) -> None:
    registry = ArtifactRegistry(tmp_path, "d")
    with registry.run(commit_each="artifact"):
        registry.register(scaler(), "p:1:all", "transformer")
        assert seen(tmp_path) == ["p:1:all"]
        registry.register(ridge(1), "p:2:all", "model", depends_on=["p:1:all"])
        assert seen(tmp_path) == ["p:1:all", "p:2:all"]
        assert registry.discard_pipeline("p") == 0
        again = registry.register(ridge(2), "p:2:all", "model", depends_on=["p:1:all"])
        assert again.version == 2
        registry.complete_pipeline("p")
    assert seen(tmp_path) == ["p:1:all", "p:2:all"]
    registry.close()


def test_the_settings_choose_and_a_typo_is_refused(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, settings=Settings(commit_each=CommitEach.RUN))
    registry = ArtifactRegistry(workspace, "d")
    with registry.run():
        registry.register(scaler(), "p:1:all", "transformer")
        registry.complete_pipeline("p")
        assert seen(tmp_path) == []
    assert seen(tmp_path) == ["p:1:all"]
    with pytest.raises(InvalidInputError, match="runn") as caught:
        registry.start_run(commit_each="runn")
    assert "pipeline" in str(caught.value.hint)
    with registry.run(commit_each="pipeline"):
        registry.register(scaler(3), "q:1:all", "transformer")
        registry.complete_pipeline("q")
        assert seen(tmp_path) == ["p:1:all", "q:1:all"]
    registry.close()


@pytest.mark.parametrize("is_run", [True, False])
def test_what_stays_is_remembered_as_it_is(
    registry: ArtifactRegistry, other: ArtifactRegistry, is_run: bool
) -> None:
    """Its records are not read at each commit, whatever others do to the pipeline meanwhile."""
    if is_run:
        registry.start_run(commit_each="artifact")

    def check() -> None:
        oid = registry.store.ref("refs/pipelines/p").oid
        manifest = PipelineManifest.read(registry.store, "p", oid)
        layout = registry.workspace.layout
        written = layout.manifest("corn", manifest.run_id, "p").read_text()
        write_renditions(layout, "corn", registry.store, manifest.run_id, {"p": oid})
        assert layout.manifest("corn", manifest.run_id, "p").read_text() == written

    registry.register([0], "p:0:all", "transformer", params={"a": 1})
    registry.register([1], "p:1:all", "model", depends_on=["p:0:all"])
    check()
    registry.register([2], "p:2:all", "model")
    check()
    other.register([3], "p:1:all", "model")  # another run's: the next commit counts on from it
    registry.register([4], "p:4:all", "model")
    check()
    registry.register([5], "p:0:all", "transformer")
    registry.register([6], "p:6:all", "model", depends_on=["p:1:all"])
    check()
    assert [record.version for record in registry.get_all_records("p")][:1] != [1]
    if is_run:
        registry.end_run()
    assert fsck(registry.store, full=True).ok


def test_a_version_that_others_have_raised_is_the_one_that_is_told(
    registry: ArtifactRegistry, other: ArtifactRegistry
) -> None:
    with registry.run():
        assert registry.register([0], "p:0:all", "model").version == 1
        other.register([1], "p:0:all", "model")
        registry.complete_pipeline("p")
        registry.register([2], "p:1:all", "model")  # goes on from what it has committed
        told = registry.resolve("p:0:all")
        assert told is not None
        assert told.version == 2
    assert registry.get_all_records("p")[0].version == 2

"""Two ways to run a command: the real executable, and the same entry point in this process.

The executable costs a tenth of a second and more each time, so every command is run by it at
least once and its further cases through `cli`, which differs in nothing but the process.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from n4a_store.cli.main import run

EXECUTABLE = Path(sys.executable).with_name("n4a-store")


@dataclass(frozen=True, slots=True)
class Result:
    """What a command did: its exit code and the bytes it wrote."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def out(self) -> str:
        return self.stdout.decode("utf-8")

    @property
    def err(self) -> str:
        return self.stderr.decode("utf-8")

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        document = json.loads(self.out)
        assert document["schema"] == 1
        return document

    def ok(self) -> Result:
        """This result, which must be a success without a word on stderr but narration."""
        assert self.code == 0, self.err
        assert "Traceback" not in self.err
        assert "error:" not in self.err
        return self

    def failed(self, code: int, *said: str) -> Result:
        """This result, which must be a clear error: its code, `error:`, `hint:`, and no data."""
        assert self.code == code, (self.code, self.err)
        assert self.err.startswith("error: "), self.err
        assert "Traceback" not in self.err
        for text in said:
            assert text in self.err, self.err
        return self


Cli = Callable[..., Result]


@pytest.fixture(autouse=True)
def _no_width_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who run the tests, or run them in parallel, may have set a width for themselves."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run a command in this process."""

    def call(*argv: str | Path, stdin: bytes | str = b"", cwd: Path | None = None) -> Result:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        out, err = io.BytesIO(), io.BytesIO()
        stdout = io.TextIOWrapper(out, "utf-8", write_through=True)
        stderr = io.TextIOWrapper(err, "utf-8", write_through=True)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), "utf-8"))
            patch.setattr(sys, "stdout", stdout)
            patch.setattr(sys, "stderr", stderr)
            if cwd is not None:
                patch.chdir(cwd)
            code = run([str(word) for word in argv])
        stdout.flush()
        stderr.flush()
        return Result(code, out.getvalue(), err.getvalue())

    return call


@pytest.fixture(scope="session")
def executable() -> Cli:
    """Run a command as a process of its own, not on a terminal."""

    def call(
        *argv: str | Path,
        stdin: bytes | str = b"",
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Result:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("N4A_", "NO_COLOR", "COLUMNS"))
        }
        done = subprocess.run(
            [EXECUTABLE, *map(str, argv)],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            check=False,
            cwd=cwd,
            env=kept | dict(env or {}),
            timeout=120,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return call


@dataclass(frozen=True, slots=True)
class SmallStore:
    """A store of its own with a few objects that the commands can be asked about."""

    path: Path
    greeting: str  # a blob, b"hello\n"
    binary: str  # a blob that is no text
    pipeline: str  # a tree of both
    pipelines: str  # a tree of the pipeline
    first: str  # a run
    second: str  # a run whose parent is the first


@pytest.fixture(scope="session")
def small_template(tmp_path_factory: pytest.TempPathFactory) -> SmallStore:
    from n4a_store.objects.model import Run, RunStatus
    from n4a_store.repo.store import Store

    path = tmp_path_factory.mktemp("small") / "store"
    with Store.init(path) as store:
        with store.transaction("first") as txn:
            greeting = txn.put_blob(b"hello\n")
            binary = txn.put_blob(bytes(range(256)) * 3)
            pipeline = txn.put_tree({"greeting": greeting, "binary": binary})
            pipelines = txn.put_tree({"0001_pls": pipeline})
            first = txn.put_run(
                Run(pipelines, "corn", "2026-11-22T08:00:00+00:00", RunStatus.COMPLETE,
                    environment={"python": "3.11.7"}, message="the first\nof two")
            )  # fmt: skip
            txn.set_ref("refs/runs/20261122_a1b2c3", first, expect=None)
            txn.set_ref("refs/tags/production", greeting, expect=None)
        with store.transaction("second") as txn:
            second = txn.put_run(
                Run(pipelines, "corn", "2026-11-23T08:00:00+00:00", RunStatus.FAILED,
                    parents=(first,))
            )  # fmt: skip
            txn.set_ref("refs/runs/20261123_d4e5f6", second, expect=None)
            txn.set_ref("refs/pipelines/0001_pls", pipeline, expect=None)
            txn.set_ref("refs/tags/production", pipeline, expect=greeting)
    ids = (greeting, binary, pipeline, pipelines, first, second)
    return SmallStore(path, *(oid.hex for oid in ids))


@pytest.fixture
def small(small_template: SmallStore) -> SmallStore:
    """The small store, for looking at only."""
    return small_template


@pytest.fixture
def own(small_template: SmallStore, tmp_path: Path) -> SmallStore:
    """A copy of the small store, for changing."""
    path = tmp_path / "own"
    shutil.copytree(small_template.path, path)
    return dataclasses.replace(small_template, path=path)


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without a single object."""
    from n4a_store.repo.store import Store

    path = tmp_path_factory.mktemp("empty") / "store"
    Store.init(path).close()
    return path


@dataclass(frozen=True, slots=True)
class Trained:
    """A workspace of two datasets; `corn` was trained twice alike, then with other parameters."""

    path: Path
    runs: tuple[str, str, str]  # of corn, oldest first
    other: str  # the run of fermentation


@pytest.fixture(scope="session")
def trained_template(
    tmp_path_factory: pytest.TempPathFactory, fermentation: tuple[Any, Any]
) -> Trained:
    from tests.cli.workspaces import train

    X, y = fermentation
    X = X[:, ::8]
    path = tmp_path_factory.mktemp("trained") / "ws"
    runs = tuple(
        train(path, "corn", X, y, message, components)
        for message, components in (("first", 2), ("again", 2), ("three components", 3))
    )
    return Trained(path, runs, train(path, "fermentation", X[:, ::2], y, "other"))  # type: ignore[arg-type]


@pytest.fixture
def trained(trained_template: Trained) -> Trained:
    """The trained workspace, for looking at only."""
    return trained_template


@pytest.fixture
def trained_own(trained_template: Trained, tmp_path: Path) -> Trained:
    """A copy of the trained workspace, for changing."""
    path = tmp_path / "ws"
    shutil.copytree(trained_template.path, path)
    return dataclasses.replace(trained_template, path=path)

"""A disk that refuses: a clear error of ours, the store as before, the next attempt works."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from n4a_store import BackendError, Store
from n4a_store.repo.fsck import fsck
from n4a_store.storage import system
from n4a_store.testing.faults import ERRORS
from n4a_store.testing.recorder import RecorderMissing, run_recorded


def run(tmp_path: Path, *options: str) -> dict[str, object]:
    root = tmp_path / "root"
    root.mkdir()
    arguments = ["-m", "n4a_store.testing.faults", str(root), *options]
    try:
        done = run_recorded(arguments, root, tmp_path, log=False)
    except RecorderMissing as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_some_calls_of_every_operation_fail_sqlites_own_included(tmp_path: Path) -> None:
    report = run(tmp_path, "--every", "13")
    assert report["findings"] == []
    assert isinstance(report["cases"], int)
    assert report["cases"] > 20


@pytest.mark.slow
def test_every_call_of_every_operation_fails_with_every_error(tmp_path: Path) -> None:
    report = run(tmp_path, "--all-errors")
    assert report["findings"] == []
    assert isinstance(report["cases"], int)
    assert report["cases"] > 1_000


class FailingStep:
    """Fails the n-th step that changes the disk."""

    def __init__(self, nth: int, error: int) -> None:
        self.left = nth
        self.error = error
        self.failed = ""

    def __call__(self, step: str, path: str) -> None:
        if step.startswith("catalog-"):
            return  # SQLite's calls are made to fail under the recorder
        self.left -= 1
        if self.left == -1:
            self.failed = step
            raise OSError(self.error, os.strerror(self.error), path)


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.__getitem__)
def test_a_creation_that_fails_leaves_nothing(tmp_path: Path, error: int) -> None:
    steps = set()
    said: list[str] = []
    for nth in range(200):
        place = tmp_path / str(nth)
        place.mkdir()
        fault = FailingStep(nth, error)
        before = system.observe(fault)
        try:
            store = Store.init(place / "deep" / "store")
        except BackendError as refused:
            said.append(f"{refused} ({refused.hint})")
            system.observe(before)
        else:
            system.observe(before)
            store.close()
            break
        steps.add(fault.failed)
        made_visible = (place / "deep" / "store").exists()
        if not made_visible:
            assert list(place.iterdir()) == []
            Store.init(place / "deep" / "store").close()
        with Store.open(place / "deep" / "store") as whole:
            assert fsck(whole, full=True).problems == ()
    assert all(os.strerror(error) in each for each in said)
    assert not any("(None)" in each for each in said)  # each says what to do
    assert steps >= {"mkdir", "create", "write", "fsync", "rename"}


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.__getitem__)
def test_each_step_of_a_commit_fails_in_turn(tmp_path: Path, error: int) -> None:
    store = Store.init(tmp_path / "store")
    done = 0
    said: list[str] = []
    for nth in range(100):
        fault = FailingStep(nth, error)
        before = system.observe(fault)
        try:
            with store.transaction() as txn:
                txn.set_ref(f"refs/tags/{nth}", txn.put_tree({"n": txn.put_blob(b"%d" % nth)}))
        except BackendError as refused:
            said.append(str(refused))
        else:
            done += 1
        finally:
            system.observe(before)
        if not fault.failed:
            break
        assert len(store.refs()) == done
        assert fsck(store, full=True).ok
    assert nth > 8
    assert len(said) > 4
    assert all(os.strerror(error) in each for each in said)
    with store.transaction() as txn:
        txn.set_ref("refs/tags/last", txn.put_blob(b"last"))
    assert store.get(store.resolve("last")) == b"last"

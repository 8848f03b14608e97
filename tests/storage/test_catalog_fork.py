"""A fork beside or inside catalog work: the child must not touch what is the parent's."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from n4a_store.errors import BackendError
from n4a_store.settings import Durability
from n4a_store.storage import fork_gate, system
from n4a_store.storage.catalog import Catalog
from n4a_store.storage.rows import RefRow

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")


def make(folder: Path) -> Catalog:
    Catalog.create(folder / "catalog.db")
    return Catalog(folder / "catalog.db", folder / "commit.lock", Durability.FULL)


def reopen(folder: Path) -> Catalog:
    return Catalog(folder / "catalog.db", folder / "commit.lock", Durability.FULL)


def put(catalog: Catalog, name: str) -> None:
    with catalog.write() as writer:
        op = writer.next_op("commit", name)
        writer.put(RefRow(f"refs/tags/{name}", 1, bytes(32), op.op))


def names(catalog: Catalog) -> list[str]:
    with catalog.read() as reader:
        reader.verify()
        return [row.name.rpartition("/")[2] for row in reader.refs()]


def in_child(work: Callable[[], None]) -> int:
    """Run ``work`` in a forked child; its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            status = 0
        except BaseException:  # noqa: BLE001 - the child must end here whatever happens
            status = 1
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_child_commits_by_itself_and_both_see_everything(tmp_path: Path) -> None:
    catalog = make(tmp_path)
    put(catalog, "before")

    def work() -> None:
        put(catalog, "child")
        assert names(catalog) == ["before", "child"]
        catalog.close()

    assert in_child(work) == 0
    put(catalog, "after")
    assert names(catalog) == ["after", "before", "child"]
    catalog.close()
    assert names(reopen(tmp_path)) == ["after", "before", "child"]


@pytest.mark.parametrize("what", ["close", "drop", "use", "nothing"])
def test_a_fork_during_a_commit_of_another_thread_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Where it cannot wait for the commit's end: the commit waits for the child's."""
    monkeypatch.setattr(fork_gate, "PATIENCE_SECONDS", 0.1)
    catalog: Catalog | None = make(tmp_path)
    assert catalog is not None
    put(catalog, "before")
    reached, go_on = threading.Event(), threading.Event()

    def pause(step: str, path: str) -> None:
        if step == "catalog-commit":
            reached.set()
            go_on.wait(20)

    committer = threading.Thread(target=put, args=(catalog, "parent"))
    system.observe(pause)
    try:
        committer.start()
        assert reached.wait(20)
        ready, done = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(ready)
            status = 1
            signal.alarm(10)
            try:
                system.observe(None)
                if what == "close":
                    catalog.close()
                elif what == "drop":
                    catalog = None
                    gc.collect()
                elif what == "use":
                    with pytest.raises(BackendError, match="forked child"):
                        names(catalog)
                status = 0
            finally:
                os._exit(status)
        os.close(done)
        assert os.read(ready, 1) == b""  # the child has gone
        os.close(ready)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        go_on.set()
        committer.join()
        system.observe(None)
    assert names(catalog) == ["before", "parent"]
    assert names(reopen(tmp_path)) == ["before", "parent"]


def test_a_child_that_lives_on_does_not_keep_the_commit_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fork_gate, "PATIENCE_SECONDS", 0.1)
    catalog = make(tmp_path)
    reached, go_on = threading.Event(), threading.Event()

    def pause(step: str, path: str) -> None:
        if step == "catalog-commit":
            reached.set()
            go_on.wait(20)

    committer = threading.Thread(target=put, args=(catalog, "parent"))
    system.observe(pause)
    committer.start()
    assert reached.wait(20)
    system.observe(None)
    ready, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(done)
        os.read(ready, 1)  # until the parent has tried
        os._exit(0)
    os.close(ready)
    go_on.set()
    committer.join()
    # In another process, so that a lock that is never released fails this test, not hangs it.
    code = (
        "import sys; from pathlib import Path\n"
        "from n4a_store.storage.locks import FileLock\n"
        "with FileLock(Path(sys.argv[1]), wait=False): pass"
    )
    try:
        result = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "commit.lock")],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.close(done)
        os.waitpid(pid, 0)
    assert result.returncode == 0, result.stderr


def commit_in_both(catalog: Catalog, wait: int) -> int:
    """Fork inside a write block and leave it in both processes, the child last.

    Returns:
        In the parent the child's pid; in the child 0, when it was told that this cannot be.
    """
    pid = -1
    try:
        with catalog.write() as writer:
            op = writer.next_op("commit", "")
            for number in range(500):  # enough to make the file grow
                writer.put(RefRow(f"refs/tags/n{number:03}", 1, bytes(32), op.op))
            pid = os.fork()
            if pid == 0:
                signal.alarm(20)
                os.read(wait, 1)
    except BackendError as error:
        if pid == 0 and "forked child" in str(error):
            return 0
        raise
    return pid


def test_a_fork_inside_a_write_block_commits_in_the_parent_only(tmp_path: Path) -> None:
    catalog = make(tmp_path)
    parent = os.getpid()
    wait, go = os.pipe()
    pid = -1
    try:
        pid = commit_in_both(catalog, wait)
        gc.collect()  # the child frees all that it can: a commit that succeeded must survive that
    finally:
        if os.getpid() != parent:
            os._exit(7 if pid == 0 else 1)
    os.write(go, b"1")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    os.close(wait)
    os.close(go)
    assert len(names(reopen(tmp_path))) == 500
    assert len(names(catalog)) == 500

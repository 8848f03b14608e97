"""Deletes on a disk without a byte left: run by itself, where a small file system is mounted.

It says a line for each thing that was done, and the bytes that are free after it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from n4a_store import BackendError, Settings, Store
from n4a_store.artifacts.removal import remove
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from tests.repo.objects import tag

PAYLOAD_BYTES = 200_000


def fill(folder: Path) -> None:
    """Leave not one byte."""
    with (folder / "filler").open("ab", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                written = file.write(os.urandom(size))
            except OSError:
                written = 0
            if written < size:
                size //= 2


def free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")


def main(disk: Path, ballast_bytes: int) -> None:
    with Store.init(disk / "store", settings=Settings(ballast_bytes=ballast_bytes)) as store:
        for number in range(4):
            tag(store, f"t{number}", PAYLOAD_BYTES)
    fill(disk)
    say("full", free(disk))
    with Store.open(disk / "store") as store:
        try:
            tag(store, "more", 5000)
        except BackendError:
            say("refused", free(disk))
        try:
            remove(store, ["t0", "t1"], dry_run=False)
            say("removed", free(disk))
            report = collect(store, expire_now=True)
        except BackendError as error:
            say("failed", error)
            return
        say("collected", free(disk), len(report.dropped))
        assert store.ballast.layout.ballast.stat().st_size >= ballast_bytes
        assert [ref.name for ref in store.refs()] == ["refs/tags/t2", "refs/tags/t3"]
        assert fsck(store, full=True).problems == ()
        tag(store, "more", 5000)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

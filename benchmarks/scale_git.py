"""A million tiny objects here and in git: import, mark, gc, a full check, and the peak of memory.

    python benchmarks/scale_git.py [OBJECTS]

The same blobs in trees of a thousand go into both: here through one transaction a million, into
git through ``fast-import``. Each step is a process of its own; its processor time, its time by the
clock and its peak resident memory are taken from the kernel, children included. Git's mark is
``rev-list --objects --all``; before gc half of the objects lose their ref in both, and nothing is
kept for a grace period. Git is told to use one thread and zlib's fastest level, as the store works
in one thread too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from n4a_store import Kind, Settings, Store
from n4a_store.objects.codec import pack_child
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.reachability import preview

OBJECTS = 1_000_000
BLOBS_A_TREE = 1_000
PARTS = 2
GOALS = {"import": 0.25, "mark": 0.1, "gc": 0.5, "fsck": 0.15}
GIT = ("git", "-c", "pack.threads=1", "-c", "core.compression=1", "-c", "gc.auto=0")


@dataclass(frozen=True, slots=True)
class Took:
    """One process: seconds by the clock and of the processor, peak resident memory in MB."""

    wall: float
    cpu: float
    peak: float


def run(command: list[str], stream: Iterator[bytes] | None = None) -> Took:
    """Run a process to its end.

    Raises:
        RuntimeError: It failed.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL if stream is None else subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    if stream is not None and process.stdin is not None:
        for piece in stream:
            process.stdin.write(piece)
        process.stdin.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    cpu = usage.ru_utime + usage.ru_stime
    return Took(time.perf_counter() - began, cpu, usage.ru_maxrss / 1024)


def fast_import(objects: int) -> Iterator[bytes]:
    """The stream for git: blobs, and one commit a part that holds them in folders of a thousand."""
    part = objects // PARTS
    for number in range(objects):
        data = b"%d" % number
        yield b"blob\nmark :%d\ndata %d\n%b\n" % (number + 1, len(data), data)
    for at in range(PARTS):
        yield b"commit refs/heads/part%d\ncommitter a <a@b> 0 +0000\ndata 0\n" % at
        for number in range(at * part, (at + 1) * part):
            folder = number // BLOBS_A_TREE
            yield b"M 100644 :%d %d/%d\n" % (number + 1, folder, number)
        yield b"\n"


def ours(what: str, path: Path, objects: int) -> None:
    """One step here, in its own process."""
    if what == "import":
        with Store.init(path, settings=Settings()) as store:
            part = objects // PARTS
            for at in range(PARTS):
                with store.transaction("import") as txn:
                    trees = {}
                    for first in range(at * part, (at + 1) * part, BLOBS_A_TREE):
                        numbers = range(first, min(first + BLOBS_A_TREE, (at + 1) * part))
                        oids = txn.put_blobs([(b"%d" % n, 1) for n in numbers])
                        packed = [pack_child(Kind.BLOB, oid) for oid in oids]
                        blobs = dict(sorted(zip(map(str, numbers), packed, strict=True)))
                        trees[str(first // BLOBS_A_TREE)] = txn.put_packed(blobs)
                    txn.set_ref(f"refs/tags/part{at}", txn.put_tree(trees))
        return
    with Store.open(path, settings=Settings()) as store:
        if what == "mark":
            marked = preview(store).living.marked
            if marked < objects:
                raise RuntimeError(f"{marked} marked of {objects}")
        elif what == "fsck":
            if not fsck(store, full=True).ok:
                raise RuntimeError("fsck found damage")
        elif what == "delete":
            with store.transaction("delete") as txn:
                txn.delete_ref("refs/tags/part0")
        else:
            collect(store, expire_now=True, thorough=True)


def main() -> None:
    """Measure both and print the table."""
    if len(sys.argv) == 4:  # noqa: PLR2004 - a step in its own process
        ours(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
        return
    objects = int(sys.argv[1]) if len(sys.argv) > 1 else OBJECTS
    with tempfile.TemporaryDirectory(prefix="n4a-scale-") as folder:
        store, repo = Path(folder, "store"), Path(folder, "git")
        run(["git", "init", "--quiet", "--bare", str(repo)])
        git = [*GIT, "-C", str(repo)]
        theirs: dict[str, list[str]] = {
            "import": [*git, "fast-import", "--quiet"],
            "mark": [*git, "rev-list", "--objects", "--all"],
            "fsck": [*git, "fsck", "--full"],
            "delete": [*git, "update-ref", "-d", "refs/heads/part0"],
            "gc": [*git, "gc", "--quiet", "--prune=now"],
        }
        print(f"{objects} blobs: seconds of the processor (by the clock), peak MB")
        print(f"{'':8}{'n4a_store':>28}{'git':>28}{'ratio':>8}{'goal':>7}")
        for what, command in theirs.items():
            stream = fast_import(objects) if what == "import" else None
            mine = run([sys.executable, __file__, what, str(store), str(objects)])
            other = run(command, stream)
            if what == "delete":
                continue
            cells = [f"{at.cpu:.2f} ({at.wall:.2f}), {at.peak:.0f}" for at in (mine, other)]
            ratio = mine.cpu / other.cpu
            print(f"{what:8}{cells[0]:>28}{cells[1]:>28}{ratio:>8.2f}{GOALS[what]:>7}", flush=True)


if __name__ == "__main__":
    main()

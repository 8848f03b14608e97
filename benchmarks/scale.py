"""How a store grows: time and memory of open, look-up, mark, gc and fsck over tiny objects.

    python benchmarks/scale.py            # 10^4, 10^5, 10^6 objects
    python benchmarks/scale.py --large    # and 5 * 10^6

The promise: at 5 million objects a store opens in under 5 ms, a look-up takes under 10 µs, gc's
mark stays within 64 MB of anonymous memory above its baseline, and its time grows linearly. Every
measurement runs in a process of its own; times of mark, gc and fsck are of the processor, so that
a busy machine does not bend the line; memory is RssAnon of /proc/self/status, sampled every
few milliseconds, less what it was before the call. Mapped pack files are not anonymous memory.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from n4a_store import Kind, ObjectId, Settings, Store, TreeEntry
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.reachability import preview

BLOBS_A_TREE = 1_000
SIZES = (10_000, 100_000, 1_000_000)
LARGE = 5_000_000
MEGABYTE = 1_000_000
LIMIT_MB = 64


def anonymous_bytes() -> int:
    """The anonymous memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this kernel does not tell RssAnon")


@contextmanager
def peak_memory() -> Iterator[Callable[[], float]]:
    """Sample the anonymous memory; the function gives the peak above the beginning, in MB."""
    before = peak = anonymous_bytes()
    done = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not done.wait(0.003):
            peak = max(peak, anonymous_bytes())

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield lambda: (max(peak, anonymous_bytes()) - before) / MEGABYTE
    finally:
        done.set()
        thread.join()


def build(path: Path, objects: int) -> float:
    """A store with ``objects`` tiny blobs in trees of a thousand; the seconds it took."""
    started = time.perf_counter()
    with Store.init(path, settings=Settings()) as store:
        per_commit = 1_000_000
        for first in range(0, objects, per_commit):
            with store.transaction("build") as txn:
                trees = {}
                for at in range(first, min(first + per_commit, objects), BLOBS_A_TREE):
                    numbers = range(at, min(at + BLOBS_A_TREE, objects))
                    blobs = {str(n): TreeEntry(Kind.BLOB, txn.put_blob(b"%d" % n)) for n in numbers}
                    trees[str(at)] = txn.put_tree(blobs)
                txn.set_ref(f"refs/tags/part{first}", txn.put_tree(trees))
    return time.perf_counter() - started


def measure(path: Path) -> dict[str, float]:
    """Everything about one store."""
    found: dict[str, float] = {}
    opens = []
    for _ in range(20):
        started = time.perf_counter()
        store = Store.open(path, settings=Settings())
        opens.append(time.perf_counter() - started)
        store.close()
    found["open ms"] = statistics.median(opens) * 1e3
    store = Store.open(path, settings=Settings())
    with store.catalog.read() as reader:
        rows = reader.packs()
    found["objects"] = sum(row.objects for row in rows)
    found["packs"] = len(rows)
    with store.session():
        store.odb.add(rows)
        ids = [
            ObjectId(store.odb.reader(row.id).index.oid_at(n)) for row in rows for n in range(50)
        ]
        for oid in ids:
            store.has(oid)
        started = time.perf_counter()
        for oid in ids:
            store.odb.find(oid.raw)
        found["look-up µs"] = (time.perf_counter() - started) / len(ids) * 1e6
        with peak_memory() as peak:
            started = time.process_time()
            marks = preview(store)
            found["mark s"] = time.process_time() - started
            found["mark MB"] = peak()
        if marks.living.marked != found["objects"]:
            raise RuntimeError(f"{marks.living.marked} marked of {found['objects']}")
        del marks
    store.close()
    runs: dict[str, Callable[[Store], object]] = {"gc": collect, "fsck": fsck}
    for name, run in runs.items():
        with Store.open(path, settings=Settings()) as store, peak_memory() as peak:
            started = time.process_time()
            run(store)
            found[f"{name} s"] = time.process_time() - started
            found[f"{name} MB"] = peak()
    return found


def in_process(*arguments: str) -> str:
    """Run a part of this script alone."""
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--large", action="store_true", help="5 million objects as well")
    parser.add_argument("--sizes", type=int, nargs="*", help="other sizes")
    parser.add_argument("--folder", type=Path, help="where the stores are built")
    parser.add_argument("--part", nargs=3, metavar=("WHAT", "PATH", "OBJECTS"), help="internal")
    arguments = parser.parse_args()
    if arguments.part:
        what, path, objects = arguments.part
        print(
            build(Path(path), int(objects)) if what == "build" else json.dumps(measure(Path(path)))
        )
        return
    sizes = arguments.sizes or [*SIZES, *([LARGE] if arguments.large else [])]
    folder = Path(tempfile.mkdtemp(prefix="n4a-scale-", dir=arguments.folder))
    names = [
        "objects",
        "packs",
        "build s",
        "open ms",
        "look-up µs",
        "mark s",
        "mark MB",
        "µs/object",
    ]
    names += ["gc s", "gc MB", "fsck s", "fsck MB"]
    print("".join(f"{name:>11}" for name in names), flush=True)
    worst = 0.0
    try:
        for size in sizes:
            path = folder / str(size)
            built = float(in_process("--part", "build", str(path), str(size)))
            found = json.loads(in_process("--part", "measure", str(path), str(size)))
            found["build s"] = built
            found["µs/object"] = found["mark s"] / found["objects"] * 1e6
            whole = ("objects", "packs")
            cells = (f"{found[name]:>11.{0 if name in whole else 2}f}" for name in names)
            print("".join(cells), flush=True)
            worst = max(worst, found["mark MB"])
            shutil.rmtree(path)
    finally:
        shutil.rmtree(folder)
    print(f"mark: {worst:.1f} MB of anonymous memory at most, {LIMIT_MB} allowed")
    sys.exit(worst > LIMIT_MB)


if __name__ == "__main__":
    main()

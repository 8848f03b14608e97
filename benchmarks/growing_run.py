"""What the history of a run costs: a run of many tiny pipelines, each a commit of its own.

Every completed pipeline moves the run's ref, and undo can take back any of these moves: so the
reflog holds each value of that ref, and gc keeps them all for the undo window. This prints what a
commit takes at the beginning and at the end of such a run, how large catalog and packs are, and
what gc and repack take, as time of the processor.

    python benchmarks/growing_run.py [PIPELINES]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from n4a_store.artifacts.orphans import find_orphans
from n4a_store.artifacts.registry import ArtifactRegistry
from n4a_store.artifacts.types import ArtifactType
from n4a_store.artifacts.workspace import Workspace
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.repack import RepackMode, repack
from n4a_store.repo.store import Store
from n4a_store.repo.undo import undo

MILLISECONDS = 1e3


def train(workspace: Workspace, pipelines: int) -> list[float]:
    """Complete the pipelines of one run; what each commit took."""
    taken = []
    registry = ArtifactRegistry(workspace, dataset="many")
    with registry.run() as run:
        for number in range(pipelines):
            pipeline = f"{number:04d}_tiny"
            run.register({"number": number}, f"{pipeline}:0:all", ArtifactType.MODEL)
            began = time.process_time()
            run.complete_pipeline(pipeline)
            taken.append(time.process_time() - began)
    return taken


def timed(what: str, work: Callable[[], object]) -> None:
    """Print what a piece of work took."""
    began = time.process_time()
    work()
    print(f"{what:28} {time.process_time() - began:9.2f} s")


def sizes(store: Store) -> None:
    """Print what stands on the disk."""
    packs = sum(path.stat().st_size for path in store.layout.packs.iterdir())
    print(f"{'catalog':28} {store.layout.catalog.stat().st_size / 1e6:9.2f} MB")
    print(f"{'packs':28} {packs / 1e6:9.2f} MB")
    print(f"{'reflog rows':28} {len(store.reflog()):9}")


def newest(store: Store) -> list[int]:
    """The operation that ended the run, and the one before it."""
    return sorted({move.op for move in store.reflog()}, reverse=True)[:2]


def main(pipelines: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        taken = train(workspace, pipelines)
        tenth = max(pipelines // 10, 1)
        for name, part in (("first", taken[:tenth]), ("last", taken[-tenth:])):
            middle = statistics.median(part) * MILLISECONDS
            print(f"{f'a commit, {name} tenth':28} {middle:9.2f} ms")
        with workspace.store("many") as store:
            sizes(store)
            timed("a preview of gc", lambda: find_orphans(store))
            timed("fsck", lambda: fsck(store))
            timed("gc", lambda: collect(store))
            timed("gc once more", lambda: collect(store))
            sizes(store)
            timed("repack", lambda: repack(store, RepackMode.ALL))
            sizes(store)
            timed("undo of the last two", lambda: [undo(store, op) for op in newest(store)])
            timed("gc --now", lambda: collect(store, expire_now=True))
            sizes(store)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000)

"""One peer, one round, one process: every phase beside its floor, pipeline by pipeline.

The floor is ``pickle.dumps`` or ``pickle.loads`` of the same objects. It is timed right before
each pipeline's own turn, so that a busy moment of the machine hits both. What is loaded is
compared, type and bytes, outside of the timed part.

    python -m benchmarks.peers.worker PEER WORKLOAD FOLDER

prints one JSON object: figures as ``{name: [value, floor]}``, None for what the peer cannot do.
"""

from __future__ import annotations

import gc
import json
import pickle
import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.base import CannotError, Peer
from benchmarks.peers.roster import PEERS
from benchmarks.peers.workload import Pipeline, Workload, fingerprint

__all__ = ["FIGURES", "measure"]

Figure = list[float] | None

FIGURES = {
    "ingest": "put and commit ÷ dumps",
    "rerun": "put and commit of duplicates ÷ dumps",
    "settle": "repack ÷ dumps",
    "bytes": "bytes on disk ÷ unique pickles",
    "load": "load by id ÷ loads",
    "pipeline": "load one pipeline, first touch ÷ loads",
    "tables": "arrays ≥ 400 KB, read-only, first touch ÷ loads",
    "tables_again": "the same arrays again ÷ loads",
    "fsck": "check of every byte ÷ loads",
    "gc": "delete half, collect ÷ dumps",
}
_SAMPLE = 15


class _Round:
    """The phases of one round, each of which fills in its figures."""

    def __init__(self, peer: Peer, workload: Workload) -> None:
        self.peer = peer
        self.workload = workload
        self.pickles = [pickle.dumps(obj, 5) for obj in workload.objects]
        self.dumps = 0.0
        self.loads = 0.0

    def put(self, pipelines: Iterable[Pipeline]) -> list[float]:
        """Store pipelines; seconds and the floor's seconds."""
        objects = self.workload.objects
        spent = floor = 0.0
        for pipeline in pipelines:
            began = time.perf_counter()
            for at in pipeline.registrations:
                pickle.dumps(objects[at.place], 5)
            between = time.perf_counter()
            for at in pipeline.registrations:
                self.peer.put(pipeline.name, at, objects[at.place])
            self.peer.commit(pipeline.name)
            spent += time.perf_counter() - between
            floor += between - began
        began = time.perf_counter()
        self.peer.finish()
        return [spent + time.perf_counter() - began, floor]

    def get(
        self, pipelines: Iterable[Pipeline], load: Callable[[str, Sequence[str]], list[Any]]
    ) -> list[float]:
        """Load and verify pipelines; seconds and the floor's seconds."""
        spent = floor = 0.0
        for pipeline in pipelines:
            names = [at.artifact for at in pipeline.registrations]
            places = [at.place for at in pipeline.registrations]
            began = time.perf_counter()
            plain: list[Any] | None = [pickle.loads(self.pickles[place]) for place in places]
            floor += time.perf_counter() - began
            del plain
            began = time.perf_counter()
            found = load(pipeline.name, names)
            spent += time.perf_counter() - began
            for name, place, obj in zip(names, places, found, strict=True):
                if fingerprint(obj) != self.workload.fingerprints[place]:
                    raise AssertionError(f"{self.peer.name}: {name} came back changed")
            del found, obj
        return [spent, floor]

    def one_by_one(self, pipeline: str, names: Sequence[str]) -> list[Any]:
        """Every artifact by its id."""
        del pipeline
        return [self.peer.load(name) for name in names]

    def read_only(self, pipeline: str, names: Sequence[str]) -> list[Any]:
        """Every artifact by its id, arrays read-only."""
        del pipeline
        return [self.peer.load_readonly(name) for name in names]

    def timed(self, floor: float, *steps: Callable[[], None]) -> Figure:
        """Seconds of some steps, or None when the peer cannot."""
        began = time.perf_counter()
        try:
            for step in steps:
                step()
        except CannotError:
            return None
        return [time.perf_counter() - began, floor]

    def delete_half(self) -> None:
        """Every second pipeline."""
        for pipeline in self.workload.pipelines[: self.peer.subset or None : 2]:
            self.peer.delete(pipeline.name, [at.artifact for at in pipeline.registrations])


def measure(peer: Peer, workload: Workload) -> dict[str, Figure]:
    """All figures of one peer."""
    at = _Round(peer, workload)
    pipelines = workload.pipelines[: peer.subset or None]
    stored = {entry.place for pipeline in pipelines for entry in pipeline.registrations}
    unique = float(sum(len(at.pickles[place]) for place in stored))
    sample = pipelines[:: max(len(pipelines) // _SAMPLE, 1)]
    figures: dict[str, Figure] = {"ingest": at.put(pipelines)}
    dumps = figures["ingest"][1] if figures["ingest"] else 0.0
    figures["settle"] = at.timed(dumps, peer.settle)
    figures["bytes"] = [float(peer.stats()), unique]
    figures["load"] = load = at.get(pipelines, at.one_by_one)
    figures["pipeline"] = at.get(sample, peer.load_pipeline)
    figures["rerun"] = at.put(workload.repeated[: peer.subset or None])
    # What tables take is of no interest, so they come after the bytes have been counted.
    at.put([workload.tables])
    for name in ("tables", "tables_again"):
        try:
            figures[name] = at.get([workload.tables], at.read_only)
        except CannotError:
            figures[name] = None
    figures["fsck"] = at.timed(load[1], peer.fsck)
    figures["gc"] = at.timed(dumps, at.delete_half, peer.gc)
    return figures


def main() -> None:
    """Measure one peer and print what was found."""
    key, path, folder = sys.argv[1:4]
    with Path(path).open("rb") as file:
        workload: Workload = pickle.load(file)
    gc.collect()
    gc.freeze()  # the workload is not what the collector should look at
    peer = PEERS[key](Path(folder))
    figures = measure(peer, workload)
    peer.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"peer": key, "figures": figures, "peak_kib": peak}))


if __name__ == "__main__":
    main()

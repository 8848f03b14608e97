"""What no store that does this job in Python could save: the floor below ingest and load.

Of the small workload, every registration is pickled with its large buffers out of band, and every
byte is hashed; what has not been seen is probed, compressed and written to a file that is synced
once. Nothing is looked up, named, recorded or committed. For a load every buffer is copied, so that
the arrays can be written to, and hashed; nothing is looked for.

    python -m benchmarks.floor [FORM] [FOLDER]
"""

from __future__ import annotations

import gc
import os
import pickle
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.peers.workload import load
from n4a_store.artifacts.serializers.base import Payload
from n4a_store.artifacts.serializers.pickle5 import Pickle5Serializer
from n4a_store.objects.oid import BytesLike, Kind, raw_hash
from n4a_store.packs.compression import compress

_ROUNDS = 3
_INGEST = ("pickling", "hashing", "compressing", "writing")
_LOAD = ("copying", "checking", "unpickling")


class Clock:
    """Seconds by what they were spent on."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._last = time.perf_counter()

    def begin(self) -> None:
        """What has passed until now was spent on nothing."""
        self._last = time.perf_counter()

    def note(self, what: str) -> None:
        """Spent on ``what`` since the last call."""
        now = time.perf_counter()
        self.spent[what] += now - self._last
        self._last = now


def ingest(objects: list[Any], folder: Path, clock: Clock) -> None:
    """Once through all registrations."""
    serializer = Pickle5Serializer()
    seen: set[bytes] = set()
    with tempfile.TemporaryFile(dir=folder, buffering=1024 * 1024) as file:
        for obj in objects:
            clock.begin()
            pickle.dumps(obj, 5)
            clock.note("dumps")
            payload = serializer.dumps(obj)
            clock.note("pickling")
            parts: list[tuple[BytesLike, int]] = [(payload.skeleton, 1)]
            parts += [(one.data, one.item_size) for one in payload.buffers]
            ids = [raw_hash(Kind.BLOB, data) for data, _ in parts]
            clock.note("hashing")
            for oid, (data, item_size) in zip(ids, parts, strict=True):
                if oid not in seen:
                    seen.add(oid)
                    clock.begin()
                    stored = compress(data, item_size)[2]
                    clock.note("compressing")
                    file.write(stored)
                    clock.note("writing")
        file.flush()
        os.fsync(file.fileno())
        clock.note("writing")


def loads(payloads: list[tuple[bytes, Payload]], clock: Clock) -> None:
    """Once through all registrations, from memory."""
    serializer = Pickle5Serializer()
    for pickled, payload in payloads:
        clock.begin()
        pickle.loads(pickled)
        clock.note("loads")
        buffers = [bytearray(one.data) for one in payload.buffers]
        clock.note("copying")
        raw_hash(Kind.BLOB, payload.skeleton)
        for buffer in buffers:
            raw_hash(Kind.BLOB, buffer)
        clock.note("checking")
        serializer.loads(payload.skeleton, buffers)
        clock.note("unpickling")


def main(form: str, folder: Path) -> None:
    """Fit or read the workload, and print each part over the floor that all peers share."""
    workload, _ = load(form, 1, folder)
    places = [at.place for pipeline in workload.pipelines for at in pipeline.registrations]
    objects = [workload.objects[place] for place in places]
    made = [(pickle.dumps(obj, 5), Pickle5Serializer().dumps(obj)) for obj in workload.objects]
    payloads = [made[place] for place in places]
    gc.collect()
    gc.freeze()
    rounds = []
    for _ in range(_ROUNDS):
        clock = Clock()
        ingest(objects, folder, clock)
        loads(payloads, clock)
        rounds.append(clock.spent)
    for title, base, names in (("ingest", "dumps", _INGEST), ("load", "loads", _LOAD)):
        shares = [
            statistics.median(spent[name] / spent[base] for spent in rounds) for name in names
        ]
        text = " + ".join(f"{name} {share:.2f}" for name, share in zip(names, shares, strict=True))
        print(f"{title}, over pickle.{base}: {text} = {sum(shares):.2f}")


if __name__ == "__main__":
    main(
        sys.argv[1] if len(sys.argv) > 1 else "small",
        Path(sys.argv[2] if len(sys.argv) > 2 else "benchmarks/results"),  # noqa: PLR2004
    )

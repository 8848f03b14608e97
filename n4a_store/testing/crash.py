"""Crash states: every way in which a power cut or a kill can leave a store, opened and checked.

    python -m n4a_store.testing.crash --states 100000

The calls of :mod:`crash_scenario` are recorded once. At each prefix of them the disk model gives
the states in which a crash can leave the disk. Each state that was not seen before is written to
a scratch folder and must pass: the store opens; ``fsck --full`` finds nothing wrong; the refs are
those before or those after the operation that was running, never others; and, for a sample, a
commit and a gc work, after which there are no strays. The sampling follows the seed.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from blake3 import blake3

from n4a_store.errors import StoreError, StoreNotFoundError
from n4a_store.repo.fsck import Severity, fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.store import Store
from n4a_store.settings import Settings
from n4a_store.storage.layout import PACK_SUFFIX
from n4a_store.testing.crash_disk import Disk, Image
from n4a_store.testing.crash_scenario import STORE
from n4a_store.testing.recorder import Call, RecorderMissing, record

__all__ = ["CrashReport", "Recording", "check_state", "crash_states", "explore", "record_scenario"]

_SCENARIO = "n4a_store.testing.crash_scenario"
Refs = dict[str, str]


@dataclass(frozen=True, slots=True)
class Recording:
    """The recorded calls and the folder below which they happened."""

    root: str
    calls: list[Call]


@dataclass(frozen=True, slots=True)
class State:
    """A state of the disk after a crash.

    Args:
        prefix: How many calls had happened.
        doing: The operation that was running.
        image: The files.
        allowed: What the refs may be; None: there may be no store.
    """

    prefix: int
    doing: str
    image: Image
    allowed: tuple[Refs | None, ...]


@dataclass(slots=True)
class CrashReport:
    """What was tried and found.

    Args:
        calls: Calls recorded.
        states: Distinct states that were opened and checked.
        repeated: States that were equal to one before.
        rounds: How often the whole recording was gone through.
        by_operation: Distinct states by the operation that was running.
        findings: What went wrong.
    """

    calls: int = 0
    states: int = 0
    repeated: int = 0
    rounds: int = 0
    by_operation: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)


def record_scenario(folder: Path) -> Recording:
    """Record the scenario in ``folder``.

    Raises:
        RecorderMissing: This machine cannot.
    """
    root = folder / "recorded"
    root.mkdir()
    calls = record(["-m", _SCENARIO, str(root)], root, folder)
    return Recording(str(root), calls)


def crash_states(
    recording: Recording, rng: random.Random, random_ones: int, sample: float = 1.0
) -> Iterator[State]:
    """The states at every prefix of the calls, with ``random_ones`` random ones at each.

    Args:
        sample: The share of them that is made at all; of each operation there is one at least.
    """
    disk = Disk(recording.root)
    doing = "nothing"
    allowed: tuple[Refs | None, ...] = (None,)
    passed = 0  # states of this operation that were left out; -1 once one was not
    spare: State | None = None  # one of those, each as likely as the others
    outcomes = _outcomes(recording.calls)
    for prefix, call in enumerate(recording.calls):
        if call.kind == "N":
            said = json.loads(call.path)
            if "begin" in said:
                doing, after = said["begin"], next(outcomes)
                allowed = (allowed[-1], after)
            else:
                if spare is not None:
                    yield spare
                allowed = (said["refs"],)
                doing = "nothing"
            passed, spare = 0, None
        else:
            disk.follow(call)
        # What the next call would change is not there yet: the state after this call is one.
        ones = 0 if disk.settled else random_ones
        for choice in disk.choices(rng, ones):
            if rng.random() < sample:
                passed, spare = -1, None
                yield State(prefix, doing, disk.crash(choice), allowed)
            elif passed >= 0:
                passed += 1
                if rng.random() * passed < 1:
                    spare = State(prefix, doing, disk.crash(choice), allowed)


def _outcomes(calls: list[Call]) -> Iterator[Refs]:
    for call in calls:
        if call.kind == "N":
            said = json.loads(call.path)
            if "end" in said:
                yield said["refs"]


def _materialise(image: Image, folder: Path) -> None:
    for name, data in image.items():
        path = folder / name
        if data is None:
            path.mkdir()
        else:
            path.write_bytes(data)


def check_state(state: State, folder: Path, *, go_on: bool) -> list[str]:
    """What is wrong with a state; it is written below ``folder``, which is emptied afterwards."""
    _materialise(state.image, folder)
    try:
        return _check(state, folder / STORE, go_on)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what this looks for
        return [f"{type(error).__name__}: {error}"]
    finally:
        shutil.rmtree(folder)
        folder.mkdir()


def _check(state: State, path: Path, go_on: bool) -> list[str]:
    try:
        store = Store.open(path, settings=Settings())
    except StoreNotFoundError:
        if None not in state.allowed:
            return ["there is no store"]
        Store.init(path, settings=Settings()).close()  # the attempt that died is in nobody's way
        return []
    with store:
        found = [
            f"fsck: {problem.code}: {problem.message}"
            for problem in fsck(store, full=True).problems
            if problem.severity is not Severity.NOTE
        ]
        now = {ref.name: ref.oid.hex for ref in store.refs()}
        if now not in state.allowed:
            found.append(f"refs are {now}, allowed were {state.allowed}")
        if go_on and not found:
            found += _go_on(store, now)
    return found


def _go_on(store: Store, refs: Refs) -> list[str]:
    """A commit and a gc in the recovered store, and what they leave."""
    with store.transaction("after the crash") as txn:
        tree = txn.put_tree({"new": txn.put_blob(b"after the crash")})
        txn.set_ref("refs/tags/after", tree)
    collect(store, expire_now=True)
    found = [f"afterwards, fsck: {problem.message}" for problem in fsck(store, full=True).problems]
    now = {ref.name: ref.oid.hex for ref in store.refs()}
    if now != {**refs, "refs/tags/after": tree.hex}:
        found.append(f"afterwards refs are {now}, and were {refs}")
    with store.catalog.read() as reader:
        listed = {row.id + PACK_SUFFIX for row in reader.packs()}
    store.sessions.drop_idle()
    folders = (store.layout.packs, store.layout.transactions, store.layout.leases)
    strays = {path.name for folder in folders for path in folder.iterdir()} - listed
    if strays:
        found.append(f"afterwards there are strays: {sorted(strays)}")
    return found


def explore(
    recording: Recording,
    scratch: Path,
    *,
    seed: int,
    random_ones: int,
    sample: float = 1.0,
    most: int | None = None,
    seconds: float | None = None,
    findings: int = 50,
) -> CrashReport:
    """Check the states of a recording, each distinct one once.

    Args:
        recording: What was recorded.
        scratch: An empty folder, best on a tmpfs.
        seed: For everything random.
        random_ones: Random states at each prefix, beside the regular ones.
        sample: The share of states that is checked.
        most: Go on with further rounds of other random states until there are so many distinct
            ones; the first round goes through the whole recording however many that are.
        seconds: Stop after this time.
        findings: Stop after so many.
    """
    rng = random.Random(seed)
    report = CrashReport(calls=len(recording.calls))
    seen: set[bytes] = set()
    until = None if seconds is None else time.monotonic() + seconds
    while most is None or report.states < most:
        before = report.states
        choices = random.Random(seed + 1 + report.rounds)
        for state in crash_states(recording, choices, random_ones, sample):
            key = _key(state)
            if key in seen:
                report.repeated += 1
                continue
            seen.add(key)
            go_on = rng.random() < 0.2
            for finding in check_state(state, scratch, go_on=go_on):
                report.findings.append(f"after call {state.prefix}, {state.doing}: {finding}")
            report.states += 1
            report.by_operation[state.doing] += 1
            enough = most is not None and report.rounds > 0 and report.states >= most
            if enough or len(report.findings) >= findings or (until and time.monotonic() > until):
                return report
        report.rounds += 1
        if most is None or report.states == before:
            break
    return report


def _key(state: State) -> bytes:
    """Equal for states that are the same files with the same expectation."""
    hasher = blake3(repr(state.allowed).encode())
    for name, data in state.image.items():
        hasher.update(name.encode() + b"\0")
        hasher.update(b"folder" if data is None else blake3(data).digest())
    return hasher.digest()


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m n4a_store.testing.crash")
    parser.add_argument("--states", type=int, default=100_000)
    parser.add_argument(
        "--random", type=int, default=40, help="random states at each prefix, in each round"
    )
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--scratch", type=Path, help="an existing folder, best on a tmpfs")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="n4a-crash-", dir=arguments.scratch))
    started = time.monotonic()
    try:
        recording = record_scenario(folder)
        scratch = folder / "scratch"
        scratch.mkdir()
        report = explore(
            recording,
            scratch,
            seed=arguments.seed,
            random_ones=arguments.random,
            most=arguments.states,
        )
    except RecorderMissing as error:
        sys.stderr.write(f"SKIPPED: {error}\n")
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    write = sys.stdout.write
    write(f"{report.calls} calls, {report.states} distinct crash states in {report.rounds} whole ")
    write(f"rounds and a part (seed {arguments.seed}, {time.monotonic() - started:.0f} s, ")
    write(f"{report.repeated} repeated)\n")
    for name, count in sorted(report.by_operation.items()):
        write(f"{count:8d}  {name}\n")
    for finding in report.findings:
        write(f"FOUND {finding}\n")
    return 1 if report.findings else 0


if __name__ == "__main__":
    try:
        sys.exit(_main())
    except StoreError as failure:
        sys.exit(f"error: {failure}")

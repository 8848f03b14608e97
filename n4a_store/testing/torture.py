"""Torture: writers, readers and collectors on one store, killed at random, for as long as told.

    python -m n4a_store.testing.torture --seconds 3600

Afterwards nothing that was acknowledged may be missing, nothing that a ref reaches may be
missing, no read may have failed, ``fsck --full`` must be clean, and one gc must leave neither an
unreachable byte nor a stray file. The random choices follow the seed; the processes' interleaving
is the machine's, so a seed makes a run similar, not equal.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from n4a_store.errors import StoreError
from n4a_store.repo.fsck import Severity, fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.history import reach
from n4a_store.repo.store import Store
from n4a_store.storage.layout import PACK_SUFFIX
from n4a_store.testing.actors import Findings, known_trees, run_actor
from n4a_store.testing.holdings import held_by
from n4a_store.testing.ledger import read_ledger

__all__ = ["TortureReport", "torture"]

KILL_EVERY = 0.3


@dataclass(frozen=True, slots=True)
class TortureReport:
    """What a torture did and found.

    Args:
        seconds: How long it took.
        commits: Acknowledged ones, deletions and undos included.
        unsure: Commits whose writer died between intention and answer.
        kills: Processes killed, by role.
        done: What ended well, by what it was: read, fsck, gc, repack.
        dangling: Refs that reach something missing.
        lost: Refs that do not hold what was acknowledged.
        findings: All that went wrong, the two above included.
    """

    seed: int
    seconds: float
    commits: int
    unsure: int
    kills: dict[str, int]
    done: dict[str, int]
    dangling: int
    lost: int
    findings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing went wrong."""
        return not self.findings


class _Arena:
    """The processes of one torture."""

    def __init__(self, path: Path, folder: Path, seed: int, slots: dict[str, str]) -> None:
        self.path = path
        self.folder = folder
        self.seed = seed
        self.slots = slots
        self.born: Counter[str] = Counter()
        self.kills: Counter[str] = Counter()
        self.pids: dict[int, str] = {}

    def start(self, slot: str) -> None:
        """Fork one process; the parent has no store open, so there is nothing to inherit."""
        self.born[slot] += 1
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                devnull = os.open(os.devnull, os.O_WRONLY)
                os.dup2(devnull, 2)  # its traceback is in the findings
                seed = f"{self.seed}-{slot}-{self.born[slot]}"
                run_actor(self.slots[slot], slot, self.path, self.folder, seed)
                status = 0
            finally:
                os._exit(status)
        self.pids[pid] = slot

    def kill(self, pid: int) -> str:
        """Kill one process for good; its slot."""
        slot = self.pids.pop(pid)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self.kills[self.slots[slot]] += 1
        return slot

    def reap(self) -> list[str]:
        """The slots of processes that ended by themselves, which they never should."""
        gone = [pid for pid in self.pids if os.waitpid(pid, os.WNOHANG)[0]]
        slots = [self.pids.pop(pid) for pid in gone]
        for slot in slots:
            Findings(self.folder / "findings").report(slot, "ended by itself")
        return slots


def torture(
    path: Path,
    folder: Path,
    *,
    seconds: float,
    seed: int,
    writers: int = 3,
    kill_every: float = KILL_EVERY,
) -> TortureReport:
    """Torture a new store at ``path``; ledgers and findings go to ``folder``.

    Args:
        kill_every: Seconds between two kills, on average. Whoever begins anew reads a lot first,
            so fewer kills are more commits.
    """
    started = time.monotonic()
    Store.init(path).close()
    known_trees()  # computed once, for all that are forked from here
    slots = {f"writer{at}": "writer" for at in range(writers)}
    slots.update({"reader0": "reader", "inspector0": "inspector"})
    slots.update({"collector0": "collector", "collector1": "collector"})
    rng = random.Random(seed)
    arena = _Arena(path, folder, seed, slots)
    for slot in slots:
        arena.start(slot)
    try:
        while time.monotonic() - started < seconds:
            time.sleep(rng.expovariate(1 / kill_every))
            again = [*arena.reap()]
            if arena.pids:
                victim = rng.choice(sorted(arena.pids, key=lambda pid: arena.pids[pid]))
                again.append(arena.kill(victim))
            if rng.random() < 0.02:  # a power cut for all of them at once
                again += [arena.kill(pid) for pid in list(arena.pids)]
            for slot in again:
                arena.start(slot)
            if len(again) > 1 and _count(folder) > 20:
                break  # it is broken: more of the same says nothing new
    finally:
        for pid in list(arena.pids):
            arena.kill(pid)
    return _judge(arena, time.monotonic() - started)


def _findings(folder: Path) -> list[str]:
    path = folder / "findings"
    return path.read_text().splitlines() if path.exists() else []


def _count(folder: Path) -> int:
    return len(_findings(folder))


def _judge(arena: _Arena, seconds: float) -> TortureReport:
    findings = _findings(arena.folder)
    standings = {
        slot: read_ledger(arena.folder / f"ledger-{slot}")
        for slot, role in arena.slots.items()
        if role == "writer"
    }
    lost = sum("acknowledged refs lost" in line for line in findings)
    dangling = sum("a read failed" in line for line in findings)
    with Store.open(arena.path) as store:
        for slot, standing in standings.items():
            try:
                now = {name: entry.oid.hex for name, entry in held_by(store, slot).items()}
            except StoreError as error:
                dangling += 1
                findings.append(f"{slot}: what it holds cannot be read: {error}")
                continue
            if now not in standing.allowed():
                lost += 1
                findings.append(f"{slot}: lost: holds {now}, acknowledged {standing.refs}")
        for ref in store.refs():
            try:
                for reached in reach(store, [ref.entry]):
                    store.get(reached.oid)
            except StoreError as error:
                dangling += 1
                findings.append(f"dangling: {ref.name}: {error}")
        findings += _fsck(store, "after the last kill")
        try:
            findings += _check_tidy(store)
        except StoreError as error:
            findings.append(f"the last gc: {type(error).__name__}: {error}")
        findings += _fsck(store, "after the last gc")
    said: Counter[str] = Counter()
    for slot, role in arena.slots.items():
        ledger = arena.folder / f"ledger-{slot}"
        if role != "writer" and ledger.exists():
            for line in ledger.read_text().splitlines():
                said[json.loads(line)["say"]] += 1
    return TortureReport(
        arena.seed,
        round(seconds, 1),
        sum(standing.commits for standing in standings.values()),
        sum(standing.unsure for standing in standings.values()),
        dict(arena.kills),
        dict(said),
        dangling,
        lost,
        tuple(findings),
    )


def _fsck(store: Store, when: str) -> list[str]:
    report = fsck(store, full=True)
    return [
        f"fsck {when}: {problem.code} {problem.subject}: {problem.message}"
        for problem in report.problems
        if problem.severity is not Severity.NOTE
    ]


def _check_tidy(store: Store) -> list[str]:
    """One gc, and what it should not have left behind."""
    collect(store, expire_now=True, thorough=True)
    findings = []
    with store.catalog.read() as reader:
        rows = reader.packs()
    extra = {path.name for path in store.layout.packs.iterdir()} - {
        row.id + PACK_SUFFIX for row in rows
    }
    left = [
        *extra,
        *(path.name for path in store.layout.transactions.iterdir()),
        *(path.name for path in store.layout.leases.iterdir()),
    ]
    if left:
        findings.append(f"stray files after the last gc: {sorted(left)}")
    preview = collect(store, dry_run=True, expire_now=True)
    if preview.unreachable.objects or preview.pending:
        findings.append(f"garbage after the last gc: {preview.unreachable}, {preview.pending}")
    present = sum(row.objects for row in rows)
    if present != preview.reachable:
        findings.append(f"{present} objects are stored, {preview.reachable} are reachable")
    return findings


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m n4a_store.testing.torture")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--writers", type=int, default=3)
    parser.add_argument("--kill-every", type=float, default=KILL_EVERY, help="seconds, on average")
    parser.add_argument("--folder", type=Path, help="where the store goes (default: a new folder)")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="n4a-torture-", dir=arguments.folder))
    report = torture(
        folder / "store",
        folder,
        seconds=arguments.seconds,
        seed=arguments.seed,
        writers=arguments.writers,
        kill_every=arguments.kill_every,
    )
    sys.stdout.write(json.dumps(asdict(report), indent=2) + "\n")
    if report.ok:
        shutil.rmtree(folder)
    else:
        sys.stderr.write(f"what was found is kept in {folder}\n")
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(_main())

"""Damaged input: bytes changed at random, in files of a store and in what the decoders are given.

    python -m n4a_store.testing.fuzz --cases 100000

Whatever is damaged, the store answers with its own errors (or not at all differently), within
bounded memory and time, and never deletes what the undamaged bytes still reach. The process limits
its own address space, so that a decoder which believes a length field is found out.
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from n4a_store.errors import StoreError
from n4a_store.objects.codec import decode_run, decode_value, encode_run, encode_value
from n4a_store.objects.model import Run, RunStatus, TreeEntry
from n4a_store.objects.oid import Kind, hash_object
from n4a_store.objects.trees import decode_node
from n4a_store.packs.reader import PackReader
from n4a_store.packs.writer import PackWriter
from n4a_store.repo.format import StoreFormat
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.repo.history import reach
from n4a_store.repo.repair import adopt_unlisted_packs, salvage_pack, sound_entries
from n4a_store.repo.stats import store_stats
from n4a_store.repo.store import Store
from n4a_store.settings import Settings
from n4a_store.storage.leases import Lease, LeaseRole, list_leases

__all__ = ["FuzzReport", "fuzz_decoders", "fuzz_stores", "limited_memory", "mutate"]

_EXTREMES = (0, 1, 0x7F, 0xFF, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)
_CASE_SECONDS = 20
_ROOM = 600 * 1024 * 1024


@dataclass(slots=True)
class FuzzReport:
    """What was tried and found.

    Args:
        cases: By what was damaged.
        refused: Cases in which an error of ours was raised.
        findings: Anything else than that or an answer.
    """

    cases: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All cases."""
        return sum(self.cases.values())


def mutate(data: bytes, rng: random.Random) -> bytes:
    """``data`` with some damage, from one flipped bit to a hole."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        size = len(out)
        at = rng.randrange(size + 1)
        length = min(size - at, rng.choice((1, 4, 8, 32, 512)))
        way = rng.randrange(8)
        if way <= 1 and size:
            out[at % size] ^= 1 << rng.randrange(8)
        elif way == 2:
            out[at : at + length] = rng.randbytes(length)
        elif way == 3:
            out[at : at + length] = bytes(length)
        elif way == 4:
            del out[at : size if rng.random() < 0.5 else at + length]
        elif way == 5:
            out[at:at] = out[:length] if rng.random() < 0.5 else rng.randbytes(length)
        elif way == 6 and size >= 8:
            struct.pack_into("<Q", out, rng.randrange(size - 7), rng.choice(_EXTREMES))
        elif way == 7 and size:
            out[at % size] = rng.choice((0x00, 0x7F, 0x80, 0xC1, 0xC6, 0xDB, 0xDD, 0xDF, 0xFF))
    return bytes(out)


@contextmanager
def limited_memory(room: int = _ROOM) -> Iterator[None]:
    """Let this process grow by ``room`` bytes and no more."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextmanager
def _time_limit() -> Iterator[None]:
    def stop(_signal: int, _frame: object) -> None:
        raise TimeoutError(f"still at it after {_CASE_SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(_CASE_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _try(report: FuzzReport, what: str, run: Callable[[], object]) -> None:
    report.cases[what] += 1
    try:
        with _time_limit():
            run()
    except StoreError:
        report.refused += 1
    except Exception as error:  # noqa: BLE001 - it is what this looks for
        report.findings.append(f"{what}: {type(error).__name__}: {error!s:.300}")


# --- decoders ---------------------------------------------------------------------------------


def _sample_pack() -> bytes:
    out = bytearray()
    writer = PackWriter(out.extend)
    for number in range(12):
        data = random.Random(number).randbytes(400) if number % 2 else b"%d" % number * 600
        writer.add(hash_object(Kind.BLOB, data).raw, Kind.BLOB, data, 8 if number % 3 else 1)
    writer.seal()
    return bytes(out)


def _read_pack(data: bytes) -> None:
    list(sound_entries(memoryview(data)))
    pack = PackReader(memoryview(data), "fuzzed")
    for position in range(min(len(pack), 100)):
        pack.find(pack.index.oid_at(position))
        try:
            pack.read_at(position)
        except StoreError:
            continue
    pack.verify_index()
    pack.verify_bytes()


def _decoders() -> dict[str, tuple[bytes, Callable[[bytes], object]]]:
    oid = hash_object(Kind.BLOB, b"x")
    nodes: list[bytes] = []

    def keep(data: bytes) -> object:
        nodes.append(data)
        return hash_object(Kind.TREE, data)

    from n4a_store.objects.trees import encode_tree

    entries = {f"name {n}": TreeEntry(Kind.BLOB, oid) for n in range(20)}
    encode_tree(entries, {"serial": 3}, keep)  # type: ignore[arg-type]
    encode_tree({f"{n:05}": TreeEntry(Kind.BLOB, oid) for n in range(1100)}, {}, keep)  # type: ignore[arg-type]
    run = Run(oid, "dataset", "2026-11-23T00:00:00Z", RunStatus.COMPLETE, (oid,), {"os": "x"})
    value = encode_value({"a": [1, 2.5, "text", b"bytes", None, True], "b": {"c": -(2**40)}})
    text = StoreFormat().encode().encode()
    config = b'durability = "full"\nundo_window_days = 3\npack_max_bytes = 9999\n'
    return {
        "tree": (nodes[0], decode_node),
        "sharded tree": (nodes[-1], decode_node),
        "run": (encode_run(run), decode_run),
        "value": (value, decode_value),
        "format": (text, lambda data: StoreFormat.decode(data.decode(errors="replace"))),
        "config": (config, lambda data: Settings.load(data.decode(errors="replace"), {})),
        "pack": (_sample_pack(), _read_pack),
    }


def fuzz_decoders(rng: random.Random, cases: int) -> FuzzReport:
    """Give the decoders damaged bytes, ``cases`` times in all."""
    report = FuzzReport()
    decoders = _decoders()
    names = sorted(decoders)
    for number in range(cases):
        name = names[number % len(names)]
        data, decode = decoders[name]
        damaged = mutate(data, rng)
        _try(report, name, lambda decode=decode, damaged=damaged: decode(damaged))  # type: ignore[misc]
    return report


# --- whole stores -----------------------------------------------------------------------------


def _sample_store(path: Path) -> None:
    with Store.init(path, settings=Settings()) as store:
        for number in range(3):
            with store.transaction("commit") as txn:
                blob = txn.put_blob(random.Random(number).randbytes(2000))
                text = txn.put_blob(b"%d " % number * 900, item_size=2)
                tree = txn.put_tree({"blob": blob, "text": text})
                txn.set_ref(f"refs/tags/{number}", txn.put_tree({"below": tree}))
        with store.transaction("delete") as txn:
            txn.delete_ref("refs/tags/1")
        store.layout.config.write_text("undo_window_days = 3\n")


def _use(store: Store) -> None:
    """Everything that can be done with a store, each for itself; only our errors may come."""

    def read_all() -> None:
        for ref in store.refs():
            for reached in reach(store, [ref.entry]):
                store.get(reached.oid)

    def commit() -> None:
        with store.transaction("new") as txn:
            txn.set_ref("refs/tags/new", txn.put_tree({"b": txn.put_blob(b"new")}))

    steps: list[Callable[[], object]] = [
        read_all,
        store.reflog,
        lambda: list(store.objects()),
        lambda: fsck(store, full=True),
        lambda: store_stats(store),
        lambda: list_leases(store.layout.leases),
        commit,
        lambda: collect(store, dry_run=True),
        lambda: collect(store),
    ]
    for step in steps:
        try:
            step()
        except StoreError:
            continue


def _repair(store: Store) -> None:
    with store.catalog.read() as reader:
        rows = reader.packs()
    for row in rows:
        salvage_pack(store, row.id)
    adopt_unlisted_packs(store)


def fuzz_stores(rng: random.Random, cases: int, folder: Path) -> FuzzReport:
    """Damage one file of a store and use the store, ``cases`` times, below ``folder``."""
    report = FuzzReport()
    template, path = folder / "template", folder / "store"
    _sample_store(template)
    with Store.open(template, settings=Settings()) as store:
        whole = {ref.name: ref.entry for ref in store.refs()}
        layout = store.layout
        named = {layout.catalog.name: "catalog", layout.commit_lock.name: "commit lock"}
    names = sorted(file.relative_to(template) for file in template.rglob("*") if file.is_file())
    names.append(Path(layout.leases.name, "lease"))
    for number in range(cases):
        shutil.copytree(template, path)
        name = names[number % len(names)]
        kind = named.get(name.name, name.parts[0])
        target = path / name
        lease = _hold_a_lease(path) if kind == layout.leases.name else None
        target = lease.path if lease is not None else target
        intact = target.read_bytes()
        target.write_bytes(mutate(intact, rng))

        def run(repair: bool = number % 10 == 0) -> None:
            with Store.open(path) as store:
                _use(store)
                if repair:
                    _repair(store)

        _try(report, f"store, {kind}", run)
        if lease is not None:
            lease.release()
        elif kind == layout.packs.name and number % 10:
            target.write_bytes(intact)
            report.findings += _check_whole(path, whole)
        shutil.rmtree(path)
    return report


def _hold_a_lease(path: Path) -> Lease:
    lease = Lease(path / "leases", LeaseRole.WRITER)
    lease.publish(0, bytes(8))
    return lease


def _check_whole(path: Path, refs: dict[str, TreeEntry]) -> list[str]:
    """With the intact bytes back, nothing that refs reached is gone."""
    with Store.open(path, settings=Settings()) as store:
        problems = [problem.message for problem in fsck(store, full=True).problems]
        if any(store.ref(name).entry != entry for name, entry in refs.items()):
            problems.append("refs changed")
    return [f"damage made gc delete: {problem}" for problem in problems]


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m n4a_store.testing.fuzz")
    parser.add_argument("--cases", type=int, default=100_000, help="damaged inputs of decoders")
    parser.add_argument("--stores", type=int, default=3_000, help="damaged stores")
    parser.add_argument("--seed", type=int, default=20261123)
    arguments = parser.parse_args()
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="n4a-fuzz-", dir=memory if memory.is_dir() else None))
    started = time.monotonic()
    threading.stack_size(256 * 1024)  # each store's idle reader has a thread for a moment
    try:
        with limited_memory():
            reports = [
                fuzz_decoders(random.Random(arguments.seed), arguments.cases),
                fuzz_stores(random.Random(arguments.seed), arguments.stores, folder),
            ]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    write = sys.stdout.write
    total = sum(report.total for report in reports)
    write(f"{total} damaged inputs (seed {arguments.seed}, {time.monotonic() - started:.0f} s)\n")
    for report in reports:
        for name, count in sorted(report.cases.items()):
            write(f"{count:8d}  {name}\n")
        for finding in report.findings:
            write(f"FOUND {finding}\n")
    return 1 if any(report.findings for report in reports) else 0


if __name__ == "__main__":
    sys.exit(_main())

"""What fails or changes while it is written, or is interrupted: what had been put is whole.

One pack grows under all that a transaction puts. Whatever happens to the object that is being
written, those before it are committed as they were.
"""

from __future__ import annotations

import errno
import os
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n4a_store import ArtifactRegistry, BackendError, ObjectId, RunHandle, Store
from n4a_store.objects.oid import BytesLike, Kind, raw_hash
from n4a_store.packs import writer as writing
from n4a_store.packs.reader import PackReader
from n4a_store.packs.writer import PackWriter
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gc import collect
from n4a_store.storage import system

MIB = 1024 * 1024


def noise(size: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8).tobytes()


def add(writer: PackWriter, data: BytesLike) -> bytes:
    oid = raw_hash(Kind.BLOB, data)
    assert writer.add(oid, Kind.BLOB, data)
    return oid


def read_back(out: bytearray, payloads: list[bytes]) -> None:
    """The sealed pack holds these and nothing else, and every hash of it is right."""
    reader = PackReader(memoryview(bytes(out)), "p")
    reader.verify_bytes()
    reader.verify_index()
    assert len(reader) == len(payloads)
    for data in payloads:
        at = reader.find(raw_hash(Kind.BLOB, data))
        assert at >= 0
        assert bytes(reader.read_at(at)[1]) == data


def cutter(out: bytearray) -> Callable[[int], None]:
    def cut(length: int) -> None:
        del out[length:]

    return cut


@pytest.mark.parametrize("before", [100, 5_000, MIB - 40, 3 * MIB])
@pytest.mark.parametrize("size", [50, 5_000, MIB - 500, MIB + 5, 3 * MIB])
def test_a_pack_goes_back_to_where_it_was_kept(before: int, size: int) -> None:
    out = bytearray()
    writer = PackWriter(out.extend, cut=cutter(out))
    kept = [noise(before, 1), noise(300, 2)]
    for data in kept:
        add(writer, data)
    for _ in range(2):
        writer.keep()
        add(writer, noise(size, 3))
        add(writer, noise(40, 4))
        assert writer.rewind()
        assert len(writer) == 2
        assert writer.lacking([raw_hash(Kind.BLOB, noise(size, 3))])
    again = [noise(size, 3), noise(size, 5)]
    for data in again:
        add(writer, data)
    writer.seal()
    read_back(out, kept + again)


@pytest.mark.parametrize("size", [5_000, MIB - 500, 3 * MIB])
@pytest.mark.parametrize("where", ["before", "half", "after"])
def test_a_sink_that_fails_is_rewound(size: int, where: str) -> None:
    out = bytearray()
    failing = False

    def sink(data: BytesLike) -> None:
        if failing and where == "before":
            raise KeyboardInterrupt
        out.extend(data[: len(data) // 2] if failing and where == "half" else data)
        if failing:
            raise KeyboardInterrupt

    writer = PackWriter(sink, cut=cutter(out))
    kept = [noise(MIB - 2_000, 1)]
    add(writer, kept[0])
    failing = True
    writer.keep()
    with pytest.raises(KeyboardInterrupt):
        add(writer, noise(size, 3))
    failing = False
    assert writer.rewind()
    again = [noise(size, 3), noise(77, 4)]
    for data in again:
        add(writer, data)
    writer.seal()
    read_back(out, kept + again)


def test_what_cannot_be_rewound_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    out = bytearray()
    writer = PackWriter(out.extend)
    writer.keep()
    add(writer, noise(3 * MIB))
    assert not writer.rewind()  # nobody can cut what the sink was given
    sealed = PackWriter(out.extend, cut=cutter(out))
    sealed.seal()
    assert not sealed.rewind()
    sorted_away = PackWriter(out.extend, cut=cutter(out))
    sorted_away._places._limit = 3
    sorted_away.keep()
    for number in range(4):
        add(sorted_away, noise(10, number))
    assert not sorted_away.rewind()


@pytest.fixture
def failing_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[BaseException | None], None]]:
    """Lets whatever is compressed next fail."""
    real = writing.compress

    def set_to(error: BaseException | None) -> None:
        def boom(*_: Any) -> Any:
            assert error is not None
            raise error

        monkeypatch.setattr(writing, "compress", real if error is None else boom)

    yield set_to
    monkeypatch.setattr(writing, "compress", real)


@pytest.mark.parametrize("commit_each", ["run", "pipeline"])
@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), MemoryError(), OSError(errno.ENOSPC, "No space left on device")]
)
def test_a_run_keeps_what_is_complete_whatever_ends_it(
    tmp_path: Path, failing_at: Callable[[BaseException | None], None], commit_each: str, error: Any
) -> None:
    """A run that commits once lost all of it to one Ctrl-C, and told of a write that failed."""
    registry = ArtifactRegistry(tmp_path, "corn")
    runs: list[RunHandle] = []

    def train() -> None:
        with registry.run(commit_each=commit_each) as run:
            runs.append(run)
            for number in range(5):
                registry.register({"w": np.arange(1000.0) + number}, f"p{number}:0:all", "model")
                registry.complete_pipeline(f"p{number}")
            failing_at(error)
            try:
                registry.register({"w": np.arange(1000.0) * 3}, "next:0:all", "model")
            finally:
                failing_at(None)

    with pytest.raises(type(error)):
        train()
    assert [at.pipeline_id for at in registry.get_all_records()] == [f"p{n}" for n in range(5)]
    assert registry.store.get_run(registry.store.ref(f"refs/runs/{runs[0]}").oid).status == "failed"
    assert registry.load_artifact(registry.resolve("p4:0:all"))["w"][0] == 4
    assert fsck(registry.store, full=True).ok
    registry.close()


@pytest.mark.parametrize("commit_each", ["run", "pipeline", "artifact"])
def test_one_who_catches_the_error_goes_on(
    tmp_path: Path, failing_at: Callable[[BaseException | None], None], commit_each: str
) -> None:
    registry = ArtifactRegistry(tmp_path, "corn")
    with registry.run(commit_each=commit_each):
        registry.register(noise(2 * MIB), "p:0:all", "model")
        failing_at(MemoryError())
        with pytest.raises(MemoryError):
            registry.register(noise(3 * MIB, 1), "p:1:all", "model")
        failing_at(None)
        registry.register(noise(3 * MIB, 1), "p:1:all", "model")
        registry.register(noise(400, 2), "p:2:all", "model")
    for number, size in enumerate((2 * MIB, 3 * MIB, 400)):
        record = registry.resolve(f"p:{number}:all")
        assert record is not None
        assert registry.load_artifact(record) == noise(size, number)
    assert fsck(registry.store, full=True).ok
    registry.close()


def test_a_full_disk_that_has_room_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of what did not fit was written: it is cut away, and the transaction goes on."""
    with Store.init(tmp_path / "store") as store, store.transaction() as txn:
        first = [txn.put_blob(noise(700_000, number)) for number in range(2)]
        real = os.write

        def full(fd: int, data: memoryview) -> int:
            if len(data) > MIB:
                real(fd, data[:5_000])
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(fd, data)

        monkeypatch.setattr(system.os, "write", full)
        with pytest.raises(BackendError, match="No space left"):
            txn.put_blob(noise(2 * MIB, 7))
        monkeypatch.setattr(system.os, "write", real)
        later = txn.put_blob(noise(2 * MIB, 8))
        txn.set_ref("refs/tags/x", txn.put_tree({str(n): o for n, o in enumerate([*first, later])}))
        txn.commit()
        assert bytes(store.get(later)) == noise(2 * MIB, 8)
        assert bytes(store.get(first[1])) == noise(700_000, 1)
        assert fsck(store, full=True).ok


class Turn:
    """An array that another thread writes to in the very moment it has been hashed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, data: np.ndarray) -> None:
        self.data, self.left = data, 1
        for name in ("compress", "raw_hash"):
            real = getattr(writing, name)

            def turn(*args: Any, real: Any = real) -> Any:
                if self.left and len(args[0 if real.__name__ == "compress" else 1]) == data.nbytes:
                    self.left -= 1
                    data.view(np.uint8)[-1] ^= 0xFF
                return real(*args)

            monkeypatch.setattr(writing, name, turn)


@pytest.mark.parametrize("size", [20, 150, 5_000, 40_000, MIB, 3 * MIB])
@pytest.mark.parametrize("kind", ["noise", "zeros"])
@pytest.mark.parametrize("many", [False, True])
def test_what_changes_while_it_is_put_never_has_a_wrong_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, kind: str, many: bool
) -> None:
    """It was stored under the id of what it had been, and so was lost whoever else had that."""
    data = np.zeros(size, np.uint8)
    if kind == "noise":
        data[:] = np.frombuffer(noise(size), np.uint8)
    before = data.tobytes()
    with Store.init(tmp_path / "store") as store:
        with store.transaction() as txn:
            Turn(monkeypatch, data)
            if many:
                packed = [(memoryview(data), 1), (b"beside", 1), (memoryview(data), 1)]
                first, beside, second = txn.put_blobs(packed)
                assert (first, beside) == (second, raw_hash(Kind.BLOB, b"beside"))
            else:
                first = txn.put_blob(memoryview(data)).raw
            innocent = txn.put_blob(before)
            entries = {"busy": ObjectId(first), "innocent": innocent}
            txn.set_ref("refs/tags/x", txn.put_tree(entries))
        # As it was at one moment; the id is that of its bytes, or `get` would have raised.
        assert bytes(store.get(ObjectId(first))) in (before, data.tobytes())
        assert before != data.tobytes()
        assert bytes(store.get(innocent)) == before
        assert fsck(store, full=True).ok


def test_a_large_array_is_stored_without_another_in_memory(tmp_path: Path) -> None:
    """To be sure of what was written, all of it was copied: a model of half the memory was lost."""
    data = np.frombuffer(noise(24 * MIB), np.uint8).copy()
    with Store.init(tmp_path / "store") as store, store.transaction() as txn:
        beside = txn.put_blob(noise(300, 1))
        tracemalloc.start()
        try:
            large = txn.put_blob(memoryview(data))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 4 * MIB
        last = txn.put_blob(noise(5_000, 2))
        txn.set_ref("refs/tags/x", txn.put_tree({"a": beside, "b": large, "c": last}))
        txn.commit()
        assert store.get(large) == data.tobytes()
        assert fsck(store, full=True).ok


def test_a_model_that_is_trained_on_while_it_is_registered(tmp_path: Path) -> None:
    weights = np.zeros(200_000)
    registry = ArtifactRegistry(tmp_path, "corn")
    done = threading.Event()

    def train() -> None:
        at = 0
        while not done.is_set():
            weights[at % len(weights)] += 1
            at += 7919
            if not at % 64:
                done.wait(0.0002)

    thread = threading.Thread(target=train)
    thread.start()
    try:
        with registry.run():
            for number in range(40):
                registry.register({"w": weights}, f"p:{number}:all", "model")
    finally:
        done.set()
        thread.join()
    for record in registry.get_all_records():
        assert registry.load_artifact(record)["w"].shape == weights.shape
    assert fsck(registry.store, full=True).ok
    collect(registry.store, thorough=True)
    registry.close()

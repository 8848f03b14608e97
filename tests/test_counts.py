"""Speed as counts: what a commit and a put cost, in things that no busy machine can change.

Seconds are noisy; syncs, files, bytes and calls are not. The bounds leave a little room for
change and none for an accident: a second fsync a pack, a file an artifact, a lost deduplication.
"""

from __future__ import annotations

import os
import pickle
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression
from sklearn.preprocessing import StandardScaler

from n4a_store import ArtifactLoader, ArtifactRegistry
from n4a_store.artifacts.incoming import prepare
from n4a_store.artifacts.record_blob import encode_record
from n4a_store.artifacts.serializers.base import DEFAULT_THRESHOLD
from n4a_store.artifacts.serializers.table import default_table
from n4a_store.demo.spectra import load_fermentation
from n4a_store.objects.oid import raw_hash
from n4a_store.repo.gc import collect
from n4a_store.repo.repack import RepackMode, repack
from n4a_store.repo.store import Store
from n4a_store.storage import system
from n4a_store.storage.catalog_access import CatalogReader
from n4a_store.storage.rows import Row

COMPONENTS = (2, 3, 4, 5, 6, 8)


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """How often each step that changes the disk is taken in this block."""
    steps: Counter[str] = Counter()
    before = system.observe(lambda name, path: steps.update([name]))
    try:
        yield steps
    finally:
        system.observe(before)


@contextmanager
def calls() -> Iterator[list[int]]:
    """How many functions are called in this block, Python's and built-in ones."""
    count = [0]

    def note(frame: Any, event: str, arg: object) -> None:
        if event in ("call", "c_call"):
            count[0] += 1

    sys.setprofile(note)
    try:
        yield count
    finally:
        sys.setprofile(None)


def fitted() -> list[Any]:
    """A scaler and models with more and more components over the real spectra."""
    data = load_fermentation()
    scaler = StandardScaler().fit(data.X)
    scaled = scaler.transform(data.X)
    models = [PLSRegression(n).fit(scaled, data.glucose) for n in COMPONENTS]
    return [scaler, *models]


def train(registry: ArtifactRegistry, pipeline: str, objects: list[Any]) -> None:
    for step, obj in enumerate(objects):
        kind = "model" if step else "transformer"
        registry.register(obj, f"{pipeline}:{step}:all", kind)
    registry.complete_pipeline(pipeline)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[ArtifactRegistry]:
    registry = ArtifactRegistry(tmp_path, "corn")
    registry.start_run()
    train(registry, "first", [np.arange(3)])  # creates the store
    yield registry
    registry.close()


def files_below(folder: Path) -> set[str]:
    return {str(Path(at) / name) for at, _, names in os.walk(folder) for name in names}


def bytes_below(folder: Path) -> int:
    return sum(os.path.getsize(path) for path in files_below(folder))


def test_a_commit_syncs_one_pack_one_folder_and_the_catalog_once(
    registry: ArtifactRegistry,
) -> None:
    with counted() as steps:
        train(registry, "pls", fitted())
    assert steps["fsync"] == 2
    assert steps["catalog-read"] == steps["catalog-begin"] == steps["catalog-commit"] == 1
    assert steps["rename"] == 2  # the pack, and the readable manifest


def test_a_pipeline_of_a_run_makes_no_lease_and_no_folder_of_its_own(
    registry: ArtifactRegistry,
) -> None:
    train(registry, "warm", fitted())
    with counted() as steps:
        train(registry, "pls", fitted())
    assert steps["create"] == 2  # the pack, and the readable manifest
    assert steps["mkdir"] == 0
    assert steps["unlink"] == steps["rmdir"] == 0


def test_a_run_that_commits_once_waits_for_the_disk_once(tmp_path: Path) -> None:
    registry = ArtifactRegistry(tmp_path, "corn")
    with registry.run():
        train(registry, "first", [np.arange(3)])  # creates the store
    objects = fitted()
    with counted() as steps, registry.run(commit_each="run"):
        for number in range(5):
            train(registry, f"pls{number}", objects)
        synced = steps["fsync"]
        registry.checkpoint()
        assert (synced, steps["fsync"], steps["catalog-commit"]) == (0, 2, 1)
    registry.close()


def test_the_catalog_is_as_durable_as_its_pack(registry: ArtifactRegistry) -> None:
    with registry.store.catalog.write() as writer:
        connection: sqlite3.Connection = writer._connection
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("truncate",)


def test_a_pipeline_leaves_one_pack_and_one_manifest(
    registry: ArtifactRegistry, tmp_path: Path
) -> None:
    before = files_below(tmp_path)
    train(registry, "pls", fitted())
    new = (Path(path) for path in files_below(tmp_path) - before)
    # A read session may have ended and another begun: its lease is no file of the pipeline.
    assert sorted(path.suffix for path in new if path.parent.name != "leases") == [".n4p", ".yaml"]


def test_a_training_that_is_repeated_writes_no_payload_again(
    registry: ArtifactRegistry, tmp_path: Path
) -> None:
    objects = fitted()
    packs = registry.store.layout.packs
    empty = bytes_below(packs)
    train(registry, "pls", objects)
    first = bytes_below(packs) - empty
    train(registry, "again", objects)
    assert bytes_below(packs) - empty - first < 6_000  # a manifest, a run, an index
    assert first > 500_000


def test_bytes_written_to_disk_for_each_byte_stored(registry: ArtifactRegistry) -> None:
    written = 0
    real = system.write

    def note(fd: int, data: Any, path: str) -> None:
        nonlocal written
        written += memoryview(data).nbytes
        real(fd, data, path)

    packs = registry.store.layout.packs
    before = bytes_below(packs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(system, "write", note)
        train(registry, "pls", fitted())
    stored = bytes_below(packs) - before
    assert stored <= written < 1.02 * stored + 8_000  # the rest is the readable manifest


def test_what_the_fixed_models_take(registry: ArtifactRegistry) -> None:
    packs = registry.store.layout.packs
    before = bytes_below(packs)
    train(registry, "pls", fitted())
    logical = sum(record.size_bytes for record in registry.get_all_records("pls"))
    assert bytes_below(packs) - before < 0.95 * logical
    registry.end_run()
    repack(registry.store, RepackMode.COMPACT)
    assert bytes_below(packs) < 0.60 * logical


@pytest.mark.parametrize("size", [10, 200_000])
def test_calls_of_a_put_do_not_grow_with_its_size(tmp_path: Path, size: int) -> None:
    with Store.init(tmp_path / "store") as store, store.transaction() as txn:
        txn.put_blob(b"the first put creates the pack")
        data = np.random.default_rng(size).bytes(size)
        with calls() as count:
            txn.put_blob(data)
        assert count[0] < 65
        with calls() as count:
            txn.put_blob(data)  # a duplicate costs one hash
        assert count[0] < 22


def test_calls_of_a_registration(registry: ArtifactRegistry) -> None:
    objects = fitted()
    for step, obj in enumerate(objects):
        registry.register(obj, f"warm:{step}:all", "model")
    with calls() as count:
        for step, obj in enumerate(objects):
            registry.register(obj, f"pls:{step}:all", "model")
    assert count[0] / len(objects) < 850


def test_calls_of_a_preparation() -> None:
    """Beyond what pickling takes, when an equal one has been prepared before.

    A dozen of them are there only where other tests have imported a library with a serializer.
    """
    objects = fitted()
    options: dict[str, Any] = {"params": None, "meta_config": None, "format_hint": None}
    options |= {"table": default_table(), "threshold": DEFAULT_THRESHOLD}
    for step, obj in enumerate(objects):
        prepare(obj, f"warm:{step}:all", "model", **options)
    with calls() as plain:
        for obj in objects:
            pickle.dumps(obj, 5)
    with calls() as count:
        for step, obj in enumerate(objects):
            encode_record(prepare(obj, f"pls:{step}:all", "model", **options).blob)
    assert (count[0] - plain[0]) / len(objects) < 130


def test_calls_of_a_commit(registry: ArtifactRegistry) -> None:
    objects = fitted()
    train(registry, "warm", objects)
    for step, obj in enumerate(objects):
        registry.register(obj, f"pls:{step}:all", "model")
    with calls() as count:
        registry.complete_pipeline("pls")
    assert count[0] < 1_900


def test_calls_of_a_commit_do_not_grow_with_the_pipelines_before_it(
    registry: ArtifactRegistry,
) -> None:
    objects = [np.arange(5)]
    train(registry, "warm", objects)
    with calls() as early:
        train(registry, "early", objects)
    for number in range(30):
        train(registry, f"more{number}", objects)
    with calls() as late:
        train(registry, "late", objects)
    # A run lists its pipelines, and a transaction the packs; neither may be parsed each time.
    assert late[0] - early[0] < 100


def test_calls_of_a_commit_for_what_its_pipeline_keeps(registry: ArtifactRegistry) -> None:
    """Of one artifact after the other: none that is there is read again."""
    registry.end_run()
    registry.start_run(commit_each="artifact")
    counted: list[int] = []
    for number in range(121):
        obj = np.arange(5) + number
        with calls() as count:
            registry.register(obj, f"p:{number}:all", "model")
        counted.append(count[0])
    assert (counted[120] - counted[20]) / 100 < 70


def test_calls_of_a_load(registry: ArtifactRegistry, tmp_path: Path) -> None:
    """Beyond what unpickling takes: for the first time, and when everything is known."""
    objects = fitted()
    train(registry, "pls", objects)
    with calls() as plain:
        pickle.loads(pickle.dumps(objects[1], 5))
    with ArtifactLoader(tmp_path, "corn", cache_size=0) as loader:
        loader.load_by_id("pls:0:all")
        with calls() as first:
            loader.load_by_id("pls:1:all")
        with calls() as again:
            loader.load_by_id("pls:1:all")
    assert first[0] - plain[0] < 540
    assert again[0] - plain[0] < 155


def test_loading_a_pipeline_asks_the_catalog_once(
    registry: ArtifactRegistry, tmp_path: Path
) -> None:
    objects = fitted()
    train(registry, "pls", objects)
    with ArtifactLoader(tmp_path, "corn", cache_size=0) as loader:
        loader.load_by_id("first:0:all")  # opens the store and its session
        with counted() as steps:
            for step in range(len(objects)):
                loader.load_by_id(f"pls:{step}:all")
        assert steps["catalog-read"] == 1
        train(registry, "other", objects[:1])
        with counted() as steps:
            loader.load_by_id("pls:0:all")  # something was committed: it might have been this
        assert steps["catalog-read"] == 1


def test_what_models_share_is_hashed_and_inflated_once(
    registry: ArtifactRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what is stored raw, each load hashes what it maps."""
    shared = np.repeat(np.linspace(0, 1, 50), 400)  # compresses well
    models = [{"rows": shared, "number": number} for number in range(20)]
    train(registry, "shared", models)
    hashed: list[int] = []

    def note(kind: int, payload: Any) -> bytes:
        hashed.append(len(payload))
        return raw_hash(kind, payload)

    monkeypatch.setattr("n4a_store.packs.reader.raw_hash", note)
    with ArtifactLoader(tmp_path, "corn", cache_size=0) as loader:
        for step, model in enumerate(models):
            loaded = loader.load_by_id(f"shared:{step}:all")
            assert np.array_equal(loaded["rows"], shared)
            assert loaded["number"] == model["number"]
            loaded["rows"][:] = 7  # its own copy
    assert hashed.count(shared.nbytes) == 1
    assert sum(hashed) < shared.nbytes + 20_000


def test_a_gc_reads_the_operations_it_expires_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Counter[str] = Counter()
    checked = CatalogReader._checked

    def count(reader: CatalogReader, kind: type[Row], record: Any) -> tuple[Row, bytes]:
        read[kind.TABLE] += 1
        return checked(reader, kind, record)

    with Store.init(tmp_path / "store") as store:
        for number in range(60):
            with store.transaction() as txn:
                txn.set_ref("refs/tags/a", txn.put_blob(b"%d" % number))
        collect(store, expire_now=True)
        monkeypatch.setattr(CatalogReader, "_checked", count)
        collect(store, expire_now=True)
    assert read["ops"] < 10  # a day's operations stay, so that a lost answer is found again

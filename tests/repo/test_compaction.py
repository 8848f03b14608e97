"""Compaction makes real models smaller, changes no id, and survives gc, repack and damage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression
from sklearn.neighbors import KNeighborsRegressor

from n4a_store import ArtifactLoader, ArtifactRegistry, NotFoundError, Settings, Store
from n4a_store.objects.oid import Kind
from n4a_store.packs.entry import Codec
from n4a_store.packs.reader import PackReader
from n4a_store.repo import compaction
from n4a_store.repo.fsck import fsck
from n4a_store.repo.gain import compaction_gain
from n4a_store.repo.gc import collect
from n4a_store.repo.history import reach
from n4a_store.repo.repack import RepackMode, repack
from n4a_store.repo.repair import salvage_pack
from tests.conftest import Spectra
from tests.packs.written import write

COMPONENTS = range(2, 10)


def train(workspace: Path, spectra: Spectra) -> None:
    registry = ArtifactRegistry(workspace, "fermentation")
    with registry.run():
        for count in COMPONENTS:
            pls = PLSRegression(count).fit(spectra.X, spectra.y)
            registry.register(pls, f"pls{count}:1:all", "model")
            rows = np.ascontiguousarray(spectra.X[: 10 + count])
            knn = KNeighborsRegressor(3).fit(rows, spectra.y[: 10 + count])
            registry.register(knn, f"knn{count}:1:all", "model")
            registry.complete_pipeline(f"pls{count}")
            registry.complete_pipeline(f"knn{count}")
    registry.close()


@pytest.fixture
def store(tmp_path: Path, fermentation: Spectra) -> Store:
    train(tmp_path, fermentation)
    return Store.open(tmp_path / "binaries" / "fermentation")


def size(store: Store) -> int:
    return sum(path.stat().st_size for path in store.layout.packs.iterdir())


def deltas(store: Store) -> int:
    return sum(store.info(oid).codec == Codec.DELTA.label for oid, _ in store.objects())


def test_models_that_were_fitted_alike_become_deltas(
    store: Store, tmp_path: Path, fermentation: Spectra
) -> None:
    before = {oid: store.get(oid) for oid, _ in store.objects()}
    size_before = size(store)
    report = repack(store, RepackMode.COMPACT)
    assert report.packs_after == 1
    assert size(store) < 0.7 * size_before
    assert deltas(store) >= len(COMPONENTS)
    assert {oid: store.get(oid) for oid, _ in store.objects()} == before
    assert fsck(store, full=True).problems == ()
    model = ArtifactLoader(tmp_path, "fermentation").load_by_id("pls4:1:all")
    expected = PLSRegression(4).fit(fermentation.X, fermentation.y).predict(fermentation.X)
    assert np.array_equal(model.predict(fermentation.X), expected)


def test_what_is_hot_stays_as_it_is(store: Store) -> None:
    """Predictions are made with it; what resembles it may lean on it."""
    closure = {reached.oid for reached in reach(store, [store.resolve_entry("pls4")])}
    foreseen = compaction_gain(store, hot=["pls4"])
    report = repack(store, RepackMode.COMPACT, hot=["pls4"])
    assert foreseen.bytes_after == size(store)
    codecs = {oid: store.info(oid).codec for oid in closure}
    assert Codec.DELTA.label not in codecs.values()
    assert deltas(store) > 0
    assert report.packs_after == 1
    # Unasked it is no better than others; asked again, it comes back.
    repack(store, RepackMode.COMPACT)
    assert Codec.DELTA.label in {store.info(oid).codec for oid in closure}
    repack(store, RepackMode.COMPACT, hot=["pls4", "pls5"])
    assert Codec.DELTA.label not in {store.info(oid).codec for oid in closure}
    with pytest.raises(NotFoundError, match="nothing"):
        repack(store, RepackMode.COMPACT, hot=["nothing"])
    assert fsck(store, full=True).problems == ()


def test_what_a_compaction_would_gain_is_what_it_gains(store: Store) -> None:
    files = {path.name: path.stat().st_mtime_ns for path in store.layout.packs.iterdir()}
    foreseen = compaction_gain(store)
    assert {path.name: path.stat().st_mtime_ns for path in store.layout.packs.iterdir()} == files
    assert foreseen.bytes_before == size(store)
    repack(store, RepackMode.COMPACT)
    assert (foreseen.packs_after, foreseen.deltas) == (1, deltas(store))
    assert foreseen.bytes_after == size(store)


def test_bases_are_kept_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their tables take more than they do themselves."""
    monkeypatch.setattr(compaction, "_KEPT_BYTES", 2_000_000)
    blobs = [(Kind.BLOB, bytes([at]) * 50_000 * (at % 3 + 1), 1) for at in range(12)]
    reader = PackReader(memoryview(write(blobs)[0]), "p")
    bases = compaction._Bases()
    for at in [*range(12), 3, 3, *range(12)]:
        assert bases.encoder(reader, at) is bases.encoder(reader, at)
        assert bases.kept_bytes == sum(kept.size for kept in bases.kept.values()) <= 2_000_000
    assert 1 < len(bases.kept) < 12


def test_a_second_compaction_gains_nothing_and_loses_nothing(store: Store) -> None:
    repack(store, RepackMode.COMPACT)
    once, count = size(store), deltas(store)
    repack(store, RepackMode.COMPACT)
    assert abs(size(store) - once) < 0.02 * once
    assert deltas(store) == count
    repack(store, RepackMode.ALL)
    assert deltas(store) == count
    assert fsck(store, full=True).problems == ()


def test_a_delta_outlives_its_base(store: Store) -> None:
    repack(store, RepackMode.COMPACT)
    survivors = ("pls5", "knn4")
    kept = {
        oid: data
        for name in survivors
        for oid, data in [(store.resolve(name), store.get(store.resolve(name)))]
    }
    payloads = {name: closure(store, name) for name in survivors}
    with store.transaction() as txn:
        for ref in store.refs():
            if ref.name.rsplit("/", 1)[1] not in survivors:
                txn.delete_ref(ref.name)
    collect(store, expire_now=True)
    assert {oid: store.get(oid) for oid in kept} == kept
    assert {name: closure(store, name) for name in survivors} == payloads
    assert fsck(store, full=True).problems == ()
    assert collect(store, dry_run=True).unreachable.objects == 0


def closure(store: Store, name: str) -> dict[str, bytes]:
    found = {}
    waiting = [store.resolve_entry(name)]
    while waiting:
        entry = waiting.pop()
        found[entry.oid.hex] = store.get(entry.oid)
        if entry.kind.label == "tree":
            waiting.extend(store.get_tree(entry.oid).entries.values())
    return found


def test_small_packs_keep_each_delta_beside_its_base(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {oid: store.get(oid) for oid, _ in store.objects()}
    tiny = Store.open(store.path, settings=Settings(pack_max_objects=20))
    remembered: list[int] = []
    real = compaction._Bases.add

    def note(bases: compaction._Bases, *args: Any) -> None:
        real(bases, *args)
        remembered.append(len(bases.places))

    monkeypatch.setattr(compaction._Bases, "add", note)
    report = repack(tiny, RepackMode.COMPACT)
    assert report.packs_after > 2
    assert len(remembered) > 20 >= max(remembered), "bases of full packs are forgotten"
    assert {oid: tiny.get(oid) for oid, _ in tiny.objects()} == before
    assert fsck(tiny, full=True).problems == ()
    repack(tiny, RepackMode.ALL)
    assert {oid: tiny.get(oid) for oid, _ in tiny.objects()} == before


def test_salvage_saves_deltas_too(store: Store) -> None:
    repack(store, RepackMode.COMPACT)
    before = {oid: store.get(oid) for oid, _ in store.objects()}
    path = next(store.layout.packs.iterdir())
    data = bytearray(path.read_bytes())
    data[-200] ^= 0xFF  # in the index
    path.write_bytes(data)
    again = Store.open(store.path)
    report = salvage_pack(again, path.stem)
    assert report.index_was_damaged
    assert report.lost == ()
    assert {oid: again.get(oid) for oid, _ in again.objects()} == before
    assert fsck(again, full=True).problems == ()

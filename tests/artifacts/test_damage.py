"""Bytes that are not what was written never become an object."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from n4a_store import (
    ArtifactLoader,
    ArtifactNotFoundError,
    ArtifactRegistry,
    CorruptionError,
    StoreError,
    Workspace,
)
from n4a_store.artifacts.manifest_tree import PIPELINES
from n4a_store.artifacts.serializers.arrays import ArraySerializer
from n4a_store.artifacts.serializers.base import Payload
from n4a_store.artifacts.serializers.table import SerializerTable
from n4a_store.objects.model import TreeEntry
from n4a_store.objects.oid import Kind


class Fuse:
    """Unpickling it leaves a trace."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def pack_of(registry: ArtifactRegistry, data: bytes) -> tuple[Path, int]:
    """The pack that holds ``data`` as it is, and where."""
    for pack in (registry.store.path / "packs").iterdir():
        place = pack.read_bytes().find(data)
        if place >= 0:
            return pack, place
    raise AssertionError("not stored raw")


def test_swapped_bytes_are_named_before_any_unpickling(
    registry: ArtifactRegistry, workspace: Workspace, tmp_path: Path
) -> None:
    """The payload is exchanged for a working pickle of the same length."""
    secret = b"payload " + bytes(np.random.default_rng(1).integers(0, 256, 2000, dtype=np.uint8))
    registry.register(secret, "p:0:all", "model")
    registry.register("sound", "p:1:all", "model")
    registry.close()
    pack, place = pack_of(registry, secret)
    fuse = tmp_path / "exploded"
    evil = pickle.dumps(Fuse(fuse), 5)
    data = bytearray(pack.read_bytes())
    start = data.rindex(b"\x80\x05", 0, place)
    data[start : start + len(evil)] = evil
    pack.write_bytes(data)
    loader = ArtifactLoader(workspace, "corn")
    with pytest.raises(CorruptionError, match="artifact p:0:all"):
        loader.load_by_id("p:0:all")
    record = registry.resolve("p:0:all")
    assert record is not None
    with pytest.raises(CorruptionError, match="artifact p:0:all"):
        registry.load_artifact(record)
    assert not fuse.exists()
    assert loader.load_by_id("p:1:all") == "sound"


def test_a_numpy_artifact_that_holds_a_pickle_never_runs_it(
    registry: ArtifactRegistry, workspace: Workspace, tmp_path: Path
) -> None:
    """Well stored, well named, and not what its record says."""
    fuse = tmp_path / "exploded"

    class Lying(ArraySerializer):
        def dumps(self, obj: object, *, threshold: int = 0) -> Payload:
            return Payload(pickle.dumps(Fuse(fuse), 5))

    lying = ArtifactRegistry(workspace, "corn", table=SerializerTable((Lying(),)))
    record = lying.register(np.arange(3.0), "p:0:all", "model")
    lying.close()
    assert record.format == "npy"
    with pytest.raises(CorruptionError, match="artifact p:0:all: not an array"):
        ArtifactLoader(workspace, "corn", trust=True).load_by_id("p:0:all")
    with pytest.raises(CorruptionError, match="artifact p:0:all: not an array"):
        registry.load_artifact(record, trust=True)
    assert not fuse.exists()


def test_any_flipped_byte_of_a_pack_gives_the_truth_or_an_error(
    registry: ArtifactRegistry, workspace: Workspace
) -> None:
    registry.register({"coef": np.arange(6.0), "name": "pls"}, "p:0:all", "model")
    registry.close()
    packs = sorted((workspace.path / "binaries" / "corn" / "packs").iterdir())
    rng = np.random.default_rng(2)
    for pack in packs:
        good = pack.read_bytes()
        for place in rng.choice(len(good), 40, replace=False):
            bad = bytearray(good)
            bad[place] ^= 1 << int(rng.integers(8))
            pack.write_bytes(bad)
            with ArtifactLoader(workspace, "corn") as loader:
                try:
                    loaded = loader.load_by_id("p:0:all")
                except StoreError:
                    continue
                assert loaded["name"] == "pls"
                assert loaded["coef"].tolist() == list(range(6))
        pack.write_bytes(good)


def test_a_manifest_that_is_none_is_named(
    registry: ArtifactRegistry, loader: ArtifactLoader
) -> None:
    with registry.run():
        registry.register("x", "p:0:all", "model")
    with registry.store.transaction() as txn:
        blob = TreeEntry(Kind.BLOB, txn.put_blob(b"no links"))
        for attrs in ({}, {"serial": 1, "created_at": "", "run": ""}):
            tree = txn.put_tree(
                {"artifacts": TreeEntry(Kind.TREE, txn.put_tree({})), "links": blob}, attrs
            )
            txn.set_ref(PIPELINES + f"bad{len(attrs)}", tree)
    for name in ("bad0", "bad3"):
        with pytest.raises(CorruptionError, match=f"manifest of pipeline {name}"):
            loader.load_by_id(f"{name}:0:all")
    assert loader.load_by_id("p:0:all") == "x"


def test_everything_that_a_sweep_lists_can_be_loaded(
    registry: ArtifactRegistry, loader: ArtifactLoader
) -> None:
    """Variants that failed are not listed; those that are listed load."""
    with registry.run() as run:
        for variant in range(8):
            name = f"sweep_{variant}"
            registry.register(np.full(900, variant), f"{name}:0:all", "model")
            if variant % 3 == 0:
                registry.discard_pipeline(name)
            else:
                registry.complete_pipeline(name)
    listed = registry.get_all_records(run=run.id)
    assert [record.pipeline_id for record in listed] == [f"sweep_{v}" for v in (1, 2, 4, 5, 7)]
    assert loader.preload_artifacts() == 5
    with pytest.raises(ArtifactNotFoundError):
        loader.load_by_id("sweep_0:0:all")


def test_numpy_scalars_come_back_as_scalars(
    registry: ArtifactRegistry, loader: ArtifactLoader
) -> None:
    scalars = [np.float64(0.1), np.float32(1.5), np.int16(7), np.bool_(True), np.str_("x")]
    for place, value in enumerate(scalars):
        registry.register(value, f"p:{place}:all", "model")
        loaded = loader.load_by_id(f"p:{place}:all")
        assert type(loaded) is type(value)
        assert loaded == value


@pytest.mark.slow
def test_an_object_of_two_gigabytes(registry: ArtifactRegistry, loader: ArtifactLoader) -> None:
    registry.register(np.zeros(2**31 + 8, dtype=np.uint8), "p:0:all", "model")
    assert loader.load_by_id("p:0:all").nbytes == 2**31 + 8


def test_damage_to_what_names_an_artifact_names_it_too(
    registry: ArtifactRegistry, workspace: Workspace
) -> None:
    """Its manifest, its links: whatever byte it is that keeps it from being found."""
    registry.register("short", "p:0:all", "model")
    (pack,) = (registry.store.path / "packs").iterdir()
    registry.close()
    whole = pack.read_bytes()
    messages = []
    for place in range(0, len(whole), 23):
        pack.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with ArtifactLoader(workspace, "corn") as loader:
            try:
                assert loader.load_by_id("p:0:all") == "short"
            except CorruptionError as error:
                messages.append(str(error))
    assert len(messages) > 10
    assert [text for text in messages if "p:0:all" not in text] == []

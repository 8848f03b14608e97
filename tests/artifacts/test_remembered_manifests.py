"""Manifests are remembered by what they hold, and what is forgotten is read again."""

from __future__ import annotations

import pytest

from n4a_store import ArtifactLoader, ArtifactRegistry
from n4a_store.artifacts import queries


def check(loader: ArtifactLoader, most: int) -> None:
    view = loader._view
    sizes = [queries._size(pipeline) for pipeline in view._manifests.values()]
    assert view._keys == sum(sizes)
    assert view._keys <= most or len(sizes) == 1
    remembered = {id(pipeline) for pipeline in view._manifests.values()}
    assert {id(pipeline) for _, pipeline in view._last.values()} <= remembered


def test_so_many_keys_are_remembered_and_the_rest_is_read_again(
    registry: ArtifactRegistry, loader: ArtifactLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {"a": 1, "b": 3, "c": 40, "d": 2, "e": 1}  # c alone is more than is remembered
    names = []
    with registry.run():
        for name, count in counts.items():
            names += [f"{name}:{step}:all" for step in range(count)]
            for step in range(count):
                registry.register([name, step], f"{name}:{step}:all", "transformer")
    most = 3 * queries._PER_MANIFEST + 6
    monkeypatch.setattr(queries, "_MOST_KEYS", most)
    for _ in range(2):
        for artifact in names:
            name, step, _ = artifact.split(":")
            assert loader.load_by_id(artifact) == [name, int(step)]
            check(loader, most)
    assert len(loader._view._manifests) == 2
    with registry.run():  # another manifest of a pipeline that is remembered
        registry.register(["again"], "e:0:all", "transformer")
    assert loader.load_by_id("e:0:all") == ["again"]
    check(loader, most)
    loader.close()
    assert loader._view._keys == 0

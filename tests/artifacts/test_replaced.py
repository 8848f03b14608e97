"""An id that is registered twice in one run: its first record is good while the run is open."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from n4a_store import ArtifactRegistry


def test_a_record_that_was_replaced_in_the_open_run_still_loads(tmp_path: Path) -> None:
    registry = ArtifactRegistry(tmp_path, "corn")
    with registry.run():
        first = registry.register(np.arange(5), "p:0:all", "model")
        second = registry.register(np.arange(6), "p:0:all", "model")
        assert (first.version, second.version) == (1, 2)
        assert np.array_equal(registry.load_artifact(first), np.arange(5))
        assert np.array_equal(registry.load_artifact(second), np.arange(6))
    resolved = registry.resolve("p:0:all")
    assert resolved is not None
    assert resolved.version == 2

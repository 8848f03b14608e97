"""An import that is killed in the middle can be repeated: all is there and nothing is doubled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from n4a_store.artifacts.registry import ArtifactRegistry
from n4a_store.artifacts.types import ArtifactType
from n4a_store.artifacts.workspace import Workspace
from n4a_store.repo.inspect import inspect_pack
from n4a_store.storage.rows import PackState
from tests.cli.conftest import EXECUTABLE, Cli

ARTIFACTS, NUMBERS = 96, 16_384
SMALL_PACKS = {"N4A_STORE_PACK_MAX_BYTES": str(256 * 1024)}
ENOUGH = 3  # packs that were published when the import is killed


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of twelve megabytes that do not compress."""
    from n4a_store.cli.main import run

    folder = tmp_path_factory.mktemp("large")
    registry = ArtifactRegistry(folder / "ws", "corn")
    random = np.random.default_rng(0)
    with registry.run() as made:
        for place in range(ARTIFACTS):
            weights = random.normal(size=NUMBERS)
            registry.register(weights, registry.generate_id("0001", [], place), ArtifactType.MODEL)
        registry.complete_pipeline("0001")
    registry.close()
    path = folder / "run.n4b"
    argv = ["-w", folder / "ws", "-q", "artifacts", "export", made.id, "-o", path]
    assert run([str(word) for word in argv]) == 0
    return path


def copies(workspace: Path) -> Counter[str]:
    """How often each object stands in the packs that the catalog lists."""
    with Workspace(workspace).store("corn") as store:
        with store.catalog.read() as reader:
            rows = reader.packs((PackState.LIVE,))
        packs = [inspect_pack(store.layout.pack(row.id)) for row in rows]
    assert not any(pack.damage for pack in packs)
    return Counter(found.oid.hex for pack in packs for found in pack.objects)


def test_a_killed_import_is_repeated(bundle: Path, executable: Cli, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    at = ("-w", theirs, "-d", "corn", "artifacts", "import", "--create", bundle)
    packs = theirs / "binaries" / "corn" / "packs"
    first = subprocess.Popen(
        [EXECUTABLE, *map(str, at)],
        env=os.environ | SMALL_PACKS,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not (packs.is_dir() and len(list(packs.iterdir())) >= ENOUGH):
        assert first.poll() is None, "the import ended before it could be killed"
        time.sleep(0.001)
    first.send_signal(signal.SIGKILL)
    assert first.wait(60) == -signal.SIGKILL
    torn = copies(theirs)
    assert 0 < len(torn) < ARTIFACTS * 2
    assert executable("-w", theirs, "show-ref").ok().out == ""

    again = executable(*at, "--json", env=SMALL_PACKS).ok()
    received = json.loads(again.out)["imported"]["received"]
    assert received["objects"] - received["added"] >= len(torn) > 0
    found = copies(theirs)
    assert set(found) > set(torn)
    assert set(found.values()) == {1}
    verified = executable("-w", theirs, "artifacts", "verify", "0001").ok()
    assert verified.out.startswith("corn: ok")
    listed = executable("-w", theirs, "artifacts", "show", "0001", "--json").ok().json
    assert len(listed["artifacts"]) == ARTIFACTS
    # What the killed import left in its own folders goes with a gc, and nothing else does.
    executable("-w", theirs, "artifacts", "gc", "--now", "--force").ok()
    assert executable("-w", theirs, "artifacts", "verify", "0001").ok().out == verified.out
    assert list((packs.parent / "txn").iterdir()) == []

"""What a script defines is stored by value, also by a worker that runs the script afresh."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from n4a_store.artifacts.serializers.main_module import names_main
from n4a_store.artifacts.serializers.pickle5 import Pickle5Serializer

SCRIPT = """
import multiprocessing, pathlib, sys

class Center:
    def __init__(self):
        self.scale = scale
    def transform(self, x):
        return scale(x - 1)

def scale(x):
    return 2 * x

def work(path):
    import cloudpickle
    from n4a_store.artifacts.serializers.{module} import {name}
    assert Center.__module__ == "__mp_main__"
    payload = {name}().dumps({make})
    assert payload.pickler == "cloudpickle"
    assert not cloudpickle.list_registry_pickle_by_value(), "nobody else's pickles are changed"
    assert not payload.buffers
    pathlib.Path(path).write_bytes(payload.skeleton)

if __name__ == "__main__":
    worker = multiprocessing.get_context(sys.argv[1]).Process(target=work, args=(sys.argv[2],))
    worker.start()
    worker.join()
    sys.exit(worker.exitcode)
"""


def made_by_a_worker(tmp_path: Path, how: str, **names: str) -> bytes:
    script, out = tmp_path / "train.py", tmp_path / "skeleton"
    script.write_text(SCRIPT.format(**names))
    subprocess.run([sys.executable, str(script), how, str(out)], check=True, cwd=tmp_path)
    return out.read_bytes()


@pytest.mark.parametrize("how", ["spawn", "forkserver"])
def test_what_a_worker_of_the_script_made_loads_in_another_process(
    tmp_path: Path, how: str
) -> None:
    skeleton = made_by_a_worker(
        tmp_path, how, module="pickle5", name="Pickle5Serializer", make="Center()"
    )
    loaded = Pickle5Serializer().loads(skeleton, [])
    assert loaded.transform(4) == 6
    assert loaded.scale(4) == 8
    again = Pickle5Serializer().dumps(loaded)
    assert again.pickler == "cloudpickle", "and can be stored from there"
    assert Pickle5Serializer().loads(again.skeleton, []).transform(4) == 6


@pytest.mark.large
def test_a_module_of_torch_that_a_worker_made_loads_in_another_process(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install -e .[large]")
    from n4a_store.artifacts.serializers.torch_archive import TorchModuleSerializer

    skeleton = made_by_a_worker(
        tmp_path,
        "spawn",
        module="torch_archive",
        name="TorchModuleSerializer",
        make="type('Net', (__import__('torch').nn.Identity,), dict(forward=Center.transform))()",
    )
    assert TorchModuleSerializer().loads(skeleton, [])(torch.ones(1)).tolist() == [0.0]


@pytest.mark.parametrize(
    ("pickled", "named"),
    [(b"__main__", True), (b"x__mp_main__y", True), (b"domain_main__", False), (b"", False)],
)
def test_both_names_are_seen_and_no_others(pickled: bytes, named: bool) -> None:
    assert names_main(pickled) is named

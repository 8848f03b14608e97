"""Starting is cheap: what the first import and the first screen must not load.

Each check runs in an interpreter of its own, because this one has everything loaded. What is
checked is *what* is imported, never how long it takes: `benchmarks/startup.py` measures that.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from n4a_store import ArtifactRegistry

HEAVY = {"click", "cloudpickle", "numpy", "scipy", "sklearn", "yaml", "zstandard"}

HELP_NEVER_NEEDS = (HEAVY - {"click"}) | {
    "sqlite3",
    "n4a_store.artifacts",
    "n4a_store.odb",
    "n4a_store.packs",
    "n4a_store.pipeline",
    "n4a_store.repo",
    "n4a_store.storage",
}

REPORT = "import sys; sys.stdout.flush(); print('\\n'.join(sorted(sys.modules)), file=sys.stderr)"


def modules_after(code: str) -> set[str]:
    """The names of all modules that an interpreter has loaded after running the code."""
    # Measuring coverage there would load what it needs itself.
    clean = {name: text for name, text in os.environ.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, "-c", f"{code}\n{REPORT}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=clean)
    return set(done.stderr.split())


def help_screen(*command: str) -> str:
    return f"""
import sys
sys.argv = ["n4a-store", *{command!r}, "--help"]
from n4a_store.cli.main import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
"""


def in_store(path: Path, *command: str) -> str:
    return f"""
import sys
sys.argv = ["n4a-store", "-w", {str(path)!r}, "-d", "corn", "artifacts", *{command!r}]
from n4a_store.cli.main import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
"""


@pytest.mark.parametrize(
    "command",
    [("stats",), ("log",), ("show", "p"), ("find", "--type", "model"), ("manifest", "p"), ("tag",)],
    ids=lambda command: command[0],
)
def test_a_command_that_does_not_need_numpy_does_not_import_it(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    with ArtifactRegistry(tmp_path, "corn") as registry:
        registry.register({"a": 1}, "p:0:all", "model")
    assert modules_after(in_store(tmp_path, *command)) & {"numpy", "cloudpickle"} == set()


def test_the_probe_sees_what_is_loaded() -> None:
    assert "numpy" in modules_after("import numpy")
    assert "click" in modules_after("import click")


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = modules_after("import n4a_store")
    assert "n4a_store" in loaded
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("command", [(), ("artifacts",)], ids=["n4a-store", "artifacts"])
def test_the_first_screen_loads_click_and_nothing_heavy(command: tuple[str, ...]) -> None:
    loaded = modules_after(help_screen(*command))
    assert "click" in loaded
    assert loaded & HELP_NEVER_NEEDS == set()

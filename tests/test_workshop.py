"""The workshop keeps its own rules: one place for each fact, one command for everybody."""

import configparser
import os
import re
import subprocess
import tomllib
from pathlib import Path

import n4a_store

ROOT = Path(__file__).resolve().parent.parent


def setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def test_metadata_and_tool_settings_live_apart() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(pyproject) == {"build-system", "tool"}
    sections = {name.split(".")[0] for name in setup_cfg().sections()}
    assert sections == {"metadata", "options"}


def test_the_lowest_python_is_the_same_everywhere() -> None:
    config = setup_cfg()
    classifiers = config["metadata"]["classifiers"]
    versions = re.findall(r"Python :: 3\.(\d+)$", classifiers, re.MULTILINE)
    lowest = min(int(minor) for minor in versions)
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert config["options"]["python_requires"] == f">=3.{lowest}"
    assert pyproject["tool"]["mypy"]["python_version"] == f"3.{lowest}"
    assert f"(3, {lowest})" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_the_oldest_versions_that_are_tried_are_those_that_are_promised() -> None:
    text = (ROOT / "tests" / "oldest.txt").read_text(encoding="utf-8")
    tried = dict(re.findall(r"^(\S+)==(\S+)$", text, re.MULTILINE))
    config = setup_cfg()
    needed = config["options"]["install_requires"].split()
    promised = dict(line.split(">=") for line in needed)
    assert len(promised) == len(needed)
    demo = dict(re.findall(r"(\S+)>=(\S+)", config["options.extras_require"]["demo"]))
    assert tried == promised | {"scikit-learn": demo["scikit-learn"]}


def test_the_changelog_begins_with_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+)", changelog, re.MULTILINE)
    assert newest is not None
    assert newest[1] == n4a_store.__version__


def test_ci_runs_what_everybody_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    text = script.read_text(encoding="utf-8")
    for target in ("lint", "types", "test", "torture"):
        assert re.search(rf"\bmake\b.*\b{target}\b", text), target
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0


def test_what_the_commands_leave_behind_is_ignored_by_git_and_removed_by_clean() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    workspace = re.search(r"^DEMO_WORKSPACE \?= (\S+)$", makefile, re.MULTILINE)
    assert workspace is not None
    assert f"/{workspace[1]}/" in ignored
    assert ".venv/" in ignored
    recipe = makefile.partition("\nclean:")[2]
    assert "$(DEMO_WORKSPACE)" in recipe
    assert "$(VENV)" in recipe


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(n4a_store.__file__).parent / "py.typed").is_file()
    assert "py.typed" in setup_cfg()["options.package_data"]["n4a_store"]

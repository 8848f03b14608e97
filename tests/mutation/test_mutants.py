"""The mutants fit the source, the runner cannot be fooled, and a handful is tried for real.

All of them take a quarter of an hour: ``make mutants``.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.mutation.mutants import CI, MUTANTS, Mutant
from tests.mutation.runner import ROOT, RunnerError, apply, copy_tree, run_tests, table, try_mutants

PACKAGE = ROOT / "n4a_store"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package to be patched."""
    folder: Path = tmp_path_factory.mktemp("copy") / "n4a_store"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_fits_the_source_exactly_once(mutant: Mutant, package: Path) -> None:
    before = apply(mutant, package)
    assert (package / mutant.file).read_text() != before
    (package / mutant.file).write_text(before)


def test_there_are_enough_and_each_has_a_name_of_its_own() -> None:
    names = {mutant.name for mutant in MUTANTS}
    assert len(names) == len(MUTANTS) >= 25
    assert set(CI) <= names


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (("no such text", ""), "fits 0 times"),
        (("import", "export"), "fits [0-9]+ times"),
        (("def drop_condemned", "def def"), "invalid syntax"),
    ],
)
def test_a_patch_that_does_not_fit_stops_everything(
    edit: tuple[str, str], said: str, package: Path
) -> None:
    mutant = Mutant("broken", "", "repo/sweep.py", (edit,), ())
    before = (package / mutant.file).read_text()
    with pytest.raises(RunnerError, match=said):
        apply(mutant, package)
    assert (package / mutant.file).read_text() == before


def _named(name: str) -> Mutant:
    return next(mutant for mutant in MUTANTS if mutant.name == name)


@pytest.mark.slow
def test_a_handful_is_killed() -> None:
    outcomes = try_mutants(map(_named, CI), whole=False)
    assert [each.mutant.name for each in outcomes if each.killed_by is None] == []
    assert table(outcomes).count("\n") == len(CI) + 1


@pytest.mark.slow
def test_a_change_that_is_no_mutant_survives() -> None:
    """Or else whatever makes the copy fail would count as a kill."""
    harmless = Mutant(
        "harmless",
        "nothing",
        "repo/sweep.py",
        (('"""Dropping packs:', '"""Dropping, that is, packs:'),),
        ("tests/repo/test_packing.py",),
    )
    (outcome,) = try_mutants([harmless], whole=False)
    assert outcome.killed_by is None


def test_a_copy_that_cannot_be_imported_is_no_kill(tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    copy_tree(folder)
    (folder / "n4a_store" / "errors.py").write_text("raise ImportError('broken')\n")
    with pytest.raises(RunnerError, match="pytest itself failed"):
        run_tests(folder, ["tests/repo/test_gc.py"])

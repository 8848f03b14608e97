"""Try mutants: patch a scratch copy of the package, run the suites there, say who noticed.

    python -m tests.mutation.runner [--out docs/explanation/mutations.md] [NAME ...]

The copy lies outside the tree, so the tree is never touched. A patch that does not fit exactly
once, a copy that cannot be imported, or suites that fail without any mutant stop everything: a
mutant that was never really tried would count as killed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutation.mutants import MUTANTS, QUICK, SUITES, Mutant

__all__ = ["Outcome", "apply", "try_mutants"]

ROOT = Path(__file__).resolve().parents[2]
_COPIED = ("n4a_store", "tests", "docs", "pyproject.toml", "setup.cfg")
_SECONDS = 240
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mutant.

    Args:
        mutant: Which.
        killed_by: The first test that failed; None when it survived.
        seconds: How long that took.
    """

    mutant: Mutant
    killed_by: str | None
    seconds: float


class RunnerError(Exception):
    """A mutant could not be tried."""


def apply(mutant: Mutant, package: Path) -> str:
    """Patch a copy of the package; what the file held before.

    Raises:
        RunnerError: An edit does not fit exactly once, or the result is no Python.
    """
    path = package / mutant.file
    before = text = path.read_text()
    for old, new in mutant.edits:
        if text.count(old) != 1:
            found = text.count(old)
            raise RunnerError(f"{mutant.name}: fits {found} times in {mutant.file}:\n{old}")
        text = text.replace(old, new)
    try:
        compile(text, str(path), "exec")
    except SyntaxError as error:
        raise RunnerError(f"{mutant.name}: {error}") from error
    path.write_text(text)
    return before


def copy_tree(folder: Path) -> None:
    """A scratch copy of what the suites need."""
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)


def run_tests(folder: Path, suites: Sequence[str]) -> str | None:
    """Run suites in a copy; the first test that failed, None when all passed."""
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *suites]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"(no end after {_SECONDS} s)"
    if done.returncode == 0:
        return None
    failed = _FAILED.search(done.stdout)
    if done.returncode != 1 or failed is None:
        raise RunnerError(f"pytest itself failed:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    return failed[1]


def check_copy(folder: Path) -> None:
    """Make sure that a copy is imported from where it lies."""
    found = subprocess.run(
        [sys.executable, "-c", "import n4a_store; print(n4a_store.__file__)"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    if not found.stdout.startswith(str(folder)):
        raise RunnerError(f"the copy imports {found.stdout.strip()}")


def try_mutants(mutants: Iterable[Mutant], *, whole: bool = True) -> list[Outcome]:
    """Try mutants one by one.

    Args:
        mutants: Which.
        whole: Whether to go through all suites when a mutant's own killers have not noticed.
    """
    outcomes = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_tree(folder)
        check_copy(folder)
        if whole and (failed := run_tests(folder, SUITES)) is not None:
            raise RunnerError(f"without any mutant {failed} fails")
        for mutant in mutants:
            before = apply(mutant, folder / "n4a_store")
            began = time.monotonic()
            try:
                killed_by = run_tests(folder, tuple(dict.fromkeys((*mutant.killers, *QUICK))))
                if killed_by is None and whole:
                    killed_by = run_tests(folder, SUITES)
            finally:
                (folder / "n4a_store" / mutant.file).write_text(before)
            outcomes.append(Outcome(mutant, killed_by, time.monotonic() - began))
            _say(outcomes[-1])
    return outcomes


def _say(outcome: Outcome) -> None:
    verdict = f"killed by {outcome.killed_by}" if outcome.killed_by else "SURVIVED"
    sys.stdout.write(f"{outcome.mutant.name}: {verdict} ({outcome.seconds:.0f} s)\n")
    sys.stdout.flush()


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as a table in Markdown."""
    lines = ["| mutant | what is wrong | noticed by |", "|---|---|---|"]
    for outcome in outcomes:
        star = " ★" if outcome.mutant.listed else ""
        # Parametrised tests have ids of any text; the function is enough.
        noticed = (outcome.killed_by or "**nobody**").partition("[")[0].removeprefix("tests/")
        lines.append(f"| `{outcome.mutant.name}`{star} | {outcome.mutant.wrong} | `{noticed}` |")
    return "\n".join(lines)


def main() -> int:
    """Try the mutants that were named, or all."""
    parser = argparse.ArgumentParser(description="try mutants of the protocol")
    parser.add_argument("names", nargs="*", help="which; all without a name")
    parser.add_argument("--out", type=Path, help="a page whose table is replaced")
    parser.add_argument(
        "--fast", action="store_true", help="ask only the quickest suites and each mutant's own"
    )
    options = parser.parse_args()
    chosen = [each for each in MUTANTS if not options.names or each.name in options.names]
    unknown = set(options.names) - {each.name for each in MUTANTS}
    if unknown:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    outcomes = try_mutants(chosen, whole=not options.fast)
    killed = sum(outcome.killed_by is not None for outcome in outcomes)
    sys.stdout.write(f"{killed} of {len(outcomes)} killed\n")
    if options.out is not None:
        _replace_table(options.out, outcomes, killed)
    return 0 if killed == len(outcomes) else 1


def _replace_table(page: Path, outcomes: Sequence[Outcome], killed: int) -> None:
    begin, end = "<!-- table -->\n", "<!-- end of table -->"
    before, _, rest = page.read_text().partition(begin)
    _, _, after = rest.partition(end)
    summary = f"**{killed} of {len(outcomes)} killed.**\n\n"
    page.write_text(f"{before}{begin}{summary}{table(outcomes)}\n{end}{after}")


if __name__ == "__main__":
    sys.exit(main())

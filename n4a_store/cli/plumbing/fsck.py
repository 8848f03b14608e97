"""`fsck`: whether everything is still what was written, and whom it hurts if not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from n4a_store.cli.command import plumbing
from n4a_store.cli.context import App
from n4a_store.cli.exit_codes import ExitCode
from n4a_store.cli.progress import progress
from n4a_store.cli.render import Span
from n4a_store.cli.terminal import counted, human_count, human_size

if TYPE_CHECKING:
    from n4a_store.repo.fsck import FsckReport, Problem

_STYLES = {"error": "red", "warning": "yellow", "note": "dim"}
_SHOWN_HURTS = 5


@plumbing("fsck")
@click.option("--full", is_flag=True, help="Read every byte, not only indexes and trees.")
def command(app: App, full: bool) -> None:
    """Check that a store is whole.

    Quick: the catalog, every pack's index, and that everything reachable is there. --full
    reads every byte, checks every object against its id and every tree for its one encoding.
    It reports all that it finds, and which runs and artifacts that hurts; it changes nothing.
    Without -d, all datasets of the workspace are checked. Damage is exit code 4.
    """
    from n4a_store.repo.fsck import fsck

    reports: dict[str, FsckReport] = {}
    for dataset in app.datasets(diagnose=True):
        with (
            app.attempt(dataset.name, diagnose=True),
            progress(app, f"checking {dataset.name}") as report,
        ):
            reports[dataset.name] = fsck(dataset.store, full=full, progress=report)
    if not all(checked.ok for checked in reports.values()):
        app.exit_code = ExitCode.FINDINGS
    app.find_damage()
    if app.json:
        rows = [{"dataset": name, "ok": r.ok, "report": r} for name, r in reports.items()]
        app.out.json("fsck", {"datasets": rows})
        return
    for name, checked in reports.items():
        _show(app, name, checked)


def _show(app: App, name: str, report: FsckReport) -> None:
    said: str | None = None
    for problem in report.problems:
        _show_problem(app, name, problem, said)
        said = problem.hint
    errors = sum(problem.severity == "error" for problem in report.problems)
    verdict = Span("ok", "green") if report.ok else Span(f"{errors} damaged or missing", "red")
    app.out.line(f"{name}: ", verdict)
    read = "every byte of " if report.full else ""
    app.out.note(
        f"  checked {read}{counted(report.objects, 'objects')} in "
        f"{counted(report.packs, 'packs')} ({human_size(report.stored_bytes)})"
    )
    app.out.note(
        f"  {human_count(report.reachable)} reachable from {report.roots} refs and reflog entries"
    )
    if report.ok and not report.full:
        app.out.note("  contents were not read: 'n4a-store fsck --full' does that")


def _show_problem(app: App, dataset: str, problem: Problem, said: str | None) -> None:
    """One finding; its hint unless the one before it said just that."""
    out, most = app.out, None if app.verbose else _SHOWN_HURTS
    style = _STYLES[problem.severity]
    out.line(Span(str(problem.severity), style), f" {problem.code} {problem.subject}")
    out.line(f"  {problem.message}")
    for hurt in problem.hurts[:most]:
        out.line(f"  hurts {hurt}")
    if most is not None and len(problem.hurts) > most:
        out.line(f"  … {len(problem.hurts) - most} more: --verbose")
    if problem.hint and problem.hint != said:
        out.line(f"  hint: {app.located(problem.hint, dataset)}")

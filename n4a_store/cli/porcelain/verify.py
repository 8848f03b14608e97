"""`artifacts verify`: every byte of a result, and of all that it needs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from n4a_store.cli.command import porcelain
from n4a_store.cli.complete import names as complete_names
from n4a_store.cli.context import App, Dataset
from n4a_store.cli.exit_codes import ExitCode
from n4a_store.cli.progress import Report, progress
from n4a_store.cli.terminal import human_count, human_size

if TYPE_CHECKING:
    from n4a_store.repo.verify import ClosureReport


@porcelain("verify")
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_names)
def command(app: App, names: tuple[str, ...]) -> None:
    """Check every byte of results and of all that they need.

    NAME is a run, a pipeline, an artifact id, a tag or any other name; without one, all that
    refs reach is read. Nothing is unpickled. Damage is exit code 4. 'n4a-store fsck --full'
    checks the whole store, garbage and catalog included.
    """
    rows: list[dict[str, object]] = []
    for dataset in [app.dataset()] if names else app.datasets():
        with app.attempt(dataset.name):
            report = _verify(app, dataset, names)
            if report.damage:
                app.exit_code = ExitCode.FINDINGS
            if app.json:
                rows.append({"dataset": dataset.name, "report": report})
            else:
                _show(app, dataset, report)
    app.find_damage()
    if app.json:
        app.out.json("artifacts verify", {"datasets": rows})


def _verify(app: App, dataset: Dataset, names: tuple[str, ...]) -> ClosureReport:
    from n4a_store.cli.resolve import resolve_entry
    from n4a_store.repo.verify import verify_closure

    store = dataset.store
    roots = {name: resolve_entry(store, name) for name in names}
    if not names:
        roots = {ref.name: ref.entry for ref in store.refs()}
    with store.catalog.read() as reader:
        total = sum(pack.raw_bytes for pack in reader.packs())
    with progress(app, f"verifying {dataset.name}") as shown:
        step = None if shown is None else partial(_step, shown, total)
        return verify_closure(store, roots, step)


def _show(app: App, dataset: Dataset, report: ClosureReport) -> None:
    for problem in report.damage:
        app.out.line(f"damaged  {problem.name}")
        app.out.line(f"  {problem.message}")
    verdict = f"{len(report.damage)} damaged" if report.damage else "ok"
    read = f"{human_count(report.objects)} objects, {human_size(report.size)}"
    app.out.line(f"{dataset.name}: {verdict} ({read} read)")


def _step(report: Report, total: int, done: int) -> None:
    """Progress against all that is stored: what is named is rarely more than a part of it."""
    report(done, max(total, done))

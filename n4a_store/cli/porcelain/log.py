"""`artifacts log`: the runs, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from n4a_store.cli.choices import Number
from n4a_store.cli.command import porcelain
from n4a_store.cli.complete import pipelines
from n4a_store.cli.context import App, Dataset
from n4a_store.cli.porcelain.look import shown_time
from n4a_store.cli.render import Column, Span

if TYPE_CHECKING:
    from n4a_store.artifacts.overview import RunSummary


_COLUMNS = (
    Column("RUN", style="yellow"),
    Column("STATUS"),
    Column("DATE"),
    Column("PIPELINES", right=True),
    Column("ARTIFACTS", right=True),
    Column("NEW", right=True),
    Column("FAILED", right=True),
    Column("MESSAGE", flexible=True),
)
_FAILED = 6


@porcelain("log")
@click.option("-n", "count", type=Number(0), metavar="N", help="Show the newest N runs.")
@click.option(
    "--pipeline", metavar="ID", help="Only runs that hold this pipeline.", shell_complete=pipelines
)
def command(app: App, count: int | None, pipeline: str | None) -> None:
    """List runs, newest first.

    NEW counts the artifacts that no older run holds; a training repeated without a change has
    0. A run whose process died is shown as interrupted. FAILED counts the pipelines that the
    runner noted as failed, up to a hundred a run. Without -d, all datasets are listed.
    """
    from n4a_store.artifacts.overview import summarize_runs

    datasets = app.datasets()
    found: list[tuple[Dataset, list[RunSummary]]] = []
    for dataset in datasets:
        with app.attempt(dataset.name):
            summaries = [
                summary
                for summary in summarize_runs(dataset.store)
                if pipeline is None
                or dataset.store.get_entry(summary.entry.run.pipelines, pipeline)
            ]
            found.append((dataset, summaries[:count]))
    if app.json:
        rows = [_fields(dataset, summary) for dataset, held in found for summary in held]
        app.out.json("artifacts log", {"runs": rows})
        return
    shown = [(dataset, held) for dataset, held in found if held]
    if not shown and count != 0 and not app.failed:
        whole = [dataset for dataset, _ in found]
        app.out.note("no runs yet" if pipeline is None else _no_run(whole, pipeline))
    for number, (dataset, held) in enumerate(shown):
        if len(datasets) > 1 or app.failed:
            if number:
                app.out.line("")
            app.out.line(Span(dataset.name, "bold"))
        _table(app, [_row(dataset, summary) for summary in held])
    gone = sum(bool(s.entry.missing_parents) for _, held in shown for s in held)
    if gone:
        app.out.note(f"{gone} of these runs followed one that is gone, or changed since")


def _table(app: App, rows: list[list[str]]) -> None:
    """The runs; whoever trains by hand notes no failures, and needs no column for them."""
    columns = list(_COLUMNS)
    if not any(row[_FAILED] for row in rows):
        del columns[_FAILED]
        rows = [[*row[:_FAILED], *row[_FAILED + 1 :]] for row in rows]
    app.out.table(columns, rows)


def _no_run(datasets: list[Dataset], pipeline: str) -> str:
    from n4a_store.cli.suggest import closest

    prefix = "refs/pipelines/"
    refs = {ref.name for dataset in datasets for ref in dataset.store.refs(prefix)}
    close = closest(pipeline, sorted(name.removeprefix(prefix) for name in refs))
    return f"no run holds '{pipeline}'" + (f"; did you mean {close}?" if close else "")


def _fields(dataset: Dataset, summary: RunSummary) -> dict[str, object]:
    from n4a_store.artifacts.stored_runs import noted_failures, shown_status

    entry = summary.entry
    return {
        "run": entry.run_id,
        "dataset": dataset.name,
        "oid": entry.oid,
        "status": shown_status(dataset.store, entry.run),
        "created_at": entry.run.created_at,
        "pipelines": summary.pipelines,
        "artifacts": summary.artifacts,
        "new": summary.new,
        "failed": len(noted_failures(entry.run)),
        "message": entry.run.message,
        "parents": entry.run.parents,
        "missing_parents": entry.missing_parents,
    }


def _row(dataset: Dataset, summary: RunSummary) -> list[str]:
    from n4a_store.artifacts.stored_runs import noted_failures, shown_status

    entry = summary.entry
    first_line = next(iter(entry.run.message.splitlines()), "")
    return [
        entry.run_id,
        str(shown_status(dataset.store, entry.run)),
        shown_time(entry.run.created_at),
        str(summary.pipelines),
        str(summary.artifacts),
        str(summary.new),
        str(len(noted_failures(entry.run)) or ""),
        first_line,
    ]

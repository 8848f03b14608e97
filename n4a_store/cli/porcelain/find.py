"""`artifacts find`: artifacts by class, type, parameters, run, date and size."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from itertools import islice
from typing import TYPE_CHECKING

import click

from n4a_store import errors
from n4a_store.cli import complete
from n4a_store.cli.choices import Number
from n4a_store.cli.command import porcelain
from n4a_store.cli.context import App, Dataset
from n4a_store.cli.progress import progress
from n4a_store.cli.render import Column
from n4a_store.cli.suggest import closest
from n4a_store.cli.terminal import human_size

if TYPE_CHECKING:
    from n4a_store.artifacts.find import Match, Query
    from n4a_store.artifacts.types import ArtifactRecord
    from n4a_store.repo.store import Store

_UNITS = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


@porcelain("find")
@click.option(
    "--class",
    "class_name",
    metavar="NAME",
    help="Class, or its full path; '*' stands for anything.",
    shell_complete=complete.classes,
)
@click.option(
    "--type",
    "type_",
    metavar="TYPE",
    help="model, transformer, splitter, ….",
    shell_complete=complete.types,
)
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter.")
@click.option("--run", metavar="RUN", help="Held by this run.", shell_complete=complete.runs)
@click.option(
    "--pipeline",
    metavar="ID",
    help="Of this pipeline; '*' stands for anything.",
    shell_complete=complete.pipelines,
)
@click.option("--since", metavar="DATE", help="Made at or after this time (UTC): a date, today, ….")
@click.option("--until", metavar="DATE", help="Made at or before this time (UTC).")
@click.option("--min-size", metavar="SIZE", help="At least so large: 500, 10K, 2M.")
@click.option("--max-size", metavar="SIZE", help="At most so large.")
@click.option("-n", "count", type=Number(0), metavar="N", help="Show the first N.")
def command(
    app: App,
    class_name: str | None,
    type_: str | None,
    params: tuple[str, ...],
    run: str | None,
    pipeline: str | None,
    since: str | None,
    until: str | None,
    min_size: str | None,
    max_size: str | None,
    count: int | None,
) -> None:
    """Find artifacts by what they are.

    All conditions must hold; without any, all artifacts are listed. An id that has held
    different artifacts in different runs is listed once for each. Classes are found in any
    case; sizes are binary: 10K is 10KiB.
    """
    from n4a_store.artifacts.find import Query

    query = Query(
        type=type_,
        params=dict(_param(param) for param in params),
        run=run.removeprefix("refs/runs/") if run else None,
        pipeline=pipeline,
        since=_time(since, end=False),
        until=_time(until, end=True),
        min_size=_size(min_size),
        max_size=_size(max_size),
    )
    if query.run is not None:
        _check_run(app, query.run)
    datasets = app.datasets()
    found: list[tuple[str, Match]] = []
    classes: set[str] = set()
    for dataset in datasets:
        with app.attempt(dataset.name):
            left = None if count is None else count - len(found)
            with closing(_matches(app, dataset, query, class_name, classes)) as matches:
                found += [(dataset.name, match) for match in islice(matches, left)]
    if app.json:
        rows = [
            {
                "dataset": name,
                "record": match.record.to_dict(),
                "tree": match.tree,
                "runs": match.runs,
            }
            for name, match in found
        ]
        app.out.json("artifacts find", {"artifacts": rows})
        return
    if not found and count != 0 and not app.failed:
        app.out.note("no artifact fits")
        for line in _meant(app.datasets(), query, class_name, classes):
            app.out.note(line)
        return
    several = len(datasets) > 1  # else the room is for the ids, which are what one wants
    columns = [
        Column("ARTIFACT", style="yellow", flexible=True, tail=True),
        *([Column("DATASET", flexible=True)] if several else []),
        Column("TYPE"),
        Column("CLASS", flexible=True),
        Column("SIZE", right=True),
        Column("NEWEST RUN"),
    ]
    app.out.table(
        columns,
        [
            [
                match.record.artifact_id,
                *([name] if several else []),
                str(match.record.artifact_type),
                match.record.class_name,
                human_size(match.record.size_bytes),
                match.runs[0] if match.runs else "-",
            ]
            for name, match in found
        ],
    )


def _matches(
    app: App, dataset: Dataset, query: Query, class_name: str | None, classes: set[str]
) -> Generator[Match]:
    """The artifacts of a dataset that fit; ``classes`` gathers those of all that are looked at."""
    from n4a_store.artifacts.find import find_artifacts

    with progress(app, f"looking through {dataset.name}", counted="artifacts") as report:
        for match in find_artifacts(dataset.store, query, report):
            classes.add(match.record.class_name)
            if class_name is None or _is_class(dataset.store, match, class_name):
                yield match


def _check_run(app: App, run: str) -> None:
    """Tell a run that holds nothing of the kind from one that does not exist."""
    from n4a_store.cli.resolve import resolve

    for dataset in app.datasets():
        with app.attempt(dataset.name):
            if dataset.store.find_ref(f"refs/runs/{run}"):
                return
    if not app.failed:
        resolve(app.datasets()[0].store, f"refs/runs/{run}")


def _is_class(store: Store, match: Match, wanted: str) -> bool:
    """Whether it is of this class, given with or without its module, in any case."""
    from n4a_store.artifacts.manifest_tree import StoredArtifact

    module, _, name = wanted.lower().rpartition(".")
    if not fnmatchcase(match.record.class_name.lower(), name):
        return False
    if not module:
        return True
    stored = StoredArtifact.read(store, match.tree, match.record.artifact_id)
    return fnmatchcase(stored.blob.class_path.lower(), wanted.lower())


def _meant(
    datasets: list[Dataset], query: Query, class_name: str | None, classes: set[str]
) -> Iterator[str]:
    """For every name in the query that nothing here has: what was probably meant.

    Args:
        classes: Of all that the query finds, whatever their class.
    """
    from n4a_store.artifacts.find import Query, find_artifacts

    every: list[ArtifactRecord] = []
    named = query.type is not None or query.pipeline is not None or query.params
    # Of a query by class alone the classes are all that there are; of another they may be fewer.
    if named or (class_name is not None and query != Query()):
        every = [m.record for d in datasets for m in find_artifacts(d.store, Query())]
    asked = [
        ("class", class_name, {record.class_name for record in every} or classes),
        ("type", query.type, {str(record.artifact_type) for record in every}),
        ("pipeline", query.pipeline, {record.pipeline_id for record in every}),
    ]
    params = {name for record in every for name in record.params}
    asked += [("parameter", name.partition(".")[0], params) for name in query.params]
    for what, name, known in asked:
        if name is None or name in known or "*" in name or "?" in name:
            continue
        close = closest(name.rpartition(".")[2] if what == "class" else name, sorted(known))
        yield f"no {what} '{name}' here" + (f"; did you mean {close}?" if close else "")


def _param(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise errors.InvalidInputError(
            f"--param takes NAME=VALUE, not '{text}'", hint="such as --param n_components=3"
        )
    return name, value


def _time(text: str | None, *, end: bool) -> str | None:
    if text is None:
        return None
    days = {"today": 0, "yesterday": 1}.get(text.lower())
    if days is not None:
        text = (datetime.now(UTC) - timedelta(days)).date().isoformat()
    try:
        moment = datetime.fromisoformat(text)
        if end and len(text) <= len("2026-11-23"):  # a whole day
            moment = moment.replace(hour=23, minute=59, second=59, microsecond=999_999)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        raise errors.InvalidInputError(
            f"'{text}' is no date", hint="such as yesterday, 2026-11-23 or 2026-11-23T14:00"
        ) from None


def _size(text: str | None) -> int | None:
    if text is None:
        return None
    lowered = text.lower().removesuffix("ib").strip()
    digits = lowered.rstrip("bkmg")
    try:
        return int(float(digits) * _UNITS[lowered[len(digits) :].strip()])
    except (KeyError, ValueError, OverflowError):
        hint = "such as 500, 10K or 2M"
        if decimal := re.fullmatch(r"([\d.]+) *([kmg])b", text.strip().lower()):
            number, unit = decimal.groups()
            hint = f"sizes are binary here: did you mean '{number}{unit.upper()}iB'?"
        raise errors.InvalidInputError(f"'{text}' is no size", hint=hint) from None

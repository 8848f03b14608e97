"""What several porcelain commands show alike: times, fields, and the thing that a name is about."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from n4a_store import errors
from n4a_store.cli.context import App, Dataset
from n4a_store.cli.render import Output, Span

if TYPE_CHECKING:
    from n4a_store.artifacts.subject import Subject
    from n4a_store.repo.history import RunEntry


def shown_time(text: str) -> str:
    """A stored time as people read it: UTC, to the minute."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError):  # no date, or one beyond the years that UTC has
        return text


def shown_fields(out: Output, fields: Iterable[tuple[str, str]]) -> None:
    """Facts, one a line, their names in a column."""
    rows = list(fields)
    wide = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        out.line(Span(f"{name:<{wide}}", "dim"), f"  {value}")


def subject_of(app: App, name: str, run: str | None = None) -> tuple[Dataset, Subject]:
    """What `name` is about, in the one dataset that knows it.

    Raises:
        NotFoundError: No dataset knows it.
        AmbiguousNameError: Several do.
    """
    from n4a_store.artifacts.subject import RunSubject, identify, in_run
    from n4a_store.cli.resolve import resolve_entry

    found: list[tuple[Dataset, Subject]] = []
    failure: errors.StoreError | None = None
    damaged: list[tuple[str, errors.StoreError]] = []
    for dataset in app.datasets():
        store = dataset.store
        try:
            if run is None:
                found.append((dataset, identify(store, resolve_entry(store, name), name)))
                continue
            subject = identify(store, resolve_entry(store, run), run)
            if not isinstance(subject, RunSubject):
                raise errors.InvalidInputError(
                    f"'{run}' is not a run", hint="'n4a-store artifacts log' lists the runs"
                )
            found.append((dataset, in_run(store, subject.entry, name)))
        except (errors.NotFoundError, errors.InvalidInputError) as error:
            # A dataset with a suggestion explains more than one without.
            if failure is None or "did you mean" in (error.hint or ""):
                failure = error
        except errors.StoreError as error:
            damaged.append((dataset.name, error))
    if not found and damaged:
        raise damaged[0][1]  # what was asked for may be just there
    for damaged_name, why in damaged:
        app.report(damaged_name, why)
    if len(found) > 1:
        names = ", ".join(dataset.name for dataset, _ in found)
        raise errors.AmbiguousNameError(
            f"'{name}' is in {len(found)} datasets: {names}",
            candidates=[dataset.name for dataset, _ in found],
            hint="choose one with -d NAME",
        )
    if not found:
        # There may be no dataset left that could be asked.
        raise failure or errors.RefNotFoundError(
            f"no dataset could be asked for '{name}'", hint="'n4a-store fsck' says what is wrong"
        )
    return found[0]


def newest_run(app: App) -> str:
    """The ref of the newest run of all datasets.

    Raises:
        RefNotFoundError: There is none.
    """
    from n4a_store.repo.history import list_runs

    runs: list[RunEntry] = []
    for dataset in app.datasets():
        with app.attempt(dataset.name):
            runs += list_runs(dataset.store)
    if not runs and app.failed:
        raise errors.RefNotFoundError(
            "no dataset that can be read holds a run", hint="'n4a-store fsck' says what is wrong"
        )
    if not runs:
        raise errors.RefNotFoundError(
            "there are no runs yet", hint="'n4a-store demo' makes some to explore"
        )
    return max(runs, key=lambda entry: (entry.run.created_at, entry.run_id)).ref

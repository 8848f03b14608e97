"""`commit-run`: a run object over a tree of pipelines."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from n4a_store import errors
from n4a_store.cli.choices import OneOf
from n4a_store.cli.command import plumbing
from n4a_store.cli.context import App

_STATUSES = ("running", "complete", "failed")


@plumbing("commit-run")
@click.option("-m", "--message", default="", metavar="TEXT", help="What this run is.")
@click.option("-p", "--parent", "parents", multiple=True, metavar="RUN", help="An earlier run.")
@click.option("--status", type=OneOf(_STATUSES), default="complete", help="[default: complete]")
@click.option("--created-at", metavar="TIME", help="ISO 8601 in UTC [default: now].")
@click.argument("tree")
def command(
    app: App,
    message: str,
    parents: tuple[str, ...],
    status: str,
    created_at: str | None,
    tree: str,
) -> None:
    """Make a run object and say its id.

    TREE holds a pipeline's manifest under each pipeline's id. The run is reachable from
    nothing until 'n4a-store update-ref refs/runs/<id> <run>' names it. Parents are recorded,
    never followed: keeping a run does not keep the ones before it.
    """
    from n4a_store.cli.resolve import resolve, resolve_entry
    from n4a_store.objects.model import Run, RunStatus
    from n4a_store.objects.oid import Kind

    dataset = app.dataset()
    store = dataset.store
    entry = resolve_entry(store, tree)
    if entry.kind is not Kind.TREE:
        raise errors.InvalidInputError(
            f"'{tree}' is a {entry.kind.label}, not a tree", hint="'n4a-store mktree' makes one"
        )
    run = Run(
        pipelines=entry.oid,
        dataset=dataset.name,
        created_at=_time(created_at),
        status=RunStatus(status),
        parents=tuple(resolve(store, parent) for parent in parents),
        message=message,
    )
    with store.transaction(message="commit-run") as txn:
        oid = txn.put_run(run)
    if app.json:
        app.out.json("commit-run", {"oid": oid, "run": run})
    else:
        app.out.fields(oid.hex)


def _time(text: str | None) -> str:
    if text is None:
        return datetime.now(UTC).isoformat(timespec="seconds")
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        raise errors.InvalidInputError(
            f"'{text}' is no time", hint="such as 2026-11-23T08:30:00+00:00"
        ) from None

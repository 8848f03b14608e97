"""`artifacts du`: what runs and pipelines take, and what deleting them would free."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from n4a_store.cli.command import porcelain
from n4a_store.cli.complete import names as complete_names
from n4a_store.cli.context import App
from n4a_store.cli.render import Column
from n4a_store.cli.resolve import resolve_entry
from n4a_store.cli.terminal import human_count, human_size

if TYPE_CHECKING:
    from n4a_store.repo.store import Store
    from n4a_store.repo.usage import Usage


_FEW = 2


@porcelain("du")
@click.option("--runs", "by_run", is_flag=True, help="List runs instead of pipelines.")
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_names)
def command(app: App, by_run: bool, names: tuple[str, ...]) -> None:
    """Say what deleting would free.

    Without a NAME, each pipeline is listed with all its manifests in all runs. TAKES is all
    that it reaches; FREES is what nothing else reaches, which is what 'rm' and a later gc give
    back. Of an artifact or any other object, FREES is what would go if it went from everywhere.
    Bytes are those on disk, after compression.
    """
    dataset = app.dataset()
    store = dataset.store
    found = _named(store, names) if names else _listed(store, by_run=by_run)
    found.sort(key=lambda item: (-item.own_bytes, item.name))
    if app.json:
        app.out.json("artifacts du", {"dataset": dataset.name, "usage": found})
        return
    if not found:
        app.out.note("nothing is stored yet")
        return
    columns = [
        Column("NAME", style="yellow", flexible=True, tail=True),
        Column("OBJECTS", right=True),
        Column("TAKES", right=True),
        Column("FREES", right=True),
    ]
    app.out.table(
        columns,
        [
            [
                item.name,
                human_count(item.objects),
                human_size(item.stored_bytes),
                human_size(item.own_bytes),
            ]
            for item in found
        ],
    )


def _listed(store: Store, *, by_run: bool) -> list[Usage]:
    from n4a_store.artifacts.holdings import pipeline_usage, run_usage

    return run_usage(store) if by_run else pipeline_usage(store)


def _named(store: Store, names: tuple[str, ...]) -> list[Usage]:
    from n4a_store.artifacts.holdings import pipeline_usage, run_usage
    from n4a_store.artifacts.manifest_tree import PIPELINES, RUNS
    from n4a_store.repo.revision import expand_ref
    from n4a_store.repo.usage import usage_of

    refs = {name: expand_ref(store, name) for name in names}
    found: list[Usage] = []
    listed: dict[str, Usage] = {}
    for space, usage_by_name in ((PIPELINES, pipeline_usage), (RUNS, run_usage)):
        # One walk tells of all of them, and takes as long as two or three looks at one.
        if sum(ref is not None and ref.startswith(space) for ref in refs.values()) > _FEW:
            listed |= {space + item.name: item for item in usage_by_name(store)}
    for name, ref in refs.items():
        if ref is None:
            found.append(usage_of(store, name, resolve_entry(store, name)))
        elif ref in listed:
            found.append(replace(listed[ref], name=name))
        else:
            found.append(_alone(store, name))
    return found


def _alone(store: Store, name: str) -> Usage:
    from n4a_store.artifacts.removal import remove
    from n4a_store.repo.usage import Usage

    removal = remove(store, [name], dry_run=True)
    return Usage(
        name,
        removal.reached_objects,
        removal.reached_bytes,
        removal.freed_objects,
        removal.freed_bytes,
    )

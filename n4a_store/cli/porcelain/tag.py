"""`artifacts tag`: names for results, with history and rollback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from n4a_store.cli.choices import HintedUsageError, Number
from n4a_store.cli.command import porcelain
from n4a_store.cli.complete import names
from n4a_store.cli.context import App, Dataset
from n4a_store.cli.porcelain.look import shown_time
from n4a_store.cli.render import Column
from n4a_store.cli.resolve import hinted

if TYPE_CHECKING:
    from n4a_store.refs.refs import Ref, ReflogEntry
    from n4a_store.repo.store import Store


@porcelain("tag")
@click.option("-f", "--force", is_flag=True, help="Move a tag that exists, or take a name in use.")
@click.option("-l", "--list", "listing", is_flag=True, help="List tags, as without a TAG.")
@click.option("--history", is_flag=True, help="List where TAG has pointed.")
@click.option("--rollback", is_flag=True, help="Point TAG where it pointed before.")
@click.option("--steps", type=Number(1), metavar="N", help="Moves to go back [default: 1].")
@click.option("--delete", is_flag=True, help="Delete TAG; undo can bring it back.")
@click.argument("tag", required=False, shell_complete=names)
@click.argument("target", required=False, shell_complete=names)
def command(
    app: App,
    force: bool,
    listing: bool,
    history: bool,
    rollback: bool,
    steps: int | None,
    delete: bool,
    tag: str | None,
    target: str | None,
) -> None:
    """Name a result, list names, or look at and undo their moves.

    Without arguments, tags are listed. TARGET is a run, a pipeline, an artifact id or any other
    name; what a tag names is kept whole, whatever else is deleted.
    """
    from n4a_store.artifacts.tags import set_tag
    from n4a_store.repo import tags

    chosen = {"--history": history, "--rollback": rollback, "--delete": delete, "--list": listing}
    given = [option for option, is_given in chosen.items() if is_given]
    if len(given) + (target is not None) > 1 or (listing and tag is not None):
        raise HintedUsageError("too much at once", "pass TARGET or one option")
    if steps is not None and not rollback:
        raise HintedUsageError("--steps is for --rollback", "pass --rollback with it")
    if tag is None and given and not listing:
        raise HintedUsageError(f"{given[0]} needs a TAG", "'n4a-store artifacts tag' lists them")
    if tag is None:
        _list(app)
        return
    dataset = app.dataset()
    store = dataset.store
    if history:
        _history(app, tag)
        return
    with hinted(store, tag if target is None else target, tag=target is None):
        if rollback:
            done, ref = "rolled back", tags.roll_back(store, tag, steps or 1)
        elif delete:
            done, ref = "deleted", tags.delete_tag(store, tag)
        elif target is not None:
            done, ref = "set", set_tag(store, tag, target, move=force)
        else:
            done, ref = "at", store.ref(tags.tag_ref(tag))
    if app.json:
        app.out.json("artifacts tag", {"done": done, "ref": ref, "dataset": dataset.name})
    else:
        app.out.line(
            f"tag '{ref.name.removeprefix(tags.TAGS)}' {done}: {ref.kind.label} {ref.oid.short()}"
        )


def _list(app: App) -> None:
    from n4a_store.cli.resolve import short_ref

    rows: list[dict[str, object]] = []
    table: list[list[str]] = []
    found: list[tuple[Dataset, Ref, list[ReflogEntry]]] = []
    for dataset in app.datasets():
        with app.attempt(dataset.name):
            found += [(dataset, ref, moves) for ref, moves in _tags_of(dataset.store)]
    for dataset, ref, moves in found:
        at = moves[0].at.isoformat(timespec="seconds") if moves else ""
        names_it = moves[0].message.partition(" -> ")[2] if moves else ""
        name = short_ref(ref.name)
        facts = {"tag": name, "dataset": dataset.name, "ref": ref, "set_at": at}
        rows.append(facts | {"target": names_it})
        kept = [ref.kind.label, ref.oid.short(), shown_time(at)]
        table.append([name, dataset.name, *kept, names_it])
    if app.json:
        app.out.json("artifacts tag", {"tags": rows})
    elif not table:
        app.out.note("no tags yet: 'n4a-store artifacts tag NAME TARGET' sets one")
    else:
        columns = [
            Column("TAG", style="yellow"),
            Column("DATASET", flexible=True),
            Column("KIND"),
            Column("OBJECT"),
            Column("SET"),
            Column("TO", flexible=True),
        ]
        app.out.table(columns, table)


def _tags_of(store: Store) -> list[tuple[Ref, list[ReflogEntry]]]:
    from n4a_store.repo.tags import list_tags

    return [(ref, store.reflog(ref.name)) for ref in list_tags(store)]


def _history(app: App, tag: str) -> None:
    from n4a_store.repo.tags import tag_history

    store = app.store()
    with hinted(store, tag, tag=True):
        moves = tag_history(store, tag)
    if app.json:
        app.out.json("artifacts tag", {"tag": tag, "moves": moves})
        return
    if not moves:
        app.out.note(f"the moves of '{tag}' are forgotten: gc keeps them for the undo window")
        return
    rows = [
        [
            str(n),
            move.at.strftime("%Y-%m-%d %H:%M"),
            move.new.oid.short() if move.new else "-",
            move.message,
        ]
        for n, move in enumerate(moves)
    ]
    columns = [
        Column("MOVE", right=True),
        Column("WHEN"),
        Column("TO"),
        Column("WHAT", flexible=True),
    ]
    app.out.table(columns, rows)

"""`count-objects`: objects, packs and bytes, from the catalog's counters."""

from __future__ import annotations

import click

from n4a_store.cli.command import plumbing
from n4a_store.cli.context import App
from n4a_store.cli.terminal import human_size


@plumbing("count-objects")
@click.option("-H", "--human-readable", "human", is_flag=True, help="Sizes as KiB, MiB, ….")
def command(app: App, human: bool) -> None:
    """Count objects and packs, and the bytes they take.

    With -v, one 'key: value' a line; sizes are in bytes unless -H is given. 'size-raw' is what
    the objects would take uncompressed. Counters give the answer: no object is read.
    """
    from n4a_store.repo.stats import store_stats

    stats = store_stats(app.store())

    def size(number: int) -> str:
        return human_size(number) if human else str(number)

    if app.json:
        app.out.json("count-objects", {"stats": stats})
        return
    if not app.verbose:
        packs = f"{stats.live.packs} pack{'s' * (stats.live.packs != 1)}"
        taken = size(stats.live.stored_bytes) + ("" if human else " bytes")
        app.out.fields(f"{stats.live.objects} objects in {packs}, {taken}")
        return
    rows = {
        "objects": str(stats.live.objects),
        "packs": str(stats.live.packs),
        "size-pack": size(stats.live.stored_bytes),
        "size-raw": size(stats.live.raw_bytes),
        "packs-condemned": str(stats.condemned.packs),
        "size-condemned": size(stats.condemned.stored_bytes),
        "packs-dropping": str(stats.dropping.packs),
        "packs-held": str(stats.held.packs),
        "packs-unlisted": str(stats.unlisted_packs),
        "size-catalog": size(stats.catalog_bytes),
        "refs": str(sum(stats.refs.values())),
        "leases": str(len(stats.leases)),
    }
    for key, value in rows.items():
        app.out.fields(f"{key}: {value}")

"""`repack`: merge packs."""

from __future__ import annotations

import click

from n4a_store.cli.command import plumbing
from n4a_store.cli.context import App
from n4a_store.cli.progress import progress


@plumbing("repack")
@click.option("-a", "--all", "mode", flag_value="all", help="Rewrite all packs.")
@click.option(
    "--compact",
    "mode",
    flag_value="compact",
    help="Rewrite all packs, near-duplicates as deltas: smallest.",
)
@click.option(
    "--hot",
    "hot",
    metavar="NAME",
    multiple=True,
    help="With --compact: leave what NAME reaches as it is, because it is read often.",
)
def command(app: App, mode: str | None, hot: tuple[str, ...]) -> None:
    """Merge packs so that few remain.

    Small packs are merged until sizes grow geometrically; -a rewrites all of them, and --compact
    also writes models that are nearly equal as differences of each other, which take a little
    longer to load. Safe beside running writers and readers. Prints 'key: value' lines; sizes are
    in bytes.
    """
    from n4a_store.repo.repack import RepackMode, repack

    if hot and mode != "compact":
        raise click.UsageError("--hot goes with --compact: nothing else makes deltas")
    store = app.store()
    with progress(app, "repacking") as shown:
        report = repack(store, RepackMode(mode or "geometric"), hot=hot, progress=shown)
    if app.json:
        app.out.json("repack", {"report": report})
        return
    rows = {
        "packs-before": report.packs_before,
        "packs-after": report.packs_after,
        "packs-merged": len(report.merged),
        "packs-dropped": len(report.dropped),
        "size-read": report.bytes_read,
        "size-written": report.bytes_written,
    }
    for key, value in rows.items():
        app.out.fields(f"{key}: {value}")

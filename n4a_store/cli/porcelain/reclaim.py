"""What the reclaiming commands show alike: orphans, and what a gc did or would do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from n4a_store.cli.choices import HintedUsageError
from n4a_store.cli.context import App, Dataset
from n4a_store.cli.render import Column
from n4a_store.cli.terminal import counted, human_count, human_size

if TYPE_CHECKING:
    from n4a_store.artifacts.orphans import Orphan, OrphanReport
    from n4a_store.repo.gc import GcReport
    from n4a_store.repo.reachability import Garbage

dry_run_option = click.option(
    "-n", "--dry-run", is_flag=True, help="Only preview, as without --force."
)
NOTHING_CHANGED = "Nothing was changed. Run again with --force."
_FEW = 5


def refuse_both(*, force: bool, dry_run: bool) -> None:
    """Refuse --force beside --dry-run.

    Raises:
        HintedUsageError: Both were given.
    """
    if force and dry_run:
        raise HintedUsageError("--dry-run and --force contradict each other", "leave one out")


def show_orphans(app: App, orphans: list[Orphan]) -> None:
    """Some orphans, or all of them with --verbose."""
    few = orphans if app.verbose else orphans[:_FEW]
    list_orphans(app, few)
    if len(orphans) > len(few):
        app.out.line(f"  … {len(orphans) - len(few)} more: --verbose")


def list_orphans(app: App, orphans: list[Orphan]) -> None:
    """Orphaned artifacts, one a line, without titles."""
    columns = [
        Column(""),
        Column("", flexible=True),
        Column("", right=True),
        Column("", flexible=True, tail=True),
    ]
    rows = [
        [
            f"  {orphan.tree.short()}",
            f"{orphan.type} {orphan.class_name}",
            human_size(orphan.stored_bytes),
            f"last in {orphan.last_name}" if orphan.last_name else "",
        ]
        for orphan in orphans
    ]
    if rows:
        app.out.table(columns, rows)


def show_preview(app: App, dataset: Dataset, report: GcReport, orphans: OrphanReport) -> None:
    """What a gc would do, and with which artifacts."""
    app.out.line(
        f"mark    {human_count(report.reachable)} objects from {report.roots} refs and undo entries"
    )
    app.out.line(f"would drop {_amount(report.unreachable)}")
    show_orphans(app, [orphan for orphan in orphans.artifacts if not orphan.undoable])
    until = datetime.now(UTC) + timedelta(days=dataset.store.settings.undo_window_days)
    kept = f"would keep {_amount(report.undoable)}"
    if report.undoable.objects:
        note = f"undo can still bring them back (until {until:%Y-%m-%d})"
        width = app.out.width()
        fits = width is None or len(kept) + len(note) + 3 <= width
        kept += f"   {note}" if fits else f"\n  {note}"
    for line in kept.split("\n"):
        app.out.line(line)
    show_orphans(app, [orphan for orphan in orphans.artifacts if orphan.undoable])


def show_done(app: App, report: GcReport) -> None:
    """What a gc did; --quiet is for whom only an error concerns."""
    if app.out.quiet:
        return
    app.out.line(
        f"mark    {human_count(report.reachable)} objects from {report.roots} refs and undo entries"
    )
    app.out.line(f"dropped {_amount(report.unreachable)}; {human_size(report.bytes_freed)} freed")
    app.out.line(f"kept    {_amount(report.undoable)} for undo")
    if report.rewritten:
        written = human_size(report.bytes_written)
        packs = counted(len(report.rewritten), "packs")
        app.out.note(f"rewrote {packs} without garbage, as {written}")
    if report.tidied:
        app.out.note(f"removed {counted(len(report.tidied), 'files')} that dead writers had left")
    if report.without_room:
        packs = counted(len(report.without_room), "packs")
        app.out.note(f"garbage stays in {packs}: the disk has no room to copy what lives there")
    note_pending(app, report)


def note_pending(app: App, report: GcReport) -> None:
    """What a gc took out of use and could not remove yet, and who keeps it."""
    if report.pending:
        size = human_size(report.bytes_pending)
        app.out.note(
            f"{size} in {counted(len(report.pending), 'packs')} wait; "
            "the first gc after these have ended frees that:"
        )
    for held in report.held_by:
        age = "" if held.age_seconds is None else f" for {held.age_seconds / 60:.0f} min"
        app.out.note(f"  {held.role} of process {held.pid or 'unknown'}{age}")


def _amount(garbage: Garbage) -> str:
    return f"{human_count(garbage.objects):>8} objects  {human_size(garbage.stored_bytes)}"

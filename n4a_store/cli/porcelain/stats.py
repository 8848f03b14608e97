"""`artifacts stats`: what is stored, what it takes, what sharing saves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from n4a_store.cli.command import porcelain
from n4a_store.cli.context import App, Dataset
from n4a_store.cli.porcelain.look import shown_fields, shown_time
from n4a_store.cli.progress import marking
from n4a_store.cli.render import Column, Span
from n4a_store.cli.terminal import counted, human_count, human_size

if TYPE_CHECKING:
    from n4a_store.artifacts.overview import ArtifactStats
    from n4a_store.repo.gain import CompactionGain
    from n4a_store.repo.gc import GcReport
    from n4a_store.repo.stats import LeaseStats

_SHOWN_RUNS = 5


@porcelain("stats")
@click.option("--deep", is_flag=True, help="Also count orphans, and weigh a compaction, now.")
def command(app: App, deep: bool) -> None:
    """Say what is stored, what it takes, and what sharing saves.

    'as files' is what one uncompressed file for each name would take, 'unique objects' what is
    left when equal content is kept once, 'on disk' what that takes compressed. UNIQUE counts each
    different artifact once, under however many names. Counters and manifests give the answer: no
    record and no payload is read. What is said of orphans is as old as the last gc; --deep marks
    the store, and says it as of now. It also says what 'repack --compact' would leave, by doing it
    and writing nothing: that takes as long. Without -d, all datasets are shown.
    """
    from n4a_store.artifacts.overview import artifact_stats

    if deep:
        from n4a_store.repo.gain import compaction_gain

    rows: list[dict[str, object]] = []
    shown = False
    for dataset in app.datasets():
        with app.attempt(dataset.name):
            stats = artifact_stats(dataset.store)
            garbage = _mark(app, dataset) if deep else None
            gain = compaction_gain(dataset.store) if deep else None
            if app.json:
                row = {"dataset": dataset.name, "stats": stats, "garbage": garbage}
                rows.append({**row, "compaction": gain})
                continue
            if shown:
                app.out.line("")
            shown = True
            app.out.line(Span(dataset.name, "bold"))
            _show(app, stats, garbage, gain)
            _show_types(app, stats)
            _show_runs(app, stats)
    if app.json:
        app.out.json("artifacts stats", {"datasets": rows})


def _mark(app: App, dataset: Dataset) -> GcReport:
    from n4a_store.repo.gc import collect

    with marking(app, dataset.name) as marked:
        return collect(dataset.store, dry_run=True, marking=marked)


def _show(
    app: App, stats: ArtifactStats, garbage: GcReport | None, gain: CompactionGain | None
) -> None:
    total, store = stats.total, stats.store
    names, artifacts = counted(total.references, "names"), counted(stats.unique, "artifacts")
    raw, stored = store.live.raw_bytes, store.live.stored_bytes
    # Of tiny artifacts what describes them takes more than they do; of large ones parts are shared.
    unique = min(raw, total.unique_bytes)
    facts = [
        ("artifacts", f"{names} for {artifacts}"),
        ("as files", human_size(total.logical_bytes)),
        ("unique objects", human_size(raw) + _times(total.logical_bytes, unique, "dedupe")),
        ("on disk", human_size(stored) + _times(raw, stored, "compression")),
        ("objects", f"{human_count(store.live.objects)} in {counted(store.live.packs, 'packs')}"),
        ("refs", ", ".join(counted(count, name) for name, count in store.refs.items())),
        ("orphans", _orphans(stats, garbage)),
        *_repack(stats, gain),
    ]
    facts += [("lease", _lease(lease)) for lease in _others(stats)]
    shown_fields(app.out, facts)


def _show_types(app: App, stats: ArtifactStats) -> None:
    if not stats.by_type:
        return
    app.out.line("")
    numbers = ("NAMES", "AS FILES", "UNIQUE", "UNIQUE BYTES")
    rows = [
        [
            name,
            human_count(part.references),
            human_size(part.logical_bytes),
            human_count(part.unique),
            human_size(part.unique_bytes),
        ]
        for name, part in stats.by_type.items()
    ]
    columns = [Column("TYPE", flexible=True), *(Column(title, right=True) for title in numbers)]
    app.out.table(columns, rows)


def _show_runs(app: App, stats: ArtifactStats) -> None:
    if stats.runs:
        app.out.line("")
        most = None if app.verbose else _SHOWN_RUNS
        columns = [
            Column("RUN", style="yellow"),
            Column("DATE"),
            Column("PIPELINES", right=True),
            Column("ARTIFACTS", right=True),
            Column("NEW", right=True),
        ]
        app.out.table(
            columns,
            [
                [
                    run.entry.run_id,
                    shown_time(run.entry.run.created_at),
                    str(run.pipelines),
                    str(run.artifacts),
                    str(run.new),
                ]
                for run in stats.runs[:most]
            ],
        )
        if most is not None and len(stats.runs) > most:
            app.out.line(f"… {len(stats.runs) - most} more runs: --verbose")


def _times(more: int, less: int, what: str) -> str:
    if not less:
        return ""
    # Records and manifests are objects too: in a tiny store they outweigh what sharing saves.
    return f"  ({what} {more / less:.1f}×)" if more > less else f"  (no {what} yet)"


def _orphans(stats: ArtifactStats, garbage: GcReport | None) -> str:
    if garbage is not None:
        dead, undo = garbage.unreachable, garbage.undoable
        return (
            f"{human_count(dead.objects)} objects, {human_size(dead.stored_bytes)}; "
            f"{human_count(undo.objects)} more, {human_size(undo.stored_bytes)}, "
            "that undo can bring back"
        )
    last = stats.store.last_gc
    if last is None:
        return "not counted (never collected): --deep counts them"
    return (
        f"{human_count(last.orphans)} objects, {human_size(last.orphan_bytes)}, "
        f"left to undo by the gc of {last.at:%Y-%m-%d %H:%M}"
    )


def _repack(stats: ArtifactStats, gain: CompactionGain | None) -> list[tuple[str, str]]:
    """What a repack would gain: what the catalog knows of it, and what was weighed."""
    merged = stats.store.mergeable_packs
    facts = [("repack", f"would merge {human_count(merged)} packs into 1")] if merged > 1 else []
    if gain is not None:
        less, now = human_size(gain.bytes_after), human_size(gain.bytes_before)
        facts.append(("compaction", f"would leave {less} of {now}  (repack --compact)"))
    return facts


def _others(stats: ArtifactStats) -> list[LeaseStats]:
    """Leases of other processes; ours is only for this very answer."""
    import os

    return [lease for lease in stats.store.leases if lease.pid != os.getpid()]


def _lease(lease: LeaseStats) -> str:
    age = ""
    if lease.since is not None:
        minutes = int((datetime.now(UTC) - lease.since).total_seconds() // 60)
        age = f" for {minutes // 60} h {minutes % 60:02} min"
    pins = f", pins {human_size(lease.pinned_bytes)}" if lease.pinned_bytes else ""
    return f"{lease.role} of process {lease.pid or 'unknown'}{age}{pins}"

"""`artifacts diff`: what changed between two results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from n4a_store import errors
from n4a_store.cli.command import porcelain
from n4a_store.cli.complete import files, names
from n4a_store.cli.context import App, Dataset
from n4a_store.cli.exit_codes import ExitCode
from n4a_store.cli.porcelain.look import subject_of
from n4a_store.cli.render import Output, Span
from n4a_store.cli.resolve import advised
from n4a_store.cli.terminal import human_size

if TYPE_CHECKING:
    from n4a_store.artifacts.diff import ArtifactDiff, Change, Diff
    from n4a_store.pipeline.probe import ProbeResult

_FEW = 6


@porcelain("diff")
@click.option(
    "--probe",
    metavar="X.npy",
    help="Predict on these rows with both and compare.",
    shell_complete=files,
)
@click.option("--trust", is_flag=True, help="Let --probe load what was imported from elsewhere.")
@click.option("--exit-code", is_flag=True, help="Exit with 4 when there are differences.")
@click.argument("old", shell_complete=names)
@click.argument("new", shell_complete=names)
def command(app: App, probe: str | None, trust: bool, exit_code: bool, old: str, new: str) -> None:
    """Say what changed between two runs, pipelines or models.

    Shown are parameters, library versions, array shapes with the largest difference, and the
    bytes that are new and shared. Nothing is unpickled for that; --probe does load both models.
    'production@{1}' is where a tag pointed before, 'RUN:PIPELINE' a pipeline as it was in a run.
    """
    from n4a_store.artifacts.diff import diff

    before, old_subject = subject_of(app, old)
    after, new_subject = subject_of(app, new)
    found = diff(before.store, old_subject, after.store, new_subject)
    probed = None
    if probe is not None:
        probed = _probe(app, (before, old), (after, new), probe, trust=trust)
    if exit_code and not found.is_empty:
        app.exit_code = ExitCode.FINDINGS
    if app.json:
        fields: dict[str, object] = {"old": old, "new": new, "diff": found, "probe": probed}
        app.out.json("artifacts diff", fields)
        return
    _show(app, found)
    if probed is not None:
        app.out.line(
            f"predictions of {probed.rows} rows: max |Δ| {probed.max_abs:.4g}, "
            f"RMS Δ {probed.rms:.4g}, {probed.identical} identical"
        )


def _probe(
    app: App, old: tuple[Dataset, str], new: tuple[Dataset, str], path: str, *, trust: bool
) -> ProbeResult:
    from n4a_store.pipeline.probe import compare_predictions

    if app.options.store is not None:
        raise errors.InvalidInputError(
            "--probe needs a workspace, not a single store", hint="pass -w PATH and -d NAME"
        )
    place = app.workspace().path
    sides = [(dataset.name, name) for dataset, name in (old, new)]
    with advised("'n4a-store artifacts find --type model' lists what predicts, --probe takes rows"):
        return compare_predictions(place, sides[0], sides[1], path, trust=trust)


def _show(app: App, found: Diff) -> None:
    for name in found.removed:
        app.out.line(Span(f"- {name}", "red"))
    for name in found.added:
        app.out.line(Span(f"+ {name}", "green"))
    for artifact in found.changed:
        _show_artifact(app, artifact)
    if found.is_empty:
        app.out.line("no difference")
    app.out.line(
        f"{found.same} same, {len(found.changed)} changed, {len(found.added)} added, "
        f"{len(found.removed)} removed"
    )
    app.out.line(
        f"{human_size(found.shared_bytes)} shared, {human_size(found.new_bytes)} only new, "
        f"{human_size(found.old_bytes)} only old"
    )


def _show_artifact(app: App, artifact: ArtifactDiff) -> None:
    out = app.out
    title = artifact.old_name
    if artifact.new_name != title:
        title += f" → {artifact.new_name}"
    out.line(Span(f"~ {title}", "yellow"))
    for change in artifact.facts:
        _show_change(out, "", change)
    for change in artifact.params:
        _show_change(out, "param ", change)
    few = None if app.verbose else _FEW
    for array in artifact.arrays[:few]:
        old, new = (side or "(none)" for side in (array.old, array.new))
        shapes = old if old == new else f"{old} → {new}"
        delta = "" if array.max_abs is None else f"  max |Δ| {array.max_abs:.4g}"
        out.line(f"    array {array.name}  {shapes}{delta}")
    for value in artifact.values[:few]:
        _show_change(out, "value ", value)
    hidden = 0 if few is None else max(0, len(artifact.arrays) - few)
    hidden += 0 if few is None else max(0, len(artifact.values) - few)
    if hidden:
        out.line(f"    … {hidden} more: --verbose")


def _show_change(out: Output, what: str, change: Change) -> None:
    old, new = ("(none)" if side is None else side for side in (change.old, change.new))
    out.line(f"    {what}{change.name or 'itself'}: {old} → {new}")

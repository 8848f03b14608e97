"""`artifacts export`: a bundle for a colleague, or readable files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from n4a_store import errors
from n4a_store.cli import complete
from n4a_store.cli.choices import HintedUsageError
from n4a_store.cli.command import porcelain
from n4a_store.cli.context import App
from n4a_store.cli.porcelain.look import subject_of
from n4a_store.cli.progress import progress
from n4a_store.cli.render import Column
from n4a_store.cli.resolve import advised
from n4a_store.cli.terminal import human_size

if TYPE_CHECKING:
    from n4a_store.artifacts.manifest_tree import PipelineManifest
    from n4a_store.artifacts.subject import Subject
    from n4a_store.repo.store import Store


@porcelain("export")
@click.option(
    "-o", "--output", metavar="FILE", help="The bundle to write.", shell_complete=complete.files
)
@click.option(
    "--files",
    metavar="FOLDER",
    help="Write one readable file an artifact instead.",
    shell_complete=complete.folders,
)
@click.option(
    "--run", metavar="RUN", help="NAMEs as they were in this run.", shell_complete=complete.runs
)
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete.names)
def command(
    app: App, output: str | None, files: str | None, run: str | None, names: tuple[str, ...]
) -> None:
    """Write results with all that they need into one file.

    NAME is a run, a pipeline, an artifact id or a tag. The bundle given by -o is verified when
    'n4a-store artifacts import' reads it. --files writes '<type>_<class>_<hash>' files that
    pickle, joblib or numpy read, without their dependencies.
    """
    if (output is None) == (files is None):
        raise HintedUsageError("say where to", "pass -o FILE for a bundle, or --files FOLDER")
    found = [(name, *subject_of(app, name, run)) for name in names]
    datasets = {dataset.name: dataset for _, dataset, _ in found}
    if len(datasets) > 1:
        raise errors.InvalidInputError(
            f"these are of several datasets: {', '.join(datasets)}", hint="export each by itself"
        )
    (dataset,) = datasets.values()
    subjects = [(name, subject) for name, _, subject in found]
    if output is not None:
        _bundle(app, dataset.store, subjects, dataset.name, Path(output))
    elif files is not None:
        _files(app, dataset.store, subjects, Path(files))


def _bundle(
    app: App, store: Store, subjects: list[tuple[str, Subject]], dataset: str, path: Path
) -> None:
    from n4a_store.artifacts.bundle import export_bundle

    with progress(app, "exporting") as report:
        written = export_bundle(store, subjects, dataset, path, progress=report)
    if app.json:
        app.out.json("artifacts export", {"bundle": written})
        return
    for ref in written.refs:
        app.out.line(ref)
    app.out.note(f"wrote {written.objects} objects, {human_size(written.size)}, to {written.path}")


def _files(app: App, store: Store, subjects: list[tuple[str, Subject]], folder: Path) -> None:
    from n4a_store.artifacts.files import export_files

    wanted = [pair for name, subject in subjects for pair in _artifacts(store, name, subject)]
    with advised("pass -o FILE instead: a bundle holds every artifact, whatever it is called"):
        written = export_files(store, wanted, folder)
    if app.json:
        app.out.json("artifacts export", {"files": written})
        return
    rows = [[file.path, ", ".join(file.artifact_ids), human_size(file.size)] for file in written]
    columns = [Column("FILE", flexible=True), Column("ARTIFACTS", flexible=True)]
    app.out.table([*columns, Column("SIZE", right=True)], rows)


def _artifacts(store: Store, name: str, subject: Subject) -> list[tuple[PipelineManifest, str]]:
    from n4a_store.artifacts.manifest_tree import PipelineManifest
    from n4a_store.artifacts.subject import ArtifactSubject, PipelineSubject, RunSubject

    if isinstance(subject, RunSubject):
        held = store.get_tree(subject.entry.run.pipelines).entries
        manifests = [PipelineManifest.read(store, id_, child.oid) for id_, child in held.items()]
    elif isinstance(subject, PipelineSubject):
        manifests = [subject.manifest]
    elif isinstance(subject, ArtifactSubject) and subject.manifest and subject.key:
        return [(subject.manifest, subject.key)]
    else:
        raise errors.InvalidInputError(
            f"'{name}' holds no artifacts", hint="export runs, pipelines or artifacts"
        )
    return [(manifest, path.key) for manifest in manifests for path in manifest.paths()]

"""`artifacts manifest`: a pipeline's manifest as YAML."""

from __future__ import annotations

import click

from n4a_store import errors
from n4a_store.cli.command import porcelain
from n4a_store.cli.complete import names, runs
from n4a_store.cli.context import App
from n4a_store.cli.porcelain.look import subject_of


@porcelain("manifest")
@click.option("--run", metavar="RUN", help="As it was in this run.", shell_complete=runs)
@click.argument("name", metavar="PIPELINE", shell_complete=names)
def command(app: App, run: str | None, name: str) -> None:
    """Print a pipeline's manifest as YAML.

    It is the same rendition, schema version 2.0, that stands under runs/ in the workspace. The
    store is the source of truth: editing the YAML changes nothing.
    """
    from n4a_store.artifacts.rendition import manifest_document, render
    from n4a_store.artifacts.subject import PipelineSubject

    dataset, subject = subject_of(app, name, run)
    if not isinstance(subject, PipelineSubject):
        raise errors.InvalidInputError(
            f"'{name}' is not a pipeline", hint="'n4a-store artifacts show RUN' lists pipelines"
        )
    manifest, store = subject.manifest, dataset.store
    with store.session():
        records = [manifest.record(store, path.key) for path in manifest.paths()]
    document = manifest_document(
        dataset=dataset.name,
        run_id=manifest.run_id,
        pipeline_id=manifest.pipeline_id,
        created_at=manifest.created_at,
        manifest=manifest.oid.hex,
        records=records,
        branches=manifest.links.branches,
    )
    if app.json:
        app.out.json("artifacts manifest", {"manifest": document})
    else:
        app.out.raw(render(document).encode("utf-8"))

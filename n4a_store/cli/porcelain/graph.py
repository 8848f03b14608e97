"""`artifacts graph`: what a result was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from n4a_store import errors
from n4a_store.cli.choices import OneOf
from n4a_store.cli.command import porcelain
from n4a_store.cli.complete import names, runs
from n4a_store.cli.context import App
from n4a_store.cli.porcelain.look import subject_of

if TYPE_CHECKING:
    from n4a_store.artifacts.lineage import Lineage
    from n4a_store.artifacts.subject import Subject
    from n4a_store.repo.store import Store


@porcelain("graph")
@click.option(
    "--format",
    "format_",
    type=OneOf(["text", "mermaid", "dot", "svg"]),
    default="text",
    help="How to draw it [default: text].",
)
@click.option("--run", metavar="RUN", help="As it was in this run.", shell_complete=runs)
@click.argument("name", shell_complete=names)
def command(app: App, format_: str, run: str | None, name: str) -> None:
    """Draw what a result was made from.

    NAME is an artifact id or a pipeline. Each artifact is drawn once, however many need it.
    'n4a-store artifacts graph NAME --format svg > lineage.svg' makes a picture.
    """
    from n4a_store.cli.drawing import FORMATS

    dataset, subject = subject_of(app, name, run)
    lineage = _lineage(dataset.store, subject, name)
    if app.json:
        nodes = list(lineage.nodes.values())
        edges = [{"source": source, "target": target} for source, target in lineage.edges()]
        app.out.json("artifacts graph", {"nodes": nodes, "edges": edges})
        return
    for line in FORMATS[format_](lineage):
        app.out.line(line)


def _lineage(store: Store, subject: Subject, name: str) -> Lineage:
    from n4a_store.artifacts.lineage import artifact_lineage, pipeline_lineage
    from n4a_store.artifacts.subject import ArtifactSubject, PipelineSubject

    if isinstance(subject, PipelineSubject):
        return pipeline_lineage(store, subject.manifest)
    if isinstance(subject, ArtifactSubject) and subject.manifest and subject.key:
        return artifact_lineage(store, subject.manifest, subject.key)
    raise errors.InvalidInputError(
        f"'{name}' is neither a pipeline nor an artifact",
        hint="'n4a-store artifacts show' lists what a run holds",
    )

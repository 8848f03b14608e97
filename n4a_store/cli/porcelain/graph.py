"""`artifacts graph`: what a result was made from."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from n4a_store import errors
from n4a_store.cli.choices import OneOf
from n4a_store.cli.command import porcelain
from n4a_store.cli.complete import names, runs
from n4a_store.cli.context import App
from n4a_store.cli.porcelain.look import newest_run, subject_of

if TYPE_CHECKING:
    from n4a_store.artifacts.lineage import Lineage, LineageNode
    from n4a_store.artifacts.subject import Subject
    from n4a_store.objects.oid import ObjectId
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
@click.argument("name", required=False, shell_complete=names)
def command(app: App, format_: str, run: str | None, name: str | None) -> None:
    """Draw what a result was made from.

    NAME is an artifact id, a pipeline or a run; without one, the newest run is drawn. Each
    artifact is drawn once, however many need it.

    'n4a-store artifacts graph NAME --format svg > lineage.svg' makes a picture.
    """
    from n4a_store.cli.drawing import FORMATS

    if name is None:
        name, run = run or newest_run(app), None
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
    from n4a_store.artifacts.manifest_tree import PipelineManifest
    from n4a_store.artifacts.subject import ArtifactSubject, PipelineSubject, RunSubject

    if isinstance(subject, RunSubject):
        held = store.get_tree(subject.entry.run.pipelines).entries
        manifests = [PipelineManifest.read(store, id_, child.oid) for id_, child in held.items()]
        return _together([pipeline_lineage(store, manifest) for manifest in manifests])
    if isinstance(subject, PipelineSubject):
        return pipeline_lineage(store, subject.manifest)
    if isinstance(subject, ArtifactSubject) and subject.manifest and subject.key:
        return artifact_lineage(store, subject.manifest, subject.key)
    raise errors.InvalidInputError(
        f"'{name}' is neither a run, a pipeline nor an artifact",
        hint="'n4a-store artifacts show' lists what a run holds",
    )


def _together(lineages: list[Lineage]) -> Lineage:
    """Several lineages as one, in which what they share is one node."""
    from n4a_store.artifacts.lineage import Lineage

    nodes: dict[ObjectId, LineageNode] = {}
    for lineage in lineages:
        for tree, node in lineage.nodes.items():
            known = nodes.get(tree, node)
            nodes[tree] = replace(known, names=tuple(dict.fromkeys(known.names + node.names)))
    users = Counter(source for node in nodes.values() for source in dict.fromkeys(node.sources))
    nodes = {tree: replace(node, used_by=users[tree]) for tree, node in nodes.items()}
    return Lineage(nodes, tuple(tree for tree in nodes if not users[tree]))

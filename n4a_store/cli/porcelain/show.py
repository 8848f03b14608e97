"""`artifacts show`: a run, a pipeline, an artifact or any object, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from n4a_store.cli.command import porcelain
from n4a_store.cli.complete import names, runs
from n4a_store.cli.context import App, Dataset
from n4a_store.cli.porcelain.look import newest_run, shown_fields, shown_time, subject_of
from n4a_store.cli.render import Column, Span
from n4a_store.cli.terminal import human_size
from n4a_store.cli.values import scalar

if TYPE_CHECKING:
    from n4a_store.artifacts.subject import (
        ArtifactSubject,
        ObjectSubject,
        PipelineSubject,
        RunSubject,
    )

_SHOWN_ARRAYS = 12


@porcelain("show")
@click.option(
    "--run", metavar="RUN", help="Look at NAME as it was in this run.", shell_complete=runs
)
@click.argument("name", required=False, shell_complete=names)
def command(app: App, run: str | None, name: str | None) -> None:
    """Show a run, a pipeline, an artifact or any object.

    NAME is a run, a pipeline, an artifact id such as '0001_pls:3:all', a tag, or an object id;
    without one, the newest run is shown. An artifact's arrays are listed by attribute; nothing
    is unpickled for that.
    """
    from n4a_store.artifacts.subject import ArtifactSubject, PipelineSubject, RunSubject

    if name is None and run is not None:
        name, run = run, None
    dataset, subject = subject_of(app, newest_run(app) if name is None else name, run)
    if isinstance(subject, RunSubject):
        _show_run(app, dataset, subject)
    elif isinstance(subject, PipelineSubject):
        _show_pipeline(app, dataset, subject)
    elif isinstance(subject, ArtifactSubject):
        _show_artifact(app, dataset, subject)
    else:
        _show_object(app, dataset, subject)


def _show_run(app: App, dataset: Dataset, subject: RunSubject) -> None:
    from n4a_store.artifacts.overview import pipelines_of
    from n4a_store.artifacts.stored_runs import noted_failures, shown_status

    entry, run = subject.entry, subject.entry.run
    status = shown_status(dataset.store, run)
    failed = {pipeline: scalar(why) for pipeline, why in noted_failures(run).items()}
    pipelines = pipelines_of(dataset.store, entry)
    if app.json:
        facts = {"run": entry.run_id, "oid": entry.oid, "dataset": dataset.name}
        details = {
            "status": status,
            "created_at": run.created_at,
            "message": run.message,
            "environment": run.environment,
            "parents": run.parents,
            "pipelines": pipelines,
            "failures": failed,
        }
        app.out.json("artifacts show", {"kind": "run"} | facts | details)
        return
    app.out.line(Span(f"run {entry.run_id}", "bold"))
    rows = [("dataset", run.dataset), ("status", str(status))]
    rows += [("created", f"{shown_time(run.created_at)} UTC"), ("object", entry.oid.hex)]
    rows += [
        ("parent", _parent(parent.short(), parent in entry.missing_parents))
        for parent in run.parents
    ]
    rows += [("message", line) for line in run.message.splitlines()]
    rows += [("failed", f"{pipeline}: {why}") for pipeline, why in failed.items()]
    if app.verbose:
        rows += [("with", f"{key} {scalar(value)}") for key, value in run.environment.items()]
    shown_fields(app.out, rows)
    app.out.line("")
    columns = [
        Column("PIPELINE", style="yellow", flexible=True, tail=True),
        Column("ARTIFACTS", right=True),
        Column("AS FILES", right=True),
        Column("MODELS", flexible=True),
    ]
    app.out.table(
        columns,
        [
            [p.pipeline_id, str(p.artifacts), human_size(p.logical_bytes), ", ".join(p.models)]
            for p in pipelines
        ],
    )


def _parent(short: str, gone: bool) -> str:
    return f"{short} (gone, or changed since)" if gone else short


def _show_pipeline(app: App, dataset: Dataset, subject: PipelineSubject) -> None:
    manifest, store = subject.manifest, dataset.store
    with store.session():
        records = [manifest.record(store, path.key) for path in manifest.paths()]
    if app.json:
        facts = {
            "pipeline": manifest.pipeline_id,
            "oid": manifest.oid,
            "dataset": dataset.name,
            "run": manifest.run_id,
            "serial": manifest.serial,
            "created_at": manifest.created_at,
        }
        items = [record.to_dict() for record in records]
        app.out.json("artifacts show", {"kind": "pipeline"} | facts | {"artifacts": items})
        return
    app.out.line(Span(f"pipeline {manifest.pipeline_id or '(unnamed)'}", "bold"))
    shown_fields(
        app.out,
        [
            ("dataset", dataset.name),
            ("run", manifest.run_id),
            ("created", f"{shown_time(manifest.created_at)} UTC"),
            ("object", manifest.oid.hex),
            ("times trained", str(manifest.serial)),
            *(("branch", f"{path} is '{name}'") for path, name in manifest.links.branches.items()),
        ],
    )
    app.out.line("")
    columns = [
        Column("KEY", style="yellow"),
        Column("TYPE"),
        Column("CLASS", flexible=True),
        Column("SIZE", right=True),
        Column("VERSION", right=True),
        Column("CONTENT"),
    ]
    app.out.table(
        columns,
        [
            [
                record.artifact_id.partition(":")[2],
                str(record.artifact_type),
                record.class_name,
                human_size(record.size_bytes),
                str(record.version),
                record.short_hash,
            ]
            for record in records
        ],
    )


def _show_artifact(app: App, dataset: Dataset, subject: ArtifactSubject) -> None:
    from n4a_store.artifacts.contents import contents_of

    store, blob = dataset.store, subject.stored.blob
    record = subject.record(store)
    leaves = contents_of(store, subject.stored)
    arrays = {path: leaf for path, leaf in leaves.items() if hasattr(leaf, "shape") and leaf.shape}
    if app.json:
        listed = {
            path: {"shape": leaf.shape, "dtype": str(leaf.dtype)} for path, leaf in arrays.items()
        }
        facts: dict[str, object] = {
            "kind": "artifact",
            "dataset": dataset.name,
            "tree": subject.tree,
            "class": blob.class_path,
            "record": record.to_dict() if record else None,
            "params": blob.params,
            "arrays": listed,
        }
        app.out.json("artifacts show", facts)
        return
    app.out.line(Span(f"artifact {subject.name}", "bold"))
    rows = [
        ("dataset", dataset.name),
        ("type", blob.type),
        ("class", blob.class_path),
        ("library", blob.library),
        ("format", blob.format),
        ("size", human_size(blob.size)),
        ("content", f"blake3:{subject.stored.payload.oid}"),
        ("tree", subject.tree.hex),
    ]
    if record is not None:
        rows += [("version", str(record.version))]
        rows += [("created", f"{shown_time(record.created_at)} UTC")]
        rows += [("needs", dependency) for dependency in record.depends_on]
    rows += [("param", f"{key} = {scalar(value)}") for key, value in blob.params.items()]
    shown_fields(app.out, rows)
    if not arrays:
        return
    app.out.line("")
    most = None if app.verbose else _SHOWN_ARRAYS
    columns = [Column("ARRAY", flexible=True), Column("SHAPE"), Column("TYPE")]
    app.out.table(
        columns,
        [
            [path or "(itself)", "×".join(map(str, leaf.shape)), str(leaf.dtype)]
            for path, leaf in list(arrays.items())[:most]
        ],
    )
    if most is not None and len(arrays) > most:
        app.out.line(f"… {len(arrays) - most} more arrays: --verbose")


def _show_object(app: App, dataset: Dataset, subject: ObjectSubject) -> None:
    info = dataset.store.info(subject.entry.oid)
    if app.json:
        app.out.json("artifacts show", {"kind": info.kind.label, "object": info})
        return
    app.out.line(Span(f"{info.kind.label} {info.oid}", "bold"))
    stored = f"{human_size(info.stored_size)} ({info.codec}) in pack {info.pack}"
    shown_fields(
        app.out,
        [("dataset", dataset.name), ("size", human_size(info.size)), ("stored", stored)],
    )
    if info.kind.label == "blob":
        from n4a_store.cli.values import blob_lines

        app.out.line("")
        for line in blob_lines(dataset.store.get(info.oid)):
            app.out.line(line)
    else:
        app.out.line("")
        for name, child in dataset.store.get_tree(info.oid).entries.items():
            app.out.line(f"{child.kind.label} {child.oid.short()}  {name}")

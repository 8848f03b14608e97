"""`artifacts import-workspace`: take over a finished workspace of nirs4all, or of flat files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from n4a_store import errors
from n4a_store.cli.command import porcelain
from n4a_store.cli.context import App
from n4a_store.cli.exit_codes import ExitCode
from n4a_store.cli.terminal import human_size

if TYPE_CHECKING:
    from n4a_store.artifacts.flat_import import ImportReport
    from n4a_store.integrations.nirs4all.importing import WorkspaceImport


@porcelain("import-workspace")
@click.option("--trust", is_flag=True, help="Let it be loaded like what was trained here.")
@click.option("--unfinished", is_flag=True, help="Take runs that never ended as well.")
@click.argument("path", type=click.Path(file_okay=False))
def command(app: App, trust: bool, unfinished: bool, path: str) -> None:
    """Take over a workspace of nirs4all, or one of flat files.

    PATH is the folder that was nirs4all's workspace_path, trained into by any of its engines, or
    a folder of manifests of schema 2.0 and their files. It is only read: each file is verified
    against the hash that was declared for it and kept byte for byte, and nothing is unpickled.
    What cannot be taken is listed. Repeating an import takes what is new of a nirs4all
    workspace, and makes a run anew of flat files; the content is stored once.
    """
    if _is_flat(Path(path)):
        from n4a_store.artifacts.flat_import import import_flat_workspace

        place, dataset = app.workspace_path(), app.options.dataset
        _show_flat(app, import_flat_workspace(path, place, dataset, trusted=trust), trust=trust)
        return
    from n4a_store.integrations.nirs4all.importing import import_workspace

    chosen = None if app.options.dataset is None else [app.options.dataset]
    done = import_workspace(
        path, app.workspace_path(), datasets=chosen, trusted=trust, unfinished=unfinished
    )
    _show(app, done, trust=trust)


def _is_flat(path: Path) -> bool:
    """Whether `path` is a workspace of flat files; where it is none of any kind, says so."""
    from n4a_store.artifacts.flat_import import check_legacy
    from n4a_store.artifacts.workspace import Workspace
    from n4a_store.integrations.nirs4all.catalog import CATALOG

    if (path / CATALOG).is_file():
        return False
    if path.is_dir() and Workspace(path).datasets():
        raise errors.InvalidInputError(
            f"'{path}' is a workspace of n4a-store already",
            hint=f"work in it with -w {path}, or 'n4a-store artifacts export' what you need of it",
        )
    if (path / "runs").is_dir():
        return True
    check_legacy(path)
    raise errors.StoreNotFoundError(
        f"there is no workspace to take over in '{path}'",
        hint=f"name the folder that holds {CATALOG}, or runs/**/manifest.yaml",
    )


def _show_flat(app: App, done: ImportReport, *, trust: bool) -> None:
    if any(refused.damaged for refused in done.refused):
        app.exit_code = ExitCode.FINDINGS
    elif done.refused:
        app.exit_code = ExitCode.PARTIAL
    if app.json:
        app.out.json("artifacts import-workspace", {"imported": asdict(done)})
        return
    for run in done.runs:
        app.out.line(run)
    for refused in done.refused:
        word = "damaged" if refused.damaged else "not taken"
        app.out.note(f"{word}: {refused.where}: {refused.reason}")
    count = sum(map(len, done.taken.values()))
    app.out.note(f"{count} artifacts, {human_size(done.bytes)} verified, in {len(done.runs)} runs")
    _remind(app, done.runs, trust=trust)


def _show(app: App, done: WorkspaceImport, *, trust: bool) -> None:
    if done.damaged:
        app.exit_code = ExitCode.FINDINGS
    elif done.missing or done.running or done.unnamed:
        app.exit_code = ExitCode.PARTIAL
    if app.json:
        app.out.json("artifacts import-workspace", {"imported": asdict(done)})
        return
    for run in done.runs:
        app.out.line(run)
    left = {
        "damaged": done.damaged,
        "missing": done.missing,
        "of no pipeline": done.unnamed,
    }
    for said, names in left.items():
        for name in names:
            app.out.note(f"{said}: {name}")
    for name in done.running:
        app.out.note(f"still running: pipeline {name}; --unfinished takes it if its process died")
    app.out.note(
        f"{done.artifacts} artifacts, {human_size(done.size)} verified, "
        f"in {len(done.runs)} runs; {len(done.before)} runs were here before"
    )
    _remind(app, done.runs, trust=trust)


def _remind(app: App, runs: tuple[str, ...] | list[str], *, trust: bool) -> None:
    if runs and not trust:
        app.out.note("loading what was imported asks for trust")

"""`artifacts import-workspace`: take over a finished workspace of nirs4all."""

from __future__ import annotations

from dataclasses import asdict

import click

from n4a_store.cli.command import porcelain
from n4a_store.cli.context import App
from n4a_store.cli.exit_codes import ExitCode
from n4a_store.cli.terminal import human_size


@porcelain("import-workspace")
@click.option("--trust", is_flag=True, help="Let it be loaded like what was trained here.")
@click.option("--unfinished", is_flag=True, help="Take runs that never ended as well.")
@click.argument("path", type=click.Path(file_okay=False))
def command(app: App, trust: bool, unfinished: bool, path: str) -> None:
    """Take over a finished workspace of nirs4all.

    PATH is the folder that was nirs4all's workspace_path, trained into by any of its engines. It
    is only read: each file is verified against the hash that nirs4all declared for it and kept
    byte for byte, and nothing is unpickled. Rows whose file is gone are listed. Repeating an
    import takes what is new.
    """
    from n4a_store.integrations.nirs4all.importing import import_workspace

    chosen = None if app.options.dataset is None else [app.options.dataset]
    done = import_workspace(
        path, app.workspace_path(), datasets=chosen, trusted=trust, unfinished=unfinished
    )
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
    if done.runs and not trust:
        app.out.note("loading what was imported asks for trust")

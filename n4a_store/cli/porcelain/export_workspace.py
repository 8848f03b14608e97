"""`artifacts export-workspace`: write a workspace that nirs4all itself predicts from."""

from __future__ import annotations

from dataclasses import asdict

import click

from n4a_store.cli.command import porcelain
from n4a_store.cli.context import App
from n4a_store.cli.exit_codes import ExitCode
from n4a_store.cli.terminal import human_size


@porcelain("export-workspace")
@click.option("--trust", is_flag=True, help="Load imported artifacts that have to be rewritten.")
@click.argument("folder", type=click.Path(file_okay=False))
def command(app: App, trust: bool, folder: str) -> None:
    """Write a workspace that nirs4all itself predicts from.

    FOLDER must not exist or be empty. It gets nirs4all's catalog and a file for every artifact:
    what was imported as the bytes it came in, what was trained into the store written anew.
    """
    from n4a_store.integrations.nirs4all.exporting import export_workspace

    source = app.workspace()
    if app.options.dataset is not None:
        app.named_dataset(app.options.dataset)  # says which one was meant, where there is none
    done = export_workspace(source, folder, dataset=app.options.dataset, trust=trust)
    if done.missing:
        app.exit_code = ExitCode.PARTIAL
    if app.json:
        app.out.json("artifacts export-workspace", {"exported": asdict(done)})
        return
    app.out.line(done.folder)
    for name in done.missing:
        app.out.note(f"missing: {name}")
    app.out.note(f"{done.files} artifact files, {human_size(done.size)}")

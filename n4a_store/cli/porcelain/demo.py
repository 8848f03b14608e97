"""`demo`: the whole story on real spectra, in a workspace that stays for exploring."""

from __future__ import annotations

from n4a_store.cli.command import porcelain
from n4a_store.cli.context import App
from n4a_store.cli.exit_codes import ExitCode


@porcelain("demo")
def command(app: App) -> None:
    """Train real models on real spectra, and look at what was stored.

    Fits pipelines on the spectra that the package chemotools ships, twice, and says what the
    second run reused; tags the best and predicts with it in a fresh process; flips a byte of a
    copy and shows that it is caught; deletes a pipeline and takes that back. Works offline, in
    under a minute. The workspace stays for you to explore.
    """
    from n4a_store.demo.scenario import run_demo

    # With --json the report is the data, and the story goes to stderr with all other narration.
    say = app.out.note if app.json else app.out.line
    report = run_demo(app.workspace_path(), say)
    if app.json:
        app.out.json("demo", {"report": report})
    if not getattr(report, "passed", True):
        app.exit_code = ExitCode.FAILURE

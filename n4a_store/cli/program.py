"""The program: run a command, and turn whatever happens into output and an exit code.

Never a traceback (unless `N4A_STORE_DEBUG=1`): an error is `error: …`, then `hint: …`, and the
exit code that page says. `| head` ends us quietly; Ctrl-C is 130.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from n4a_store import errors
from n4a_store.cli.command import CONTEXT, LazyGroup, Stopped
from n4a_store.cli.commands import COMPLETE_VARIABLE, ELSEWHERE, PORCELAIN, TOP
from n4a_store.cli.context import App
from n4a_store.cli.exit_codes import ExitCode, exit_code_for


def _show_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001
    if value:
        from n4a_store import __version__

        click.echo(f"n4a-store {__version__}")
        ctx.exit()


@click.group(
    "n4a-store", cls=LazyGroup, sections=TOP, elsewhere=ELSEWHERE, context_settings=CONTEXT
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the version and exit.",
)
def program() -> None:
    """A content-addressed store for the fitted artifacts of machine-learning pipelines.

    New here? 'n4a-store demo' trains real models on real spectra in under a minute and leaves
    a workspace to explore.
    """


@click.group("artifacts", cls=LazyGroup, sections=PORCELAIN, context_settings=CONTEXT)
def artifacts() -> None:
    """Look after the artifacts of a workspace: what is there, what is new, what can go."""


def run(argv: Sequence[str]) -> int:
    """Run the program with `argv`; return its exit code. Writes to this process's streams."""
    # The library reads every N4A_STORE_ variable as a setting; this one is the program's.
    debug = os.environ.pop("N4A_STORE_DEBUG", "") == "1"
    app = App()
    if COMPLETE_VARIABLE in os.environ:
        from n4a_store.cli.bash import register

        register()
    try:
        try:
            # click returns the code of a `ctx.exit()` here; commands themselves return None.
            code = program.main(list(argv), prog_name="n4a-store", standalone_mode=False, obj=app)
            sys.stdout.flush()
        finally:
            app.close()
    except BaseException as error:
        if debug:
            raise
        return report(error, app)
    return code or app.code()


def report(error: BaseException, app: App) -> int:
    """Say what went wrong on stderr; return the exit code for it."""
    if isinstance(error, Stopped | click.Abort) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, BrokenPipeError):
        # Python flushes stdout once more at exit; give it somewhere to write to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.BROKEN_PIPE
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else ExitCode.FAILURE
    if _is_interrupt(error):
        if app.out.stderr.isatty():
            app.out.stderr.write("\n")  # the terminal has shown ^C in the line that stood there
        app.out.error("interrupted")
        return ExitCode.INTERRUPTED
    try:
        return _report_error(error, app)
    except BrokenPipeError as broken:
        return report(broken, app)


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether it is a Ctrl-C, or what Python made of one that came in the middle of an import."""
    while error is not None and not isinstance(error, errors.StoreError):
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__
    return False


def _report_error(error: BaseException, app: App) -> int:
    if isinstance(error, click.NoSuchOption):
        meant = " or ".join(f"'{name}'" for name in error.possibilities or ())
        if error.option_name == "--date" and error.ctx and error.ctx.info_name == "find":
            meant = "'--since' or '--until'"  # nothing that letters could tell
        hint = f"did you mean {meant}?" if meant else _usage_hint(error)
        app.out.error(f"no such option: '{error.option_name}'", hint)
        return ExitCode.USAGE
    if isinstance(error, click.UsageError):
        app.out.error(_first_lower(error.format_message()), _usage_hint(error))
        return ExitCode.USAGE
    if isinstance(error, click.ClickException):  # a file that cannot be opened
        app.out.error(_first_lower(error.format_message()))
        return ExitCode.FAILURE
    code = exit_code_for(error)
    if isinstance(error, errors.StoreError):
        # Where there is no store, the place itself is what was wrong.
        lost = isinstance(error, errors.StoreNotFoundError)
        hint = error.hint if lost or not error.hint else app.located(error.hint)
        app.out.error(error.message, hint)
    elif isinstance(error, OSError):
        name = f": {error.filename}" if error.filename else ""
        app.out.error(
            f"{(error.strerror or str(error)).lower()}{name}",
            "check the path, its permissions and the space on the disk, then try again",
        )
    elif isinstance(error, MemoryError):
        app.out.error("out of memory", "free some, or raise the limit on it (ulimit -v)")
    elif isinstance(error, ImportError):
        (said, *_) = [line for line in str(error).splitlines() if line.strip()] or ["?"]
        app.out.error(
            f"a library cannot be loaded: {said}",
            "is there enough memory, and is the environment whole? pip check tells",
        )
    else:
        app.out.error(
            f"this is a bug in n4a-store: {type(error).__name__}: {error}",
            "run again with N4A_STORE_DEBUG=1 and report the traceback",
        )
    return code


def _usage_hint(error: click.UsageError) -> str | None:
    hint: Any = getattr(error, "hint", None)
    if isinstance(hint, str):
        return hint
    return f"see '{error.ctx.command_path} --help'" if error.ctx else None


def _first_lower(message: str) -> str:
    text = message.rstrip(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text

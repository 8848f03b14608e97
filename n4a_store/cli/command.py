"""The click classes every command is made of.

A group knows its commands by name and summary only and imports one when it is called, so that
`--help` costs no more than click itself. Global options are accepted before and after the
command; where a command has a short flag of its own (`update-ref -d`), the command's wins there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from n4a_store.cli.choices import HintedUsageError, OneOf
from n4a_store.cli.context import App, Options
from n4a_store.cli.terminal import plain_glyphs, wants_ascii

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


@dataclass(frozen=True, slots=True)
class Entry:
    """A command by where it is: its module and its one-line summary."""

    module: str
    summary: str
    attribute: str = "command"


class Stopped(BaseException):
    """An interruption or a broken pipe on its way past click, which would answer both itself."""


def _complete_datasets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from n4a_store.cli.complete import datasets

    return datasets(ctx, param, incomplete)


def _complete_folders(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from n4a_store.cli.complete import folders

    return folders(ctx, param, incomplete)


def global_options(*, store: bool) -> list[click.Option]:
    """The options every command takes, fresh for each command."""
    options = [
        click.Option(
            ["-w", "--workspace"],
            metavar="PATH",
            help="Workspace folder [default: $N4A_WORKSPACE, else walk up, else ./workspace].",
            shell_complete=_complete_folders,
        ),
        click.Option(
            ["-d", "--dataset"],
            metavar="NAME",
            help="Dataset of the workspace.",
            shell_complete=_complete_datasets,
        ),
        click.Option(["-v", "--verbose"], is_flag=True, default=None, help="Say more."),
        click.Option(["-q", "--quiet"], is_flag=True, default=None, help="Say less."),
        click.Option(["--json", "json"], is_flag=True, default=None, help="Answer in JSON."),
        click.Option(
            ["--color"],
            type=OneOf(["auto", "always", "never"]),
            help="Colour the output [default: auto].",
        ),
    ]
    if store:
        option = click.Option(
            ["--store"],
            metavar="PATH",
            help="A store's own folder.",
            shell_complete=_complete_folders,
        )
        options.insert(2, option)
    return options


class _Globals(click.Command):
    """Adds the global options to a command and folds their values into the `App`."""

    takes_store = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        taken = {flag for parameter in self.params for flag in parameter.opts}
        self._global_options = []
        for option in global_options(store=self.takes_store):
            if option.opts[-1] in taken or option.name in {p.name for p in self.params}:
                continue  # the command has this very option, with a meaning of its own
            option.opts = [flag for flag in option.opts if flag not in taken]
            self._global_options.append(option)
        self.params.extend(self._global_options)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if error.ctx is None:  # click's parser leaves away whose --help is to be seen
                error.ctx = ctx
            raise

    def invoke(self, ctx: click.Context) -> Any:
        names = [option.name for option in self._global_options if option.name]
        given = {name: ctx.params.pop(name) for name in names}
        ctx.ensure_object(App).update(Options(**given))
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, BrokenPipeError) as error:
            raise Stopped from error

    def get_help(self, ctx: click.Context) -> str:
        text = super().get_help(ctx)
        encoding = getattr(sys.stdout, "encoding", None) or "ascii"
        return plain_glyphs(text) if wants_ascii(os.environ, encoding) else text

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Two sections, so that a command's own options are not lost among the global ones."""
        own: list[tuple[str, str]] = []
        everywhere: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                (everywhere if parameter in self._global_options else own).append(record)
        if own:
            with formatter.section("Options"):
                formatter.write_dl(own)
        with formatter.section("Global options"):
            formatter.write_dl(everywhere)


class PorcelainCommand(_Globals):
    """A command for people."""


class PlumbingCommand(_Globals):
    """A command for scripts: it can also be pointed at a store's own folder."""

    takes_store = True


class LazyGroup(_Globals, click.Group):
    """A group that imports a command only when it is called."""

    takes_store = True

    def __init__(
        self,
        *args: Any,
        sections: Mapping[str, Mapping[str, Entry]],
        elsewhere: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.sections = sections
        self._entries = {name: e for table in sections.values() for name, e in table.items()}
        self._elsewhere = dict(elsewhere or {})

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self._entries)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002
        cmd_name: str,
    ) -> click.Command | None:
        entry = self._entries.get(cmd_name)
        if entry is None:
            return None
        command = getattr(import_module(entry.module), entry.attribute)
        assert isinstance(command, click.Command)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # A command is missing: a usage error, and help is the answer (but not to a Tab key).
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and name not in self._entries:
            hint = f"'{ctx.command_path} --help' lists the commands"
            if close := self._meant(name):
                hint = f"did you mean {close}?"
            raise HintedUsageError(f"no such command: '{name}'", hint)
        return super().resolve_command(ctx, args)

    def _meant(self, name: str) -> str | None:
        from n4a_store.cli.suggest import closest

        known = {**{own: own for own in self._entries}, **self._elsewhere}
        return closest(name, known.keys(), show=lambda found: f"'{known[found]}'")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        super().format_options(ctx, formatter)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002
        formatter: click.HelpFormatter,
    ) -> None:
        """The summaries from the table: no command is imported to print them."""
        for title, table in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry.summary) for name, entry in table.items()])


Callback = Callable[..., None]


def plumbing(name: str) -> Callable[[Callback], click.Command]:
    """Make a plumbing command of a function; it gets the `App` first, then its parameters."""
    return _command(name, PlumbingCommand)


def porcelain(name: str) -> Callable[[Callback], click.Command]:
    """Make a porcelain command of a function; it gets the `App` first, then its parameters."""
    return _command(name, PorcelainCommand)


def _command(name: str, cls: type[_Globals]) -> Callable[[Callback], click.Command]:
    def wrap(function: Callback) -> click.Command:
        return click.command(name, cls=cls, context_settings=CONTEXT)(click.pass_obj(function))

    return wrap


CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 80}

"""Values that are checked as they are typed: an error names the value, and what was meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    Choice = click.Choice[str]
else:
    Choice = click.Choice  # before 8.2 it took no type


class HintedUsageError(click.UsageError):
    """A usage error that says what was probably meant."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class OneOf(Choice):
    """One of a few words."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The word.

        Raises:
            HintedUsageError: It is none of them.
        """
        if value in self.choices:
            return super().convert(value, param, ctx)
        from n4a_store.cli.suggest import closest

        meant = closest(str(value), self.choices)
        hint = f"did you mean {meant}?" if meant else f"one of: {', '.join(self.choices)}"
        raise HintedUsageError(f"{_what(param)} cannot be '{value}'", hint)

    def get_missing_message(
        self,
        param: click.Parameter,  # noqa: ARG002
        ctx: click.Context | None = None,  # noqa: ARG002
    ) -> str:
        """Nothing: the parameter's name lists the words, and an error is one line."""
        return ""


class Number(click.IntRange):
    """A whole number, of at least `least` and at most `most`.

    Args:
        hint: What to say to one who typed something else.
    """

    def __init__(self, least: int, most: int | None = None, *, hint: str | None = None) -> None:
        super().__init__(least, most)
        self._hint = hint

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number.

        Raises:
            HintedUsageError: It is none, or out of range.
        """
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            limits = f"{self.min} or more" if self.max is None else f"{self.min} to {self.max}"
            hint = self._hint or (f"see '{ctx.command_path} --help'" if ctx else "")
            raise HintedUsageError(
                f"{_what(param)} takes a whole number, {limits}, not '{value}'", hint
            ) from error


def _what(param: click.Parameter | None) -> str:
    if isinstance(param, click.Option):
        return f"'{max(param.opts, key=len)}'"
    return param.human_readable_name.upper() if param is not None else "a value"

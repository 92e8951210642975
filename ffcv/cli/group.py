"""A group of commands that imports a command when it is run, and says errors in one line."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from ffcv.cli.text import printable
from ffcv.errors import BetonError, FfcvError, MissingFileError

__all__ = ["UNREADABLE", "WRONG", "LazyGroup"]

WRONG = 1
"""Exit status: something is wrong with what was looked at, such as a damaged file."""

UNREADABLE = 2
"""Exit status: wrong usage, or nothing could be read."""


class LazyGroup(click.Group):
    """A click group whose commands live in modules that are imported when they are needed.

    Args:
        commands_at: for each command its place as ``"module:function"`` and its line in the help.
    """

    def __init__(
        self, *args: Any, commands_at: Mapping[str, tuple[str, str]], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.commands_at = dict(commands_at)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands."""
        return sorted({*self.commands_at, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; ``None`` if there is none of that name."""
        if cmd_name not in self.commands_at:
            return super().get_command(ctx, cmd_name)
        module, _, name = self.commands_at[cmd_name][0].partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.commands_at.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what ffcv raises on purpose becomes one line and an exit status."""
        try:
            return super().invoke(ctx)
        except FfcvError as error:
            raise _Failure(error, _status(error)) from error


class _Failure(click.ClickException):
    """An error of ffcv, shown without a traceback."""

    def __init__(self, error: FfcvError, status: int) -> None:
        super().__init__(printable(" ".join(str(error).split())))
        self.exit_code = status  # type: ignore[misc]  # a class variable in click's annotations


def _status(error: FfcvError) -> int:
    """Damage is what is wrong with a file's content, not its absence or lack of permission."""
    in_file = isinstance(error, BetonError) and not isinstance(error, MissingFileError)
    return WRONG if in_file and type(error) is not BetonError else UNREADABLE

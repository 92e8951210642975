"""A command that keeps the rules of :mod:`ffcv.cli`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from ffcv.cli.report import Report, color_is_unwanted
from ffcv.errors import PluginError

__all__ = ["UNREADABLE", "WRONG", "Command", "command"]

WRONG = 1
"""Exit status: something is wrong with what was looked at, such as a damaged file."""

UNREADABLE = 2
"""Exit status: wrong usage, or nothing could be read."""


class Command(click.Command):
    """A command whose function returns a :class:`~ffcv.cli.report.Report`.

    The report is written as text, or as JSON with ``--json``, and decides the exit status.

    Args:
        examples: lines as one would type them; they stand in the help and are run by tests. There
            is at least one.
        reports: whether there is a report. A command without one has no ``--json``.

    Raises:
        TypeError: there are no examples, or ``--json`` is an option of its own.
    """

    def __init__(
        self, *args: Any, examples: Sequence[str] = (), reports: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        if not examples or isinstance(examples, str):
            raise TypeError(
                f"the command {self.name!r} needs examples, a list of lines as one would type "
                f"them: examples=['ffcv {self.name}']; got {examples!r}"
            )
        self.examples, self.reports = tuple(examples), reports
        if reports:
            if any(param.name == "json" or "--json" in param.opts for param in self.params):
                raise TypeError(
                    f"the command {self.name!r} has an argument or option 'json' of its own; "
                    "every command gets --json, which writes its report's data (leave yours out)"
                )
            self.params.append(click.Option(["--json"], is_flag=True, help="Write JSON."))

    def invoke(self, ctx: click.Context) -> Any:
        """Run it and write its report.

        Raises:
            PluginError: its function returned no report, or one that cannot be written.
        """
        ctx.color = False if color_is_unwanted() else ctx.color
        json_wanted = ctx.params.pop("json", False)
        report = super().invoke(ctx)
        if self.reports:
            if not isinstance(report, Report):
                raise PluginError(
                    f"the command {self.name!r} gave {type(report).__name__} {report!r}; its "
                    "function must return a ffcv.cli.report.Report, or else be made a command "
                    "with reports=False"
                )
            report.write(json_wanted=json_wanted)
            if report.has_problems:
                ctx.exit(WRONG)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the examples, and what else stands at the end."""
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")
        super().format_epilog(ctx, formatter)


def command(
    *, examples: Sequence[str], reports: bool = True, **kwargs: Any
) -> Callable[[Callable[..., Any]], Command]:
    """Make a command of a function; ``kwargs`` are click's.

    Args:
        examples: see :class:`Command`.
        reports: likewise.
        **kwargs: as for ``click.command``.
    """
    return click.command(cls=Command, examples=examples, reports=reports, **kwargs)

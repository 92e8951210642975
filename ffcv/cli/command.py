"""A command that keeps the rules of :mod:`ffcv.cli`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from ffcv.cli.report import Report, color_is_unwanted

__all__ = ["UNREADABLE", "WRONG", "Command", "command"]

WRONG = 1
"""Exit status: something is wrong with what was looked at, such as a damaged file."""

UNREADABLE = 2
"""Exit status: wrong usage, or nothing could be read."""


class Command(click.Command):
    """A command whose function returns a :class:`~ffcv.cli.report.Report`.

    The report is written as text, or as JSON with ``--json``, and decides the exit status.

    Args:
        examples: lines as one would type them; they stand in the help and are run by tests.
        reports: whether there is a report. A command without one has no ``--json``.

    Raises:
        TypeError: there are no examples.
    """

    def __init__(
        self, *args: Any, examples: Sequence[str] = (), reports: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        if not examples:
            raise TypeError(f"the command {self.name!r} needs examples")
        self.examples, self.reports = tuple(examples), reports
        if reports:
            self.params.append(click.Option(["--json"], is_flag=True, help="Write JSON."))

    def invoke(self, ctx: click.Context) -> Any:
        """Run it and write its report."""
        ctx.color = False if color_is_unwanted() else ctx.color
        json_wanted = ctx.params.pop("json", False)
        report = super().invoke(ctx)
        if self.reports:
            assert isinstance(report, Report), f"{self.name} returned no report"
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

"""What commands write: lines for people, or JSON for programs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import click

from ffcv.cli.text import as_json, printable

__all__ = ["Line", "Report", "bad", "color_is_unwanted", "good", "heading"]


class Line(NamedTuple):
    """Text with a look, which it has on terminals that want colors.

    Attributes:
        text: one line or several.
        look: arguments of ``click.style``.
    """

    text: str
    look: dict[str, Any]


def good(text: str) -> Line:
    """Text that says that all is well."""
    return Line(text, {"fg": "green"})


def bad(text: str) -> Line:
    """Text that says what is wrong."""
    return Line(text, {"fg": "red"})


def heading(text: str) -> Line:
    """Text that others belong to."""
    return Line(text, {"bold": True})


@dataclass(frozen=True)
class Report:
    """What a command found.

    Attributes:
        data: plain data, for ``--json``. Keys are words with underscores, sizes are in bytes.
        lines: the same for people. They are taken only where they are shown.
        has_problems: whether something is wrong with what was looked at.
    """

    data: Any
    lines: Iterable[str | Line]
    has_problems: bool = False

    def write(self, *, json_wanted: bool) -> None:
        """Write it to stdout."""
        if json_wanted:
            click.echo(as_json(self.data))
            return
        for line in self.lines:
            text, look = line if isinstance(line, Line) else (line, {})
            click.echo(click.style(printable(text), **look) if look else printable(text))


def color_is_unwanted() -> bool:
    """Whether the user wants no colors, see https://no-color.org, or the terminal has none."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"

"""What commands write: lines for people, or JSON for programs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import click

from ffcv.cli.text import as_json, printable
from ffcv.errors import PluginError

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

    Raises:
        TypeError: the lines are one text, which would be shown letter by letter, or no lines.
    """

    data: Any
    lines: Iterable[str | Line]
    has_problems: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.lines, str | Line) or not isinstance(self.lines, Iterable):
            raise TypeError(f"lines: expected a list of lines, got {_what(self.lines)}")

    def write(self, *, json_wanted: bool) -> None:
        """Write it to stdout.

        Raises:
            PluginError: a line is no text.
        """
        if json_wanted:
            _write(as_json(self.data))
            return
        for line in self.lines:
            text, look = line if isinstance(line, Line) else (line, {})
            if not isinstance(text, str):
                raise PluginError(f"a report has a line that is no text, but {_what(text)}")
            _write(click.style(printable(text), **look) if look else printable(text))


class _Unwritten(click.ClickException):
    """Stdout takes nothing more, such as a file on a full disk."""

    exit_code = 2


def _write(text: str) -> None:
    try:
        click.echo(text)
    except BrokenPipeError:
        raise  # whoever reads has gone away, which is no error
    except OSError as error:
        raise _Unwritten(f"the report cannot be written to stdout: {error.strerror}") from error


def _what(value: object) -> str:
    return f"{type(value).__name__} {value!r}"


def color_is_unwanted() -> bool:
    """Whether the user wants no colors, see https://no-color.org, or the terminal has none."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"

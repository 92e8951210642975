"""Arguments and options that several commands have; one spelling for each meaning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["fields_option", "file_argument", "workers_option"]

Function = TypeVar("Function", bound=Callable[..., Any])


class _Names(click.ParamType):  # type: ignore[type-arg]  # generic in later releases
    """Names with commas between them."""

    name = "names"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        """Split them."""
        names = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
        if not all(names):
            self.fail(f"expected names with commas between them, got {value!r}", param, ctx)
        return list(names)


def file_argument(function: Function) -> Function:
    """``FILE``, a dataset. That it can be opened is found out by opening it."""
    return click.argument("file", type=click.Path())(function)


def fields_option(text: str) -> Callable[[Function], Function]:
    """``--fields A,B``, as a list; ``None`` by default."""
    return click.option("--fields", metavar="A,B", type=_Names(), help=text)


def workers_option(text: str) -> Callable[[Function], Function]:
    """``--workers N``; -1, one for each core, by default."""
    at_least = click.IntRange(min=-1)
    return click.option("--workers", metavar="N", type=at_least, default=-1, help=text)

"""A group of commands that imports a command when it is run, and says errors in one line."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ffcv.cli.command import UNREADABLE, WRONG, Command
from ffcv.cli.text import printable
from ffcv.errors import BetonError, FfcvError, MissingFileError, PluginError
from ffcv.suggesting import did_you_mean

if TYPE_CHECKING:
    from ffcv.plugin.registry import Registered

__all__ = ["BROKEN", "INTERRUPTED", "UNREAD", "CommandGroup", "Place", "command_of", "name_of"]

BROKEN = 3
"""Exit status: ffcv itself failed, by an exception that it does not raise on purpose."""

INTERRUPTED = 130
"""Exit status: Ctrl-C, as shells have it."""

UNREAD = 141
"""Exit status: whoever read the output went away, as ``head`` does; as shells have it."""

FROM_PLUGINS = "From plugins"


class Place(NamedTuple):
    """Where a command is.

    Attributes:
        location: ``"module:function"``.
        line: what it does, as in its help.
    """

    location: str
    line: str


class CommandGroup(click.Group):
    """A click group whose commands live in modules that are imported when they are needed.

    Commands of plugins come behind ours, under their names with hyphens.

    Args:
        sections: for each part of the help its commands by name.
    """

    def __init__(
        self, *args: Any, sections: Mapping[str, Mapping[str, Place]], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.sections = {title: dict(places) for title, places in sections.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands."""
        return [*self.places, *(name for name in _provided() if name not in self.places)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> Command | None:
        """Import one command; ``None`` if there is none of that name."""
        place = self.places.get(cmd_name)
        if place is None:
            registered = _provided().get(cmd_name)
            return command_of(registered) if registered else None
        module, _, name = place.location.partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command by the first argument, or say which may have been meant."""
        name = args[0]
        known = self.list_commands(ctx)
        if name not in known and not name.startswith("-"):
            hint = did_you_mean(name, known, most=3) or f"; there are {', '.join(known)}"
            ctx.fail(printable(f"there is no command {name!r}{hint}{_problems()}"))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        for title, rows in self._listing():
            with formatter.section(title):
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what it raises becomes words and an exit status."""
        try:
            return super().invoke(ctx)
        except FfcvError as error:
            raise _Failure(error, _status(error)) from error
        except KeyboardInterrupt:
            click.echo("\nAborted!", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            # What is still in the buffer would fail once more at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(UNREAD)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise  # these are click's to deal with
        except Exception:
            click.echo(traceback.format_exc(), err=True)
            ctx.exit(BROKEN)

    @property
    def places(self) -> dict[str, Place]:
        """Where our own commands are, by name."""
        return {name: place for places in self.sections.values() for name, place in places.items()}

    def _listing(self) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        for title, places in self.sections.items():
            yield title, [(name, place.line) for name, place in places.items()]
        others = {n: r for n, r in _provided().items() if n not in self.places}
        if others:
            yield FROM_PLUGINS, [(n, str(r.contribution.summary)) for n, r in others.items()]


def _provided() -> dict[str, Registered]:
    """The commands of plugins, by the names under which they are called."""
    from ffcv.plugin import registry
    from ffcv.plugin.records import Kind

    found = registry.contributions(Kind.COMMAND)
    return {name_of(each): each for each in found}


def _problems() -> str:
    """Where to look for commands of plugins that have something wrong with them."""
    from ffcv.plugin import registry

    count = len(registry.problems())
    return f"; problems with plugins: {count}; `ffcv plugins` lists them" if count else ""


def name_of(registered: Registered) -> str:
    """What a plugin's command is called by."""
    return registered.name.replace("_", "-")


def command_of(registered: Registered) -> Command:
    """Import a plugin's command.

    Raises:
        PluginError: it cannot be imported, or is something else.
    """
    from ffcv.plugin import registry

    found = registry.load(registered)
    if not isinstance(found, Command):
        raise PluginError(
            f"{registered}: expected a command, made by ffcv.cli.command.command, at "
            f"{registered.contribution.location}, got {found!r}"
        )
    return found


class _Failure(click.ClickException):
    """An error of ffcv, shown without a traceback."""

    def __init__(self, error: FfcvError, status: int) -> None:
        super().__init__(printable(" ".join(str(error).split())))
        self.exit_code = status  # type: ignore[misc]  # a class variable in click's annotations


def _status(error: FfcvError) -> int:
    """Damage is what is wrong with a file's content, not its absence or lack of permission."""
    in_file = isinstance(error, BetonError) and not isinstance(error, MissingFileError)
    return WRONG if in_file and type(error) is not BetonError else UNREADABLE

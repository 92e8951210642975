"""The ``ffcv`` command.

=======================  ========================================================
``ffcv info FILE``       what a file holds
``ffcv verify FILE``     check every stored byte of a file
``ffcv index FILE``      make a file quicker to read, by side indexes
``ffcv plugins``         what is installed, and what is wrong with it
=======================  ========================================================

Exit status: 0 all is well; 1 something is wrong with what was looked at; 2 wrong usage, or nothing
could be looked at. Errors take one line on stderr. In particular, the status is 1 when

* a file is damaged, or is no ``.beton`` file (all commands that open one),
* a field's plugin is missing, or records point to nothing (``info``),
* samples are damaged, so that they get no entry in a side index (``index``),
* a plugin is broken, or a class that it announces does not exist (``plugins``).

It is 2 when there is no such file, or it may not be read or changed.
"""

from __future__ import annotations

import click

from ffcv.cli.group import LazyGroup

__all__ = ["main"]


@click.group(
    cls=LazyGroup,
    commands_at={
        "index": ("ffcv.cli.index:index", "Make a .beton file quicker to read, by side indexes."),
        "info": ("ffcv.cli.info:info", "What a .beton file holds."),
        "plugins": ("ffcv.cli.plugins:plugins", "What is installed, and what is wrong with it."),
        "verify": ("ffcv.cli.verify:verify", "Check every stored byte of a .beton file."),
    },
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="ffcv", prog_name="ffcv")
def main() -> None:
    """Fast loading of training data from .beton files."""

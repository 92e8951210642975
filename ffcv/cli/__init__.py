"""The ``ffcv`` command.

=======================  ========================================================
``ffcv info FILE``       what a file holds
``ffcv verify FILE``     check every stored byte of a file
``ffcv index FILE``      make a file quicker to read, by side indexes
``ffcv plugins``         what is installed, and what is wrong with it
=======================  ========================================================

Exit status: 0 all is well, 1 a file is damaged, 2 wrong usage or nothing could be read. Errors take
one line on stderr.
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

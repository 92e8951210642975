"""The ``ffcv`` command, and the rules that all of its commands keep, those of plugins included.

=======================  ========================================================
``ffcv info FILE``       what a file holds
``ffcv verify FILE``     check every stored byte of a file
``ffcv index FILE``      make a file quicker to read, by side indexes
``ffcv plugins``         what is installed, and what is wrong with it
=======================  ========================================================

What a command finds goes to stdout, as text for people or, with ``--json``, as one JSON document;
everything else goes to stderr. The exit status says how it went:

===  ===============================================================================
0    all is well
1    something is wrong with what was looked at
2    wrong usage, or nothing could be looked at; the last line on stderr says why
3    ffcv itself, or a plugin's command, failed; a traceback on stderr says where
130  it was interrupted
141  whoever read its output went away
===  ===============================================================================

In particular, the status is 1 when

* a file is damaged, or is no ``.beton`` file (all commands that open one),
* a field's plugin is missing, or records point to nothing (``info``),
* samples are damaged, so that they get no entry in a side index (``index``),
* a plugin is broken, or a class that it announces does not exist (``plugins``).

It is 2 when there is no such file, or it may not be read or changed.

Text has colors on a terminal, unless ``NO_COLOR`` is set. What takes longer than a second shows its
progress, on terminals only. A command, option or field that does not exist is answered with the
closest ones that do.

A command is made by :func:`ffcv.cli.command.command`, which sees to all of that: it is given
examples, which the help shows, and its function returns a :class:`ffcv.cli.report.Report`.
Arguments that several commands have are in :mod:`ffcv.cli.options`. A new one gets its line in the
table below; that of a plugin is announced by the hook ``ffcv_commands``. Then
:class:`ffcv.testing.conformance.CommandConformance` holds it to the rules.
"""

from __future__ import annotations

import click

from ffcv.cli.group import CommandGroup, Place

__all__ = ["main"]

_SECTIONS = {
    "Datasets": {
        "info": Place("ffcv.cli.info:info", "What a .beton file holds."),
        "verify": Place("ffcv.cli.verify:verify", "Check every stored byte of a .beton file."),
        "index": Place(
            "ffcv.cli.index:index", "Make a .beton file quicker to read, by side indexes."
        ),
    },
    "Installation": {
        "plugins": Place(
            "ffcv.cli.plugins:plugins", "What is installed, and what is wrong with it."
        ),
    },
}


@click.group(
    cls=CommandGroup,
    sections=_SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="ffcv", prog_name="ffcv")
def main() -> None:
    """Fast loading of training data from .beton files."""

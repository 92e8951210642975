"""Docstrings are written to be read in the source; the site wants Markdown.

A griffe extension, run while mkdocstrings reads the sources. References like
``:class:`~ffcv.loader.Loader``` become links, or plain code if the documentation has no place for
them; literal blocks and examples become code blocks.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod|obj):`(~?)([\w.]+)`")
LITERAL_BLOCK = re.compile(r"^([ \t]*)(.*?)::[ \t]*$", re.MULTILINE)
EXAMPLE = re.compile(r"^([ \t]*)>>> .*(?:\n[ \t]*\S.*)*", re.MULTILINE)


def link(match: re.Match[str]) -> str:
    """What a role becomes: a cross-reference that need not resolve."""
    short, target = match.groups()
    label = target.rpartition(".")[2] if short else target
    return f'<autoref optional identifier="{target}"><code>{label}</code></autoref>'


def text_before(match: re.Match[str]) -> str:
    """What a line that ends in ``::`` becomes; the indented lines after it are code anyway."""
    indent, text = match.groups()
    return f"{indent}{text}:" if text else ""


def fenced(match: re.Match[str]) -> str:
    """What an interactive session becomes."""
    indent = match[1]
    return f"{indent}```pycon\n{match[0]}\n{indent}```"


class MarkdownDocstrings(griffe.Extension):
    """Rewrite all docstrings."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Change one object's docstring before it is parsed."""
        if obj.docstring is not None:
            value = ROLE.sub(link, obj.docstring.value)
            value = LITERAL_BLOCK.sub(text_before, value)
            obj.docstring.value = EXAMPLE.sub(fenced, value)

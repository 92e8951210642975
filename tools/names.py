"""Hold the identifiers of this repository to one word and one spelling for each thing.

``python3 dev.py names`` runs this. ``docs/glossary.md`` says what the words mean. Prose, names of
tests among it, may be spelled as one likes.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("ffcv", "plugins", "contrib", "benchmarks", "examples", "tests", "tools")

BETTER = {
    "branch": ("leg", "legs", "route", "routes"),
    "color": ("colour", "coloured", "colours"),
    "device copy": ("handover", "handovers"),
    "fuse": ("fold", "folded", "folding", "folds"),
    "gray": ("grey", "greys"),
    "image statistics": ("survey", "surveys"),
    "lazy namespace": ("face", "faces"),
    "normalize": ("normalisation", "normalise", "normalised", "normaliser", "normalises"),
    "sample index": ("sample id", "sample ids"),
    "shared prefix": ("trunk", "trunks"),
}
"""Words that are used, and for each those that are not."""

ALLOWED = {"fold": "in tests, an attribute of the user's that means something of his own"}
"""Identifiers that stay all the same, and why."""


class Use(NamedTuple):
    """Where an identifier is given to something."""

    path: Path
    line: int
    name: str


def main() -> int:
    """Print what is named against the rules; the status is 1 if there is any."""
    found = [(use, fault) for use in uses(ROOT) for fault in faults(use.name)]
    wrong = [(use, fault) for use, fault in found if use.name not in ALLOWED]
    for use, (word, better) in wrong:
        where = f"{use.path.relative_to(ROOT)}:{use.line}"
        print(f"{where}: {use.name}: say {better!r}, not {word!r}")
    for name in sorted(ALLOWED.keys() - {use.name for use, _ in found}):
        print(f"tools/names.py: {name} need not be allowed any more: nothing is called so")
    return int(bool(wrong))


def words_of(name: str) -> list[str]:
    """The words of an identifier in any style, in small letters.

    Example:
        >>> words_of("RGBImage_toGray2")
        ['rgb', 'image', 'to', 'gray', '2']
    """
    pieces = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+", name)
    return [piece.lower() for piece in pieces]


def faults(name: str) -> Iterator[tuple[str, str]]:
    """The words in a name that are not used, each with what to say.

    Example:
        >>> list(faults("toGreyRoute"))
        [('route', 'branch'), ('grey', 'gray')]
    """
    text = f" {' '.join(words_of(name))} "
    for better, worse in BETTER.items():
        yield from ((word, better) for word in worse if f" {word} " in text)


def uses(root: Path) -> Iterator[Use]:
    """Every name that is given to something below ``root``, and the names of modules."""
    folders = (root.glob(f"{folder}/**/*.py") for folder in FOLDERS)
    for path in sorted([*root.glob("dev.py"), *(path for paths in folders for path in paths)]):
        yield Use(path, 1, path.stem)
        for use in _given(path):
            if not re.match(r"test_|Test", use.name):
                yield use


def _given(path: Path) -> Iterator[Use]:
    """Every name that a file gives to something: not those that it only uses."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield Use(path, node.lineno, node.name)
            case ast.arg():
                yield Use(path, node.lineno, node.arg)
            case ast.Name(ctx=ast.Store()):
                yield Use(path, node.lineno, node.id)
            case ast.Attribute(ctx=ast.Store()):
                yield Use(path, node.lineno, node.attr)
            case ast.alias(asname=str()):
                yield Use(path, node.lineno, node.asname)


if __name__ == "__main__":
    sys.exit(main())

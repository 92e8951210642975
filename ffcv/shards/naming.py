"""From what a user gave for a dataset to the paths of its files."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ffcv.errors import ArgumentError, MissingFileError
from ffcv.shards.manifest import MANIFEST

__all__ = ["ENDING", "Place", "named", "natural"]

ENDING = ".beton"
"""Of the files in a folder that are taken for shards."""

_MAGIC = re.compile(r"[*?\[]")


class Place(NamedTuple):
    """A file, or a folder with a manifest of shards."""

    path: str
    is_folder: bool = False


def named(given: Any, is_claimed: Callable[[str], bool]) -> list[Place]:
    """The files that are meant.

    Args:
        given: a path, a folder, a pattern as ``"data/*.beton"``, or a list of these.
        is_claimed: whether a storage of a plugin opens a path, whatever it looks like.

    Raises:
        ArgumentError: it is none of these, or an empty list.
        MissingFileError: nothing fits a pattern, or a folder has no shards.
    """
    if isinstance(given, str | os.PathLike):
        return _expanded(os.fsdecode(given), is_claimed)
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        raise ArgumentError(
            f"expected the path of a .beton file, a folder or a list of them, got {given!r}"
        )
    places = list(given)
    if not places:
        raise ArgumentError("expected at least one .beton file, got an empty list")
    for place in places:
        if not isinstance(place, str | os.PathLike):
            raise ArgumentError(f"expected a list of paths of .beton files, got {place!r} in it")
    return [each for place in places for each in _expanded(os.fsdecode(place), is_claimed)]


def _expanded(path: str, is_claimed: Callable[[str], bool]) -> list[Place]:
    if is_claimed(path):
        return [Place(path)]
    if os.path.isdir(path):
        return _in_folder(path)
    # The question mark of a URL is none of a pattern.
    if _MAGIC.search(path) and "://" not in path and not os.path.lexists(path):
        return _matching(path)
    return [Place(path)]


def _in_folder(folder: str) -> list[Place]:
    try:
        names = sorted(os.listdir(folder), key=natural)
    except OSError as error:
        raise MissingFileError(folder, f"it cannot be listed: {error.strerror}") from error
    if MANIFEST in names:
        return [Place(folder, is_folder=True)]
    found = [name for name in names if name.endswith(ENDING) and not name.startswith(".")]
    if not found:
        raise MissingFileError(
            folder, f"expected a folder of shards, but it has neither {MANIFEST} nor {ENDING} files"
        )
    return [Place(os.path.join(folder, name)) for name in found]


def _matching(pattern: str) -> list[Place]:
    found = sorted(filter(os.path.isfile, glob.iglob(pattern, recursive=True)), key=natural)
    if not found:
        raise MissingFileError(pattern, "no file fits this pattern")
    return [Place(path) for path in found]


def natural(path: str) -> tuple[list[tuple[int, str]], str]:
    """A key by which numbers in names come in their order.

    >>> sorted(["part-10", "part-2", "part-1"], key=natural)
    ['part-1', 'part-2', 'part-10']
    """
    parts = re.split(r"([0-9]+)", path)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], path

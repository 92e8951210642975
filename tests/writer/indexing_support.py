"""What the tests of ``add_side_indexes`` share: files to index, and steps to interrupt it at."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import pytest

from ffcv.beton.file import BetonFile
from ffcv.beton.journal import journal_path
from ffcv.beton.side_index import read_side_index
from ffcv.writer.indexing import IndexReport, add_side_indexes
from tests.indexed_field import Strings

STEPS = ("pwrite", "fsync", "link", "rename", "unlink", "ftruncate")
"""Calls of the system that change something; each is a step at which something can happen."""

HANDLERS = {"text": Strings}


def index(path: Path, **options: object) -> IndexReport:
    """Index a file of the toy field."""
    return add_side_indexes(path, num_workers=1, custom_handlers=HANDLERS, **options)


def entries_of(path: Path) -> list[bytes] | None:
    """What a file holds."""
    with BetonFile(path) as file:
        found = read_side_index(file, "text", "starts")
        return None if found is None else [found.entry(i) for i in range(file.header.num_samples)]


@contextmanager
def at_step(number: int, act: Callable[[], object]):
    """Call ``act`` in place of the step of this number, counted from 0; -1: of none.

    Yields:
        A list of the names of the steps, as they happen.
    """
    names: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in STEPS:
            patch.setattr(os, name, _counting(name, getattr(os, name), names, number, act))
        yield names


def _counting(name, call, names, number, act):
    def step(*arguments, **options):
        names.append(name)
        if len(names) - 1 == number:
            act()
        return call(*arguments, **options)

    return step


def steps_of(path: Path) -> list[str]:
    """The steps of indexing a copy of a file."""
    copy = path.with_suffix(".copy")
    shutil.copy(path, copy)
    with at_step(-1, lambda: None) as names:
        index(copy)
    copy.unlink()
    return names


def leftovers(path: Path) -> list[str]:
    """What lies beside a file but does not belong there."""
    return sorted(set(os.listdir(path.parent)) - {path.name})


def journal_of(path: Path) -> Path:
    """Where the journal of a file would be."""
    return Path(journal_path(os.fspath(path)))

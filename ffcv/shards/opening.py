"""Opening a dataset: one file, or several."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ffcv.beton.file import BetonFile
from ffcv.beton.opening import OpenFile
from ffcv.beton.urls import redacted
from ffcv.errors import ArgumentError, ChangedFileError, MissingFileError
from ffcv.shards.dataset import ShardedFile
from ffcv.shards.entry import Entry
from ffcv.shards.manifest import MANIFEST, read_manifest
from ffcv.shards.naming import Place, named
from ffcv.shards.schema import Describe
from ffcv.shards.source import Opener

__all__ = ["files_of", "open_dataset"]


def open_dataset(given: Any, opener: Opener, describe: Describe) -> BetonFile:
    """Open what a user gave as a dataset.

    Args:
        given: a path; a folder of shards; a pattern, as ``"data/*.beton"``; or a list of these.
        opener: opens files.
        describe: says in words what a field stores.

    Raises:
        BetonError: something cannot be opened.
        ArgumentError: files have other fields than the first one, or one is there twice.
    """
    places = named(given, lambda path: opener(path) is not OpenFile)
    if len(places) == 1 and not places[0].is_folder:
        return BetonFile(places[0].path, opener(places[0].path))
    # A shard may be opened much later, when the working directory is another one.
    places = [place if opener(place.path) is not OpenFile else _absolute(place) for place in places]
    entries = [entry for place in places for entry in _entries(place, opener)]
    _refuse_twins([entry.path for entry in entries])
    return ShardedFile(_name(given, places), entries, opener, describe)


def files_of(given: Any, opener: Opener) -> list[str]:
    """Paths of all files of a dataset, of which none is opened; raises the same."""
    found: list[str] = []
    for place in named(given, lambda path: opener(path) is not OpenFile):
        known = read_manifest(place.path) if place.is_folder else None
        found += [place.path] if known is None else [entry.path for entry in known]
    return found


def _name(given: Any, places: Sequence[Place]) -> str:
    """What to call a dataset in messages."""
    if isinstance(given, str | os.PathLike):
        return redacted(os.fsdecode(given))
    more = len(places) - 1
    return redacted(places[0].path) + (f" and {more} more file{'s' * (more > 1)}" if more else "")


def _absolute(place: Place) -> Place:
    return place._replace(path=os.path.abspath(place.path))


def _entries(place: Place, opener: Opener) -> list[Entry]:
    if place.is_folder:
        return _of_folder(place.path, opener)
    with BetonFile(place.path, opener(place.path)) as file:
        return [Entry.of(file)]


def _of_folder(folder: str, opener: Opener) -> list[Entry]:
    """What the manifest of a folder says, if the files that are there can be those."""
    with os.scandir(folder) as scan:
        sizes = {each.name: each.stat().st_size for each in scan if each.is_file()}
    return [
        _looked_at(entry, sizes.get(os.path.basename(entry.path)), opener)
        for entry in read_manifest(folder)
    ]


def _looked_at(entry: Entry, size: int | None, opener: Opener) -> Entry:
    if size is None:
        raise MissingFileError(
            entry.path, f"no such file, but {MANIFEST} beside it tells of it; copy the folder again"
        )
    if size == entry.num_bytes:
        return entry
    with BetonFile(entry.path, opener(entry.path)) as file:
        found = Entry.of(file)
    # A side index may have been added since, behind all that counts here.
    same = replace(found, num_bytes=entry.num_bytes)
    difference = entry.difference(replace(same, side_indexes=entry.side_indexes))
    if difference is not None:
        raise ChangedFileError(
            entry.path,
            f"it is not the file that {MANIFEST} beside it tells of: {difference}; copy the folder "
            f"again, or remove {MANIFEST} if the files are as they should be",
        )
    return found


def _refuse_twins(paths: Sequence[str]) -> None:
    """Refuse a file that is there twice, also under two names."""
    seen: dict[Any, str] = {}
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            key: Any = path  # of a storage
        else:
            key = status.st_dev, status.st_ino
        if key in seen:
            same = "" if seen[key] == path else f", also as {seen[key]}"
            raise ArgumentError(
                f"{path} is there twice{same}; a file may be part of a dataset once. To have its "
                "samples come more often, repeat them in indices="
            )
        seen[key] = path

"""The manifest of a folder of shards: what is known of each, so that none is opened for it."""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ffcv.beton import json_text
from ffcv.beton.layout import REGION_SIZE, is_page_size
from ffcv.errors import DamagedFileError, MissingFileError, UnsupportedVersionError
from ffcv.shards.entry import Entry

__all__ = ["MANIFEST", "manifest_text", "read_manifest"]

MANIFEST = "index.json"
"""Its name in the folder."""

_FORMAT, _VERSION = "ffcv shards", 1
_LIMIT = 1 << 62


def manifest_text(entries: Sequence[Entry]) -> bytes:
    """The manifest of shards that have the same fields and page size.

    Raises:
        ValueError: there are so many that it exceeds the limits of such files.
    """
    return json_text.encode(
        {
            "format": _FORMAT,
            "version": _VERSION,
            "num_samples": sum(entry.num_samples for entry in entries),
            "page_size": entries[0].page_size,
            "schema": entries[0].schema,
            "shards": [_described(entry) for entry in entries],
        }
    )


def _described(entry: Entry) -> dict[str, Any]:
    return {
        "file": os.path.basename(entry.path),
        "num_samples": entry.num_samples,
        "num_bytes": entry.num_bytes,
        "data_start": entry.data_start,
        "data_end": entry.data_end,
        "num_regions": entry.num_regions,
        "regions_per_sample": entry.regions_per_sample,
        "largest_region": entry.largest_region,
        "content": entry.content,
        "side_indexes": dict(entry.side_indexes),
    }


def read_manifest(folder: str) -> list[Entry]:
    """What the manifest of a folder says. None of the shards is looked at.

    Raises:
        MissingFileError: there is none, or it cannot be read.
        DamagedFileError: it is not as a writer of ffcv makes it.
        UnsupportedVersionError: it has another version than 1.
    """
    path = os.path.join(folder, MANIFEST)
    try:
        with open(path, "rb") as file:
            text = file.read(json_text.MAX_SIZE + 1)
    except OSError as error:
        raise MissingFileError(path, f"it cannot be read: {error.strerror}") from error
    try:
        document = _expect(json_text.decode(text), dict)
    except (ValueError, TypeError) as error:
        raise DamagedFileError(path, f"it is no manifest of shards: {error}") from error
    if document.get("format") != _FORMAT:
        raise DamagedFileError(
            path,
            f'expected "format": "{_FORMAT}", as ffcv.DatasetWriter writes it; it is of another '
            "library. Convert its samples by DatasetWriter",
        )
    if document.get("version") != _VERSION:
        raise UnsupportedVersionError(
            path, f"it has version {document.get('version')!r}, this release knows {_VERSION}"
        )
    try:
        return _entries(folder, document)
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedFileError(path, f"it is malformed: {error!r}") from error


def _entries(folder: str, document: Mapping[str, Any]) -> list[Entry]:
    page_size, schema = _count(document["page_size"]), _expect(document["schema"], str)
    if not is_page_size(page_size):
        raise ValueError(f"a page size of {page_size} bytes")
    shards = _expect(document["shards"], list)
    entries = [_entry(folder, _expect(shard, dict), page_size, schema) for shard in shards]
    total = sum(entry.num_samples for entry in entries)
    if not entries or total != _count(document["num_samples"]):
        raise ValueError(f"{len(entries)} shards with {total} samples")
    return entries


def _entry(folder: str, shard: Mapping[str, Any], page_size: int, schema: str) -> Entry:
    name = _expect(shard["file"], str)
    if not name or name != os.path.basename(name) or name in (".", "..") or "\0" in name:
        raise ValueError(f"expected the name of a file in the folder, got {name!r}")
    largest = shard["largest_region"]
    entry = Entry(
        path=os.path.join(folder, name),
        num_samples=_count(shard["num_samples"]),
        num_bytes=_count(shard["num_bytes"]),
        page_size=page_size,
        data_start=_count(shard["data_start"]),
        data_end=_count(shard["data_end"]),
        num_regions=_count(shard["num_regions"]),
        regions_per_sample=_count(shard["regions_per_sample"]),
        largest_region=None if largest is None else _count(largest),
        schema=schema,
        content=_expect(shard["content"], str),
        side_indexes={
            name: _count(size) for name, size in _expect(shard["side_indexes"], dict).items()
        },
    )
    used = max(entry.num_samples, entry.num_regions * REGION_SIZE, entry.data_end)
    if max(used, *entry.side_indexes.values(), 0) > entry.num_bytes:
        raise ValueError(f"{name!r} of {entry.num_bytes} bytes cannot hold what it is to hold")
    if entry.data_start > entry.data_end or entry.data_start % mmap.PAGESIZE:
        raise ValueError(f"{name!r} has data from {entry.data_start} to {entry.data_end}")
    if entry.regions_per_sample * entry.num_samples not in (0, entry.num_regions):
        raise ValueError(f"{name!r} has {entry.num_regions} regions")
    return entry


def _expect(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")
    return value


def _count(value: Any) -> int:
    number = int(_expect(value, int))
    if not 0 <= number < _LIMIT:
        raise ValueError(f"expected a count, got {number}")
    return number

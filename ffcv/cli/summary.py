"""What a file holds, as plain data; fields add to it by ``Field.describe`` and ``summarise``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.extension import FieldManifest
from ffcv.beton.field import Field
from ffcv.beton.file import BetonFile
from ffcv.beton.layout import CUSTOM_TYPE_ID
from ffcv.errors import PluginError
from ffcv.plugin import registry
from ffcv.reader import Reader, opened
from ffcv.storage.guard import watching

__all__ = ["summary"]

_CHUNK_RECORDS = 1 << 16

Progress = Callable[[int], None]


def summary(path: str | os.PathLike[str], progress: Progress | None = None) -> dict[str, Any]:
    """Describe a dataset, in one file or several.

    One whose fields need a plugin that is not installed is described as far as that goes;
    ``"problem"`` says what is missing then, and is ``None`` otherwise.

    Args:
        path: the file, or a folder or pattern of files.
        progress: called with the number of records that were looked at since the last call.

    Returns:
        Plain data that JSON can hold.

    Raises:
        BetonError: the file cannot be used.
        PluginError: it is opened by a storage with which something is wrong.
    """
    try:
        reader = Reader(path)
    except PluginError as error:
        with opened(path) as file:
            return _about(file, None, str(error), progress)
    with reader, watching(reader.file.opened):
        return _about(reader.file, reader, None, progress)


def _about(
    file: BetonFile, reader: Reader | None, problem: str | None, progress: Progress | None
) -> dict[str, Any]:
    header, extension = file.header, file.extension
    return {
        "path": file.path,
        "num_files": file.num_files,
        "num_bytes": file.stored_nbytes,
        "format_version": header.version,
        "num_samples": header.num_samples,
        "page_size": header.page_size,
        "num_regions": len(file.regions),
        "written_by": extension.writer if extension else None,
        "checksums": extension is not None and extension.num_pages is not None,
        "fields": list(_fields(file, reader, progress or (lambda _: None))),
        "metadata": extension.metadata if extension else None,
        "problem": problem,
    }


def _fields(file: BetonFile, reader: Reader | None, progress: Progress) -> Iterator[dict[str, Any]]:
    known = file.extension.fields if file.extension else None
    indexes = file.side_index_nbytes
    for position, descriptor in enumerate(file.descriptors):
        entry = known[position] if known else FieldManifest()
        field = reader.handlers[descriptor.name] if reader else None
        about = {
            "name": descriptor.name,
            "type": type(field).__name__ if field else _type_name(descriptor.type_id, entry),
            "type_id": descriptor.type_id,
            "distribution": entry.distribution,
            "version": entry.version,
            "software": dict(entry.software),
            "class_names": list(entry.class_names) if entry.class_names is not None else None,
            "side_indexes": indexes.get(descriptor.name, {}),
        }
        if reader is not None and field is not None:
            records = reader.metadata[f"f{position}"]
            about |= _contents(file, field, records, progress)
        yield about


def _type_name(type_id: int, entry: FieldManifest) -> str | None:
    """What a field is called without its class at hand."""
    if type_id == CUSTOM_TYPE_ID:
        return entry.name or entry.location
    found = (r for r in registry.contributions() if r.contribution.type_id == type_id)
    return next((registered.name for registered in found), entry.name)


def _contents(
    file: BetonFile, field: Field, records: NDArray[Any], progress: Progress
) -> dict[str, Any]:
    data_bytes, broken = _data_size(file, field, records, progress)
    about: dict[str, Any] = {
        "description": _description(field),
        "record_bytes": field.metadata_type.itemsize * len(records),
        "data_bytes": data_bytes,
        "broken_pointers": broken,
    }
    # Of the class: the user's object may have attributes of these names for other ends.
    try:
        figures = dict(type(field).summarise(field, records))
    except Exception as error:
        figures = {"failed": f"{type(error).__name__}: {error}"}
    return about | ({"figures": figures} if figures else {})


def _description(field: Field) -> str:
    """A field's own words."""
    try:
        return str(type(field).describe(field))
    except Exception as error:
        return f"describe() failed: {type(error).__name__}: {error}"


def _data_size(
    file: BetonFile, field: Field, records: NDArray[Any], progress: Progress
) -> tuple[int, int]:
    """Bytes in the regions of a field, and how many of its pointers point to none."""
    member = field.pointer
    if member is None:
        progress(len(records))
        return 0, 0
    total = broken = 0
    for start in range(0, len(records), _CHUNK_RECORDS):
        chunk = records[start : start + _CHUNK_RECORDS]
        pointers = np.ascontiguousarray(chunk[member] if member else chunk, np.uint64)
        sizes = file.region_sizes(pointers)
        total += int(sizes[sizes > 0].sum())
        broken += int((sizes < 0).sum())
        progress(len(chunk))
    return total, broken

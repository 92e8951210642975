"""What a file says about itself, checked completely before anything in it is trusted."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import xxhash

from ffcv.beton.extension import Extension, read_extension
from ffcv.beton.foreign import NUM_BYTES_LOOKED_AT, appearance, is_recognised
from ffcv.beton.journal import Journal
from ffcv.beton.layout import (
    DESCRIPTOR_DTYPE,
    HEADER_SIZE,
    NAME_SIZE,
    REGION_SIZE,
    VERSION,
    FieldDescriptor,
    Header,
    data_start,
    is_field_name,
    is_page_size,
    records_start,
)
from ffcv.beton.lost_block import refuse_lost_block
from ffcv.errors import (
    ChecksumError,
    DamagedFileError,
    NotABetonFileError,
    TruncatedFileError,
    UnfinishedFileError,
    UnsupportedVersionError,
)

__all__ = ["Head", "read_head"]

ReadAt = Callable[[int, int], bytes]


class Head(NamedTuple):
    """The parts of a file that are read when it is opened.

    Attributes:
        header: its header.
        descriptors: what it says about each of its fields.
        extension: what its writer added beyond version 2, or ``None``.
    """

    header: Header
    descriptors: tuple[FieldDescriptor, ...]
    extension: Extension | None


def read_head(path: str, read_at: ReadAt, num_bytes: int) -> Head:
    """Read and check all that describes a file; its size does not matter, however many samples.

    Args:
        path: the file, for messages.
        read_at: ``read_at(offset, length)`` gives bytes of it.
        num_bytes: its size.

    Raises:
        BetonError: see :class:`~ffcv.beton.file.BetonFile` for the causes.
    """
    header = _read_header(path, read_at, num_bytes)
    start = records_start(header.num_fields)
    _check_sizes(path, header, start, num_bytes)
    raw = read_at(0, start)
    _refuse_unfinished(path, read_at, header, raw, num_bytes)
    descriptors = _parse_descriptors(path, raw)
    extension = read_extension(path, read_at, start, header.alloc_table_ptr)
    if extension is None:
        refuse_lost_block(path, read_at, raw, num_bytes)
    else:
        _check_extension(path, header, raw, extension)
    _check_table(path, header, extension, num_bytes)
    return Head(header, descriptors, extension)


def _read_header(path: str, read_at: ReadAt, num_bytes: int) -> Header:
    head = read_at(0, min(num_bytes, NUM_BYTES_LOOKED_AT))
    if len(head) < HEADER_SIZE:
        raise NotABetonFileError(path, appearance(head, num_bytes))
    header = Header.from_bytes(head[:HEADER_SIZE])
    if header.version != VERSION:
        if is_recognised(head) or not (header.num_fields and is_page_size(header.page_size)):
            raise NotABetonFileError(path, appearance(head, num_bytes))
        raise UnsupportedVersionError(
            path,
            f"expected version {VERSION} of the .beton format, got {header.version}; a newer "
            "ffcv may read it, or its first bytes are damaged",
        )
    if header.alloc_table_ptr == 0:
        raise UnfinishedFileError(
            path, "its writer never finished; write it again, it holds no region table"
        )
    if header.num_fields == 0:
        raise DamagedFileError(
            path, "its header says it has no fields; it is damaged, or no .beton file"
        )
    if not is_page_size(header.page_size):
        raise DamagedFileError(
            path,
            f"its header says {header.page_size} bytes a page; expected a power of two, at "
            "least 2 MiB; it is damaged, or no .beton file",
        )
    return header


def _check_sizes(path: str, header: Header, start: int, num_bytes: int) -> None:
    """Check what the header says against the size of the file."""
    needed = max(header.alloc_table_ptr, start)
    if num_bytes < needed:
        raise TruncatedFileError(
            path,
            f"it has {num_bytes} bytes, its header speaks of at least {needed}; copy or "
            "write it again",
        )
    # Records have at least one byte, which bounds the number of samples without the fields.
    if header.alloc_table_ptr < start + header.num_samples:
        raise DamagedFileError(
            path,
            f"{header.num_samples} records cannot lie between byte {start} and the region "
            f"table at byte {header.alloc_table_ptr}",
        )


def _refuse_unfinished(
    path: str, read_at: ReadAt, header: Header, raw: bytes, num_bytes: int
) -> None:
    journal = Journal.read(path)
    if journal is not None and journal.is_unfinished(
        raw, header.alloc_table_ptr, num_bytes, read_at
    ):
        raise UnfinishedFileError(
            path,
            "a side index is being added to it, or that was interrupted; wait until it is "
            f"done, or run `ffcv index {shlex.quote(path)}` again",
        )


def _check_extension(path: str, header: Header, raw: bytes, extension: Extension) -> None:
    if xxhash.xxh3_64_intdigest(raw) != extension.header_checksum:
        raise ChecksumError(path, "header and field descriptors do not match their checksum")
    records_end = records_start(header.num_fields) + header.num_samples * extension.record_size
    num_pages = extension.num_pages or 0
    pages_end = data_start(records_end, header.page_size) + num_pages * header.page_size
    if (
        len(extension.fields) != header.num_fields
        or extension.record_size == 0
        or max(records_end, pages_end if num_pages else 0) > extension.start
    ):
        raise DamagedFileError(
            path,
            f"its extension block at byte {extension.start} speaks of {len(extension.fields)} "
            f"fields, records of {extension.record_size} bytes and {extension.num_pages} pages",
        )


def _check_table(path: str, header: Header, extension: Extension | None, num_bytes: int) -> None:
    length = num_bytes - header.alloc_table_ptr
    if extension is not None and length < extension.num_regions * REGION_SIZE:
        raise TruncatedFileError(
            path,
            f"its region table has {extension.num_regions} rows, but only {length} bytes "
            "are left of it; copy or write the file again",
        )
    if length % REGION_SIZE or (
        extension is not None and length != extension.num_regions * REGION_SIZE
    ):
        raise DamagedFileError(
            path,
            f"{length} bytes follow the start of its region table, whose rows have "
            f"{REGION_SIZE}; something was appended, or the end is missing",
        )


def _parse_descriptors(path: str, head: bytes) -> tuple[FieldDescriptor, ...]:
    rows = np.frombuffer(head, DESCRIPTOR_DTYPE, offset=HEADER_SIZE)
    descriptors = []
    seen: set[str] = set()
    for position, row in enumerate(rows):
        raw = row["name"].tobytes()
        name = raw.rstrip(b"\0").decode("latin-1")
        if not is_field_name(name) or name in seen:
            raise DamagedFileError(
                path,
                f"field {position} is called {name!r}; expected a name of 1 to {NAME_SIZE} "
                "printable ASCII characters that no other field has",
            )
        seen.add(name)
        descriptors.append(FieldDescriptor(int(row["type_id"]), name, row["arguments"]))
    return tuple(descriptors)

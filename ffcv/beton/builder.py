"""Writing a ``.beton`` file, sample after sample, in bounded memory."""

from __future__ import annotations

import importlib.metadata
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from ffcv.beton import json_text
from ffcv.beton.block import BlockWriter
from ffcv.beton.blocks import RECORDS, TABLE, blocks_of
from ffcv.beton.extension import PAGES_SECTION, Extension, FieldManifest, schema_hash
from ffcv.beton.layout import (
    MAX_FIELDS,
    MIN_PAGE_SIZE,
    NAME_SIZE,
    REGION_SIZE,
    VERSION,
    FieldDescriptor,
    Header,
    data_start,
    descriptors_to_bytes,
    is_field_name,
    is_page_size,
    record_dtype,
    records_start,
)
from ffcv.beton.output import OutputFile, OutputStream
from ffcv.beton.pages import PageAllocator, PageWriter
from ffcv.beton.side_index import SideIndexWriter
from ffcv.errors import ArgumentError, WriteError

__all__ = ["BetonBuilder", "PendingRegion"]

_POINTER = struct.Struct("<Q")
_ROW = struct.Struct("<QQQ")


@dataclass(frozen=True)
class PendingRegion:
    """Data of one sample that has no place in the file yet.

    Attributes:
        data: the bytes; anything contiguous with the buffer protocol.
        places: byte offsets inside the sample's record where the pointer to this region belongs.
    """

    data: Any
    places: tuple[int, ...] = ()


class BetonBuilder:
    """Writes one file; a context manager that finishes it, or removes it after an exception.

    The same samples give the same bytes. Memory holds one sample and a few buffers of 1 MiB,
    whatever the size of the file.

    Args:
        path: the file, which appears (or is replaced) only when it is complete.
        num_samples: how many samples will be added.
        descriptors: the fields.
        record_types: the record type of each field.
        page_size: bytes of a page: a power of two, at least 2 MiB.
        manifest_fields: one entry per field for the manifest; empty if nothing is known.
        metadata: any JSON value of the user's.
        side_indexes: names of the sections with side indexes; each sample brings an entry for each.

    Raises:
        ArgumentError: ``page_size`` or ``num_samples`` is out of range.
        WriteError: the fields cannot be described, or the folder cannot be written to.

    Example:
        >>> import numpy as np, tempfile
        >>> from ffcv.beton.file import BetonFile
        >>> from ffcv.beton.layout import FieldDescriptor
        >>> label = FieldDescriptor(1, "label", np.zeros(1024, np.uint8))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with BetonBuilder(f"{folder}/x.beton", 2, [label], [np.dtype("<i8")]) as builder:
        ...         builder.add_sample(np.int64(7).tobytes())
        ...         builder.add_sample(np.int64(9).tobytes())
        ...     BetonFile(f"{folder}/x.beton").records([np.dtype("<i8")])["f0"].tolist()
        [7, 9]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        num_samples: int,
        descriptors: Sequence[FieldDescriptor],
        record_types: Sequence[np.dtype[Any]],
        page_size: int = 1 << 23,
        manifest_fields: Sequence[FieldManifest] = (),
        metadata: Any = None,
        side_indexes: Sequence[str] = (),
    ) -> None:
        self.path = os.fsdecode(path)
        _check_arguments(self.path, num_samples, page_size)
        _check_fields(self.path, descriptors, record_types, manifest_fields)
        self._num_samples, self._page_size = num_samples, page_size
        self._descriptors = tuple(descriptors)
        self._fields = tuple(manifest_fields) or (FieldManifest(),) * len(self._descriptors)
        self._metadata, self._sections = metadata, dict[str, bytes]()
        self._check_manifest()
        layout = record_dtype(record_types)
        self._record_size, self._gaps = layout.itemsize, _gaps(layout)
        self._start = records_start(len(self._descriptors))
        self._out = OutputFile(self.path)
        with self._discarding():
            self._begin(side_indexes)

    def _begin(self, side_indexes: Sequence[str]) -> None:
        self._added = self._largest = 0
        self._region_counts = set[int]()
        self._records_end = self._start + self._num_samples * self._record_size
        first_page = data_start(self._records_end, self._page_size)
        self._allocator = PageAllocator(first_page, self._page_size)
        self._pages = PageWriter(first_page, self._page_size, self._out.write_at)
        self._records = OutputStream(self._out, self._start)
        self._spool = self._out.spool()
        self._table = OutputStream(self._spool, 0)
        self._indexes = {
            name: SideIndexWriter(self._out.spool(), self._num_samples) for name in side_indexes
        }

    def __enter__(self) -> BetonBuilder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.abort()
        elif self._out.is_open:
            self.finish()

    def add_sample(
        self,
        record: Any,
        regions: Sequence[PendingRegion] = (),
        entries: Sequence[bytes] = (),
    ) -> None:
        """Add the next sample.

        Args:
            record: the bytes of its record; pointers to ``regions`` are filled in here.
            regions: its data, in the order in which it is to lie in the file.
            entries: what each of the side indexes holds for it, ``b""`` for nothing.

        Raises:
            WriteError: record or places do not fit the layout, there is not one entry for each side
                index, or there are too many samples.
            DiskFullError: no space is left; nothing was left behind.
        """
        self._require_open()
        if self._added == self._num_samples:
            raise WriteError(f"{self.path}: got more samples than the {self._num_samples} declared")
        packed = bytearray(record)
        self._check_sample(packed, regions, entries)
        for gap in self._gaps:
            packed[gap] = bytes(gap.stop - gap.start)
        contents = [self._as_bytes(region.data) for region in regions]
        pointers = self._allocator.place([len(content) for content in contents])
        for pointer, content, region in zip(pointers, contents, regions, strict=True):
            for place in region.places:
                _POINTER.pack_into(packed, place, pointer)
            self._pages.write(pointer, content)
            self._table.append(_ROW.pack(self._added, pointer, len(content)))
        self._largest = max([self._largest, *map(len, contents)])
        self._region_counts.add(len(contents))
        self._records.append(packed)
        for index, entry in zip(self._indexes.values(), entries, strict=True):
            index.append(entry)
        self._added += 1

    def add_section(self, name: str, content: bytes) -> None:
        """Add a binary section to the extension block, for readers that know ``name``.

        Raises:
            WriteError: there is such a section already.
        """
        self._require_open()
        blocks = [blocks_of(known) for known in (RECORDS, TABLE, *self._indexes)]
        if name in (PAGES_SECTION, *self._sections, *self._indexes, *blocks):
            raise WriteError(f"{self.path}: there is a section {name!r} already")
        self._sections[name] = bytes(content)

    def finish(self) -> None:
        """Complete the file and let it appear under its name.

        Raises:
            WriteError: samples are missing.
            DiskFullError: no space is left; nothing was left behind.
        """
        self._require_open()
        with self._discarding():
            if self._added != self._num_samples:
                raise WriteError(
                    f"{self.path}: expected {self._num_samples} samples, got {self._added}"
                )
            self._records.flush()
            self._table.flush()
            self._write_ends(self._finish_pages())
            self._out.commit()
        self._close_spools()

    def abort(self) -> None:
        """Give up: nothing is left behind. Safe to call again, and after :meth:`finish`."""
        self._out.discard()
        self._close_spools()

    def _close_spools(self) -> None:
        self._spool.close()
        for index in self._indexes.values():
            index.close()

    def _finish_pages(self) -> int:
        """Where the extension block begins."""
        if not self._allocator.num_pages:
            return -(-self._records_end // 8) * 8
        end = self._allocator.start + self._allocator.num_pages * self._page_size
        self._pages.finish(end)
        return end

    def _write_ends(self, start: int) -> None:
        """Write extension block and region table behind the pages, and the header at last."""
        block = BlockWriter(self.path, self._out.write_at, start)
        block.add_section(PAGES_SECTION, [np.array(self._pages.checksums, "<u8").tobytes()])
        for name, content in self._sections.items():
            block.add_section(name, [content])
        for name, index in self._indexes.items():
            # No section says the same as one without entries.
            if index.num_bytes:
                block.add_checked_section(name, index.pieces())
        block.add_blocks(RECORDS, self._records.digest)
        block.add_blocks(TABLE, self._table.digest)
        names = [descriptor.name for descriptor in self._descriptors]
        table_ptr = block.add_manifest(self._extension(start).to_json(names))
        header = Header(
            VERSION, len(self._descriptors), self._page_size, self._num_samples, table_ptr
        )
        head = header.to_bytes() + descriptors_to_bytes(self._descriptors)
        block.seal(head)
        for piece in self._spool.pieces(self._table.length):
            self._out.write_at(table_ptr, piece)
            table_ptr += len(piece)
        self._out.write_at(0, head)

    def _extension(self, start: int) -> Extension:
        counts = self._region_counts.copy()
        return Extension(
            start=start,
            header_checksum=0,
            writer=f"ffcv {importlib.metadata.version('ffcv')}",
            record_size=self._record_size,
            num_pages=len(self._pages.checksums),
            num_regions=self._table.length // REGION_SIZE,
            largest_region=self._largest,
            regions_per_sample=counts.pop() if len(counts) == 1 else 0,
            records_checksum=self._records.digest.checksum(),
            table_checksum=self._table.digest.checksum(),
            schema=schema_hash(self._descriptors, self._fields),
            fields=self._fields,
            metadata=self._metadata,
        )

    def _check_manifest(self) -> None:
        """Refuse now what could not be written at the end."""
        names = (descriptor.name for descriptor in self._descriptors)
        try:
            json_text.encode(self._metadata)
            json_text.encode([f.to_json(n) for f, n in zip(self._fields, names, strict=True)])
        except ValueError as error:
            raise WriteError(
                f"{self.path}: metadata, and what is known about fields, must be JSON: {error}"
            ) from error

    def _check_sample(
        self, record: bytearray, regions: Sequence[PendingRegion], entries: Sequence[bytes]
    ) -> None:
        if len(record) != self._record_size:
            raise WriteError(
                f"{self.path}, sample {self._added}: expected a record of {self._record_size} "
                f"bytes, got {len(record)}"
            )
        last = self._record_size - _POINTER.size
        for region in regions:
            if not all(0 <= place <= last for place in region.places):
                raise WriteError(
                    f"{self.path}, sample {self._added}: pointers at {region.places} do not fit "
                    f"into a record of {self._record_size} bytes"
                )
        if len(entries) != len(self._indexes):
            raise WriteError(
                f"{self.path}, sample {self._added}: expected {len(self._indexes)} entries, one "
                f"for each side index, got {len(entries)}"
            )

    def _as_bytes(self, data: Any) -> memoryview:
        try:
            view = memoryview(data)
            # A view without elements cannot be cast.
            return view.cast("B") if view.nbytes else memoryview(b"")
        except TypeError as error:
            raise WriteError(
                f"{self.path}, sample {self._added}: expected contiguous bytes as a region's data, "
                f"got {type(data).__qualname__}: {error}"
            ) from error

    def _require_open(self) -> None:
        if not self._out.is_open:
            raise WriteError(f"{self.path}: this file was finished or given up already")

    @contextmanager
    def _discarding(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._out.discard()
            raise


def _check_arguments(path: str, num_samples: int, page_size: int) -> None:
    if not is_page_size(page_size):
        raise ArgumentError(
            f"{path}: page_size must be a power of two from {MIN_PAGE_SIZE} bytes (2 MiB) up to "
            f"2 GiB, got {page_size}"
        )
    if not 0 <= num_samples < 1 << 48:
        raise ArgumentError(f"{path}: num_samples must be a count, got {num_samples}")


def _check_fields(
    path: str,
    descriptors: Sequence[FieldDescriptor],
    record_types: Sequence[np.dtype[Any]],
    manifest_fields: Sequence[FieldManifest],
) -> None:
    count = len(descriptors)
    if not 1 <= count <= MAX_FIELDS:
        raise WriteError(f"{path}: expected 1 to {MAX_FIELDS} fields, got {count}")
    if len(record_types) != count or len(manifest_fields) not in (0, count):
        raise WriteError(
            f"{path}: expected {count} record types and manifest entries, one per field; got "
            f"{len(record_types)} and {len(manifest_fields)}"
        )
    names: set[str] = set()
    for descriptor, dtype in zip(descriptors, record_types, strict=True):
        if not is_field_name(descriptor.name):
            raise WriteError(
                f"{path}: field name {descriptor.name!r} does not fit; expected 1 to {NAME_SIZE} "
                f"printable ASCII characters, got {len(descriptor.name)} characters"
            )
        if descriptor.name in names:
            raise WriteError(f"{path}: two fields are called {descriptor.name!r}")
        if dtype.hasobject or not dtype.itemsize:
            raise WriteError(
                f"{path}: field {descriptor.name!r}: records of type {dtype} cannot be stored"
            )
        names.add(descriptor.name)


def _gaps(layout: np.dtype[Any]) -> list[slice]:
    """Bytes between the members of a record. They are zeroed: what NumPy leaves there varies."""
    gaps, end = [], 0
    for name in layout.names or ():
        dtype, offset = layout.fields[name][:2]  # type: ignore[index]
        gaps.append(slice(end, offset))
        end = offset + dtype.itemsize
    gaps.append(slice(end, layout.itemsize))
    return [gap for gap in gaps if gap.start < gap.stop]

"""What is known of a shard, also while it is not open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from ffcv.beton.extension import PAGES_SECTION
from ffcv.beton.identity import landmarks
from ffcv.beton.layout import REGION_DTYPE, REGION_SIZE, data_start, records_start
from ffcv.beton.side_index import stored_side_indexes

if TYPE_CHECKING:
    from ffcv.beton.file import BetonFile

__all__ = ["Entry"]

_COMPARED = (
    "num_samples", "num_regions", "schema", "content", "num_bytes", "data_start", "data_end",
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One shard.

    Attributes:
        path: of the file.
        num_samples: how many samples it has.
        num_bytes: its size.
        page_size: of its pages.
        data_start: file offset at which its regions begin at the earliest; a multiple of a page
            of memory.
        data_end: file offset at which they end at the latest.
        num_regions: rows of its region table.
        regions_per_sample: of each sample, or 0 if they differ or that is unknown.
        largest_region: bytes of its largest region; ``None`` if that is unknown.
        schema: hash of its fields and of the names of their classes.
        content: hash by which to tell its content from another one's.
        side_indexes: bytes of its side indexes, by the names of their sections.
    """

    path: str
    num_samples: int
    num_bytes: int
    page_size: int
    data_start: int
    data_end: int
    num_regions: int
    regions_per_sample: int
    largest_region: int | None
    schema: str
    content: str
    side_indexes: Mapping[str, int]

    @classmethod
    def of(cls, file: BetonFile) -> Entry:
        """That of an open file, of which little is read.

        Raises:
            BetonError: it cannot be read.
        """
        header, extension = file.header, file.extension
        start, end = _data(file)
        num_regions = (file.num_bytes - header.alloc_table_ptr) // REGION_SIZE
        each = 0 if extension is None else extension.regions_per_sample or 0
        return cls(
            path=file.path,
            num_samples=header.num_samples,
            num_bytes=file.num_bytes,
            page_size=header.page_size,
            data_start=start,
            data_end=end,
            num_regions=num_regions,
            regions_per_sample=each if each * header.num_samples == num_regions else 0,
            largest_region=None if extension is None else extension.largest_region,
            schema=_schema(file),
            content=_content(file),
            side_indexes={
                f"{kind}.{field}": section.length
                for field, kinds in stored_side_indexes(extension).items()
                for kind, section in kinds.items()
                if field in {descriptor.name for descriptor in file.descriptors}
            },
        )

    def difference(self, other: Entry) -> str | None:
        """In which way another file in this one's place is not the same, in words."""
        for name in (
            "num_samples",
            "num_regions",
            "schema",
            "content",
            "num_bytes",
            "data_start",
            "data_end",
        ):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                return f"{name.replace('_', ' ')} should be {mine}, and is {theirs}"
        if self.side_indexes != other.side_indexes:
            return "its side indexes are others"
        return None


def _data(file: BetonFile) -> tuple[int, int]:
    """Where regions may lie: of ours, without the empty rest of the last page."""
    header, extension = file.header, file.extension
    if extension is None:
        return 0, file.data_end
    end = records_start(header.num_fields) + header.num_samples * extension.record_size
    start = data_start(end, header.page_size)
    if not extension.num_regions:
        return 0, 0
    if start > file.data_end:
        return 0, file.data_end
    # Rows are sorted. One that lies is out of bounds then.
    raw = file.read_at(file.num_bytes - REGION_SIZE, REGION_SIZE)
    _, pointer, size = np.frombuffer(raw, REGION_DTYPE)[0].tolist()
    return start, min(max(pointer + size, start), file.data_end)


def _content(file: BetonFile) -> str:
    """Of a file with checksums of all that it holds, these; else a few pieces of it."""
    digest, extension = xxhash.xxh3_64(), file.extension
    if extension is not None and extension.num_pages is not None:
        pages = extension.sections[PAGES_SECTION].checksum
        digest.update(f"{extension.records_checksum} {pages}".encode())
    else:
        for offset, size in landmarks(file):
            digest.update(file.read_at(offset, size))
    return digest.hexdigest()


def _schema(file: BetonFile) -> str:
    known = file.extension.fields if file.extension else ()
    classes = [field.class_names for field in known]
    return f"{file.schema}-{xxhash.xxh3_64_hexdigest(repr(classes).encode())}"

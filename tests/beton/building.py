"""Small files to test with: each sample has a number and two blobs of bytes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ffcv.beton.builder import BetonBuilder, PendingRegion
from ffcv.beton.file import BetonFile
from ffcv.beton.layout import FieldDescriptor, record_dtype

PAGE = 1 << 21
TYPES = [np.dtype("<u2"), np.dtype("<u8"), np.dtype([("ptr", "<u8"), ("size", "<u8")])]
"""With a gap of 6 bytes between the first two."""

LAYOUT = record_dtype(TYPES)
DESCRIPTORS = [
    FieldDescriptor(type_id, name, np.zeros(1024, np.uint8))
    for type_id, name in [(1, "number"), (4, "first"), (3, "second")]
]

Sample = tuple[int, bytes, bytes]


def builder(path: Path, num_samples: int, **options) -> BetonBuilder:
    options = {"page_size": PAGE, **options}
    return BetonBuilder(path, num_samples, DESCRIPTORS, TYPES, **options)


def add(target: BetonBuilder, sample: Sample, padding: bytes = b"\0") -> None:
    number, first, second = sample
    record = np.frombuffer(bytearray(padding * LAYOUT.itemsize), LAYOUT)
    record["f0"], record["f1"] = number, 0
    record["f2"] = (0, len(second))
    regions = [PendingRegion(first, (8,)), PendingRegion(second, (16,))]
    target.add_sample(record.tobytes(), regions)


def build(path: Path, samples: Sequence[Sample], **options) -> Path:
    padding = options.pop("padding", b"\0")
    with builder(path, len(samples), **options) as target:
        for sample in samples:
            add(target, sample, padding)
    return path


def read_back(file: BetonFile) -> list[Sample]:
    """All samples, through the package's own reader."""
    records = file.records(TYPES)
    samples = []
    for record in records:
        pointers = np.array([record["f1"], record["f2"]["ptr"]], np.uint64)
        first, second = (
            bytes(file.data[int(p) : int(p) + int(size)]) if size >= 0 else b"<no such region>"
            for p, size in zip(pointers, file.region_sizes(pointers), strict=True)
        )
        samples.append((int(record["f0"]), first, second))
    return samples


def write_plain(path: Path, descriptors: bytes, records: bytes, rows: bytes, **header: int) -> Path:
    """A file of version 2 without extension block, as FFCV 1.x wrote them, with one empty page."""
    start = 24 + len(descriptors) + len(records)
    table = -(-start // PAGE) * PAGE + PAGE
    values = {"version": 2, "num_fields": len(descriptors) // 1041, "page_size": PAGE} | header
    raw = np.zeros(1, np.dtype("<u2,<u2,<u4,<u8,<u8"))
    raw[0] = (
        values["version"],
        values["num_fields"],
        values["page_size"],
        values.get("num_samples", 0),
        values.get("alloc_table_ptr", table),
    )
    with path.open("wb") as file:
        file.write(raw.tobytes() + descriptors + records)
        file.seek(table)
        file.write(rows)
        file.truncate(table + len(rows))
    return path


def without_block(path: Path, source: Path) -> Path:
    """A copy of a file as FFCV 1.x would have written it: the table follows the pages."""
    shutil.copy(source, path)
    with BetonFile(path) as file:
        assert file.extension is not None
        rows = file.regions[::-1].tobytes()  # FFCV 1.x does not sort them
        start = file.extension.start
    with path.open("r+b") as raw:
        raw.seek(16)
        raw.write(start.to_bytes(8, "little"))
        raw.seek(start)
        raw.write(rows)
        raw.truncate()
    return path


@contextmanager
def patched(path: Path, patches: Sequence[tuple[int, bytes]]) -> Iterator[None]:
    """Overwrite bytes of a file for a while."""
    fd = os.open(path, os.O_RDWR)
    before = [(offset, os.pread(fd, len(new), offset)) for offset, new in patches]
    try:
        for offset, new in patches:
            os.pwrite(fd, new, offset)
        yield
    finally:
        for offset, old in reversed(before):
            os.pwrite(fd, old, offset)
        os.close(fd)
